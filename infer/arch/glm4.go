package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// glm4 is GLM 4 of 2025. The gate is in ffn_up. With sections of positions, which are the same in texts, halves of heads are rotated.
func glm4(k *keys) graph.Spec {
	_, sections := k.meta.Get(k.prefix + "rope.dimension_sections")
	return k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		a.Rope.NeoX = sections
		return k.sandwich(a, k.fused(i))
	})
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
