package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// bert is BERT: what is normalised is the stream, after attention and network.
func bert(k *keys) graph.Spec {
	s := k.normedAfter(func(i int) (graph.Attention, graph.Network) { return k.unrotated(i), k.ungated(i, graph.GELU) })
	s.Positions = k.count("context_length", 1, -1)
	return s
}

// nomicBERT is BERT with rotated heads and gated networks.
func nomicBERT(k *keys) graph.Spec {
	return k.normedAfter(func(i int) (graph.Attention, graph.Network) { return k.neox(i), k.network(i) })
}

// normedAfter is an encoder whose stream is normalised after attention and network, with kinds of texts.
func (k *keys) normedAfter(mixers func(i int) (graph.Attention, graph.Network)) graph.Spec {
	k.layerNorms()
	s := k.encoder(func(i int) graph.Layer {
		a, n := mixers(i)
		a.Encoder = true
		return graph.Layer{
			{Mixers: []graph.Mixer{a}, EndNorm: k.norm("attn_output_norm")},
			{Mixers: []graph.Mixer{n}, EndNorm: k.norm("layer_output_norm")},
		}
	})
	s.TokenTypes = k.rows("token_types.weight")
	s.EmbeddingNorm, s.OutputNorm = k.norm("token_embd_norm"), graph.Norm{}
	return s
}

// modernBERT is ModernBERT: two layers of three have a window, with a rotary embedding of their own. The first sees the
// embeddings, which are normalised already.
func modernBERT(k *keys) graph.Spec {
	k.layerNorms()
	every := k.count("attention.sliding_window_pattern", 1, 3)
	s := k.encoder(func(i int) graph.Layer {
		a, n := k.neox(i), k.fused(i)
		a.Encoder, n.Activation = true, graph.GELU
		if i%every != 0 {
			a.Window, a.Rope.Base = k.count("attention.sliding_window", 1, -1), k.float("rope.freq_base_swa", a.Rope.Base)
		}
		layer := k.preNorm(a, n)
		if i == 0 {
			layer[0].Norm = graph.Norm{}
		}
		return layer
	})
	s.EmbeddingNorm = k.norm("token_embd_norm")
	return s
}
