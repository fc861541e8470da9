package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// falcon is Falcon 7B and, with a second norm for the attention, 40B.
func falcon(k *keys) graph.Spec {
	k.layerNorms()
	return k.decoder(func(i int) graph.Layer {
		a, n := k.neox(i), k.ungated(i, graph.GELU)
		if !k.hasIn(i, "attn_norm_2.weight") {
			return k.parallel(a, n)
		}
		return graph.Layer{{Mixers: []graph.Mixer{graph.Normed{Norm: k.norm("attn_norm_2"), Mixer: a}, graph.Normed{Norm: k.norm("attn_norm"), Mixer: n}}}}
	})
}
