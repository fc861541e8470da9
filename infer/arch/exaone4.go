package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// exaone4 is EXAONE 4. Where three layers of four have a window, the others rotate nothing.
func exaone4(k *keys) graph.Spec {
	window := k.count("attention.sliding_window", 0, 0)
	return k.decoder(func(i int) graph.Layer {
		a := k.normedHeads(i)
		switch {
		case window == 0:
		case k.local(i, 4):
			a.Window = window
		default:
			a.Rope = graph.RopeSpec{}
		}
		return k.postNorm(a, k.network(i))
	})
}

// exaoneMoE is K-EXAONE.
func exaoneMoE(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.localRotated(i, 4), k.sigmoidRouted(i)) })
}
