package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// qwen2 is Qwen 1.5, 2 and 2.5, whose queries, keys and values have biases.
func qwen2(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.neox(i), k.network(i)) })
}

// qwen2MoE has a shared expert with a gate.
func qwen2MoE(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		dense := k.network(i)
		if !k.sparse(i) {
			return k.preNorm(k.neox(i), dense)
		}
		m := k.mixture(k.expertHidden())
		m.Shared = graph.SharedExpert{Hidden: k.count("expert_shared_feed_forward_length", 1, dense.Hidden), Gated: true}
		return k.preNorm(k.neox(i), m)
	})
}
