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
