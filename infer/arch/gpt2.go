package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// gpt2 is GPT-2, and with one key head StarCoder: positions have embeddings.
func gpt2(k *keys) graph.Spec {
	k.layerNorms()
	s := k.decoder(func(i int) graph.Layer { return k.preNorm(k.unrotated(i), k.ungated(i, graph.GELUTanh)) })
	s.Positions = k.count("context_length", 1, -1)
	return s
}

// starCoder2 is StarCoder 2.
func starCoder2(k *keys) graph.Spec {
	k.layerNorms()
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.neox(i), k.ungated(i, graph.GELUTanh)) })
}
