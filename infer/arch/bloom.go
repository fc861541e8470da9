package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// bloom is BLOOM. Its bias of the scores is no key, but llama.cpp's constant.
func bloom(k *keys) graph.Spec {
	k.layerNorms()
	s := k.decoder(func(i int) graph.Layer {
		a := k.unrotated(i)
		a.MaxBias = 8
		return k.preNorm(a, k.ungated(i, graph.GELUTanh))
	})
	s.EmbeddingNorm = k.norm("token_embd_norm")
	return s
}

// mpt is MPT.
func mpt(k *keys) graph.Spec {
	k.layerNorms()
	return k.decoder(func(i int) graph.Layer {
		a := k.unrotated(i)
		a.MaxBias, a.Clamp = k.optional("attention.max_alibi_bias"), float32(k.optional("attention.clamp_kqv"))
		return k.preNorm(a, k.ungated(i, graph.GELU))
	})
}
