package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// bailingMoE2 is Ling 2.
func bailingMoE2(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.normedHeads(i), k.sigmoidRouted(i)) })
}
