package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// afmoe is Arcee's Trinity: attention with a gate, three layers of four with a window and a rotary embedding, the others
// without both. If the metadata do not say otherwise, weights of experts are normalised, as transformers does it always.
func afmoe(k *keys) graph.Spec {
	s := k.decoder(func(i int) graph.Layer {
		a := k.localRotated(i, 4)
		a.GateApart = true
		if !k.sparse(i) {
			return k.sandwich(a, k.network(i))
		}
		m := k.routed(i, graph.SigmoidGating)
		m.NormTopKProb = value(k, "expert_weights_norm", true)
		return k.sandwich(a, m)
	})
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	return s
}

// localRotated is normedHeads with a window in all layers but every n-th, which sees all and rotates nothing.
func (k *keys) localRotated(layer, n int) graph.Attention {
	a := k.normedHeads(layer)
	if k.local(layer, n) {
		a.Window = k.count("attention.sliding_window", 1, -1)
	} else {
		a.Rope = graph.RopeSpec{}
	}
	return a
}
