package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// miniMaxM2 is MiniMax M2: norms of all queries and all keys, experts in all layers. Their weights are normalised.
func miniMaxM2(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		m := k.routed(i, graph.SigmoidGating)
		m.NormTopKProb = true
		return k.preNorm(k.normedAll(i), m)
	})
}
