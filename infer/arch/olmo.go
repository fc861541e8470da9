package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// olmo is the first OLMo, whose norms have no weights.
func olmo(k *keys) graph.Spec {
	k.layerNorms()
	s := k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		a.Clamp = float32(k.optional("attention.clamp_kqv"))
		layer := k.preNorm(a, k.network(i))
		for i := range layer {
			layer[i].Norm.Name = ""
		}
		return layer
	})
	s.OutputNorm.Name = ""
	return s
}

// olmo2 is OLMo 2 and 3: norms of results, and of all queries and keys. Three layers of four
// have a window in OLMo 3, and there positions are not scaled.
func olmo2(k *keys) graph.Spec {
	window := k.count("attention.sliding_window", 0, 0)
	return k.decoder(func(i int) graph.Layer {
		a := k.normedAll(i)
		if window > 0 && k.local(i, 4) {
			a.Window = window
			a.Rope = graph.RopeSpec{Dims: a.Rope.Dims, Base: a.Rope.Base, Factor: 1, NeoX: true}
		}
		return k.postNorm(a, k.network(i))
	})
}

// olmoe is OLMoE.
func olmoe(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.normedAll(i), k.mixture(k.network(i).Hidden)) })
}

// normedAll is neox with norms of all queries and all keys.
func (k *keys) normedAll(layer int) graph.Attention {
	a := k.normedHeads(layer)
	a.NormSpan = graph.AllHeads
	return a
}
