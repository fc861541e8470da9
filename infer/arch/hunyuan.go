package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// hunyuanDense normalises heads that are rotated already.
func hunyuanDense(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		a := k.normedHeads(i)
		a.NormLast = true
		return k.preNorm(a, k.network(i))
	})
}

// hunyuanMoE has a shared expert in all layers.
func hunyuanMoE(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		a, m := k.normedHeads(i), k.mixture(k.network(i).Hidden)
		a.NormLast, m.NormTopKProb = true, true
		m.Shared.Hidden = k.rowsIn(i, "ffn_up_shexp.weight")
		return k.preNorm(a, m)
	})
}
