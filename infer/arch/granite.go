package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// granite is Granite 3 and, without recurrent layers, 4: a Llama with factors of embeddings,
// scores, logits and of what is added to the stream. With experts it is granitemoe.
func granite(k *keys) graph.Spec {
	residual := float32(k.optional("residual_scale"))
	s := k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		if scale := k.optional("attention.scale"); scale != 0 {
			a.Scale = float32(scale)
		}
		var second graph.Mixer = k.network(i)
		if k.sparse(i) {
			m := k.mixture(k.network(i).Hidden)
			m.NormTopKProb = true
			m.Shared.Hidden = k.count("expert_shared_feed_forward_length", 0, 0)
			second = m
		}
		layer := k.preNorm(a, second)
		for i := range layer {
			layer[i].Scale = residual
		}
		return layer
	})
	s.EmbeddingScale = float32(k.optional("embedding_scale"))
	if divisor := k.optional("logit_scale"); divisor != 0 {
		s.LogitScale = float32(1 / divisor)
	}
	return s
}
