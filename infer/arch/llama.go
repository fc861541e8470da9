package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// llama is Llama, Mistral and, with experts, Mixtral. A window of attention is ignored, as
// llama.cpp ignores it: its converter writes no key for it.
func llama(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		network := k.network(i)
		if !k.sparse(i) {
			return k.preNorm(k.attention(i), network)
		}
		m := k.mixture(network.Hidden)
		m.NormTopKProb = true
		return k.preNorm(k.attention(i), m)
	})
}

// mistral3 is Mistral Small 3 and Ministral 3, whose queries may grow with the position.
func mistral3(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		if scale := k.optional("attention.temperature_scale"); scale != 0 {
			a.Temperature = graph.Temperature{Scale: scale, Length: k.count("attention.temperature_length", 1, k.originalContext())}
		}
		return k.preNorm(a, k.network(i))
	})
}

// ernie45 is the dense Ernie 4.5.
func ernie45(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.attention(i), k.network(i)) })
}

// smolLM3 rotates nothing in every fourth layer.
func smolLM3(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		if (i+1)%4 == 0 {
			a.Rope = graph.RopeSpec{}
		}
		return k.preNorm(a, k.network(i))
	})
}

// arcee is AFM.
func arcee(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.attention(i), k.ungated(i, graph.ReLU2)) })
}

// seedOSS names its second norm after what stands before it.
func seedOSS(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		layer := k.preNorm(k.neox(i), k.network(i))
		layer[1].Norm.Name = "post_attention_norm"
		return layer
	})
}

// ernie45MoE is Ernie 4.5 with experts, in every n-th layer behind the dense ones. Their weights are normalised.
func ernie45MoE(k *keys) graph.Spec {
	step := k.count("interleave_moe_layer_step", 1, 1)
	return k.decoder(func(i int) graph.Layer {
		if !k.sparse(i) || (i+1)%step != 0 {
			return k.preNorm(k.attention(i), k.network(i))
		}
		m := k.routed(i, graph.SoftmaxGating)
		m.NormTopKProb = true
		return k.preNorm(k.attention(i), m)
	})
}
