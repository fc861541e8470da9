package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// glm4 is GLM 4 of 2025. The gate is in ffn_up.
func glm4(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.sandwich(k.attention(i), k.fused(i)) })
}

// chatGLM is ChatGLM 3 to GLM 4 of 2024, and GLM Edge.
func chatGLM(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.preNorm(k.attention(i), k.fused(i)) })
}

// fused returns a network whose gate is in ffn_up.
func (k *keys) fused(layer int) graph.Network {
	n := k.network(layer)
	n.Fused = true
	return n
}

// glm4MoE is GLM 4.5 to 4.7. The largest have norms of heads.
func glm4MoE(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		a := k.neox(i)
		if k.hasIn(i, "attn_q_norm.weight") {
			a = k.normedHeads(i)
		}
		layer := k.preNorm(a, k.sigmoidRouted(i))
		layer[1].Norm.Name = "post_attention_norm"
		return layer
	})
}
