package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// nemotron is Nemotron 4 and Minitron, and Jais 2, which rotates all of each head.
func nemotron(k *keys) graph.Spec {
	k.layerNorms()
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.neox(i), k.ungated(i, graph.ReLU2)) })
}
