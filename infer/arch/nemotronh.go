package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// nemotronH is Nemotron-H, with experts nemotron_h_moe: each layer is one mixer, a recurrence, attention without
// rotary embedding, or a network.
func nemotronH(k *keys) graph.Spec {
	k.epsilon = "attention.layer_norm_epsilon"
	return k.decoder(func(i int) graph.Layer {
		switch hidden := k.countAt(i, "feed_forward_length", 0, -1); {
		case !k.recurrent(i):
			return k.parallel(k.unrotated(i))
		case hidden == 0:
			return k.parallel(k.mamba2(i))
		case k.hasIn(i, "ffn_gate_inp.weight"):
			m := k.routed(i, graph.SigmoidGating)
			m.Activation, m.Ungated = graph.ReLU2, true
			return k.parallel(m)
		}
		return k.parallel(k.ungated(i, graph.ReLU2))
	})
}
