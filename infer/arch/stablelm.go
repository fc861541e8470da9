package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// stableLM is StableLM 2 and 3B. The larger have no second norm: attention and network are in
// parallel.
func stableLM(k *keys) graph.Spec {
	k.layerNorms()
	return k.decoder(func(i int) graph.Layer {
		a, n := k.neox(i), k.network(i)
		if k.hasIn(i, "attn_q_norm.weight") {
			a.QNorm, a.KNorm, a.NormSpan = k.norm("attn_q_norm"), k.norm("attn_k_norm"), graph.OwnHead
		}
		if !k.hasIn(i, "ffn_norm.weight") {
			return k.parallel(a, n)
		}
		return k.preNorm(a, n)
	})
}
