package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// qwen3 normalises each head of queries and keys.
func qwen3(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.normedHeads(i), k.network(i)) })
}

// qwen3MoE has no shared expert.
func qwen3MoE(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		if !k.sparse(i) {
			return k.preNorm(k.normedHeads(i), k.network(i))
		}
		m := k.mixture(k.expertHidden())
		m.NormTopKProb = true
		return k.preNorm(k.normedHeads(i), m)
	})
}

// normedHeads is neox with norms of the heads.
func (k *keys) normedHeads(layer int) graph.Attention {
	a := k.neox(layer)
	a.QNorm, a.KNorm = k.norm("attn_q_norm"), k.norm("attn_k_norm")
	return a
}
