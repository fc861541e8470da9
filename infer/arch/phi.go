package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// phi2 is Phi 1 to 2: attention and network in parallel.
func phi2(k *keys) graph.Spec {
	k.layerNorms()
	return k.decoder(func(i int) graph.Layer { return k.parallel(k.neox(i), k.ungated(i, graph.GELUTanh)) })
}

// phi3 is Phi 3 to 4: a Llama whose gate is in ffn_up. The window is transformers': llama.cpp
// has none.
func phi3(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		a := k.neox(i)
		a.Window = k.count("attention.sliding_window", 0, 0)
		return k.preNorm(a, k.fused(i))
	})
}

// phiMoE is Phi 3.5 MoE as llama.cpp runs it: norms take no mean away, and the weights of the chosen experts are a softmax of
// theirs. What transformers has there cannot be had of the metadata, which lack the factors of its rotary embedding (mscale).
func phiMoE(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		m := k.mixture(k.network(i).Hidden)
		m.NormTopKProb = true
		return k.preNorm(k.neox(i), m)
	})
}
