package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// dots1 is dots.llm1, and Ling 2.
func dots1(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.normedHeads(i), k.sigmoidRouted(i)) })
}
