package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// granite is Granite 3 and, without recurrent layers, 4: a Llama with factors of embeddings,
// scores, logits and of what is added to the stream. With experts it is granitemoe, with recurrences instead of attention
// in some layers granitehybrid. The key rope.scaling.finetuned says whether anything is rotated.
func granite(k *keys) graph.Spec {
	residual := float32(k.optional("residual_scale"))
	s := k.decoder(func(i int) graph.Layer {
		var first graph.Mixer
		if k.name == "granitehybrid" && k.recurrent(i) {
			first = k.mamba2(i)
		} else {
			first = k.scaledAttention(i)
		}
		var second graph.Mixer = k.network(i)
		if k.sparse(i) {
			m := k.mixture(k.network(i).Hidden)
			m.NormTopKProb = true
			m.Shared.Hidden = k.count("expert_shared_feed_forward_length", 0, 0)
			second = m
		}
		layer := k.preNorm(first, second)
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

// miniCPM is granite without a scale of attention. Files that are older than the keys are refused: llama.cpp takes those of one model then.
func miniCPM(k *keys) graph.Spec {
	for _, name := range []string{"embedding_scale", "residual_scale", "logit_scale"} {
		k.float(name, 0) // none is optional
	}
	return granite(k)
}

// scaledAttention is attention with a scale of its own, and perhaps without rotary embedding.
func (k *keys) scaledAttention(layer int) graph.Attention {
	a := k.attention(layer)
	if scale := k.optional("attention.scale"); scale != 0 {
		a.Scale = float32(scale)
	}
	if !value(k, "rope.scaling.finetuned", true) {
		a.Rope = graph.RopeSpec{}
	}
	return a
}
