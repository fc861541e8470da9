package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// gptNeoX is GPT-NeoX and Pythia: attention and network see norms of their own, of the same
// stream or one after the other.
func gptNeoX(k *keys) graph.Spec {
	k.layerNorms()
	parallel := value(k, "use_parallel_residual", true)
	return k.decoder(func(i int) graph.Layer {
		a, n := k.neox(i), k.ungated(i, graph.GELU)
		if !parallel {
			return k.preNorm(a, n)
		}
		return graph.Layer{{Mixers: []graph.Mixer{graph.Normed{Norm: k.norm("attn_norm"), Mixer: a}, graph.Normed{Norm: k.norm("ffn_norm"), Mixer: n}}}}
	})
}
