package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// deepSeek is the first DeepSeek-MoE: its first layers are dense, the others have shared
// experts, which are one network.
func deepSeek(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		if !k.sparse(i) {
			return k.preNorm(k.attention(i), k.network(i))
		}
		m := k.mixture(k.expertHidden())
		// llama.cpp cannot run models without, but mergekit-moe makes them.
		m.Shared.Hidden = m.Hidden * k.count("expert_shared_count", 0, -1)
		if m.Shared.Hidden > maxCount {
			k.corrupt("shared experts of %d elements", m.Shared.Hidden)
		}
		return k.preNorm(k.attention(i), m)
	})
}

// deepSeek2 is DeepSeek V2 and V3, and others with latent attention: Kimi K2, GLM 4.7 Flash; with an indexer DeepSeek V3.2 and GLM 5.
// If the metadata do not say how experts are routed, it is by sigmoids where there are biases of the choice, as in V3. V2 chooses groups by their best expert, V3 by two;
// llama.cpp has always two.
func deepSeek2(k *keys) graph.Spec {
	indexed := -1
	return k.decoder(func(i int) graph.Layer {
		attention := k.latent(i)
		attention.Indexer, indexed = k.indexer(i, indexed, attention.Rope)
		if !k.sparse(i) {
			return k.preNorm(attention, k.network(i))
		}
		gating := graph.SoftmaxGating
		if k.hasIn(i, "exp_probs_b.bias") {
			gating = graph.SigmoidGating
		}
		m := k.routed(i, gating)
		if m.Groups.Count > 0 && m.Gating == graph.SoftmaxGating {
			m.Groups.Tops = 1
		}
		return k.preNorm(attention, m)
	})
}

// latent returns the latent attention of a layer.
func (k *keys) latent(layer int) graph.MLA {
	m := graph.MLA{
		Heads:     k.count("attention.head_count", 1, -1),
		QueryRank: k.count("attention.q_lora_rank", 0, 0),
		Rank:      k.count("attention.kv_lora_rank", 1, -1),
		Absorbed:  k.hasIn(layer, "attn_k_b.weight"),
		KVNorm:    k.norm("attn_kv_a_norm"),
	}
	if k.hasIn(layer, "attn_q.weight") {
		m.QueryRank = 0
	}
	if m.QueryRank > 0 {
		m.QNorm = k.norm("attn_q_a_norm")
	}
	m.KeyLen, m.ValueLen = k.count("attention.key_length_mla", 1, 0), k.count("attention.value_length_mla", 1, 0)
	if m.KeyLen == 0 || m.ValueLen == 0 {
		m.KeyLen, m.ValueLen = k.count("attention.key_length", 1, -1), k.count("attention.value_length", 1, -1)
	}
	m.Rope = k.rope(m.KeyLen)
	if m.Rope.Dims >= m.KeyLen {
		k.corrupt("all of the %d elements of a key are rotated", m.KeyLen)
	}
	m.Scale = float32(1 / math.Sqrt(float64(m.KeyLen)))
	// The converter has multiplied mscale_all_dim by 0.1. Its factor belongs to the scores, squared, and mscale is
	// taken for equal to it: then the rotary embedding has none.
	if multiplier := 10 * k.optional("rope.scaling.yarn_log_multiplier"); multiplier != 0 && m.Rope.Yarn != (graph.Yarn{}) {
		scale := yarnScale(m.Rope.Factor, multiplier)
		m.Scale *= float32(scale * scale)
		m.Rope.Magnitude = 1
	}
	if scale := k.optional("attention.temperature_scale"); scale != 0 {
		m.Temperature = graph.Temperature{Scale: scale, Length: k.count("attention.temperature_length", 1, k.originalContext())}
	}
	return m
}

// indexer returns that of a layer, and the last layer so far that has one of its own; last is what that was before.
func (k *keys) indexer(layer, last int, rope graph.RopeSpec) (graph.Indexer, int) {
	x := graph.Indexer{TopK: k.count("attention.indexer.top_k", 1, 0)}
	if x.TopK == 0 {
		return x, last
	}
	own, types := k.hasIn(layer, "indexer.attn_k.weight"), value[[]bool](k, "attention.indexer.types", nil)
	switch {
	case layer < len(types):
		own = types[layer]
	case types != nil:
		k.corrupt("%sattention.indexer.types has %d values, none for layer %d", k.prefix, len(types), layer)
	}
	x.Heads, x.KeyLen = k.count("attention.indexer.head_count", 1, -1), k.count("attention.indexer.key_length", 1, -1)
	x.Norm = graph.Norm{Name: "indexer.k_norm", Kind: graph.LayerNorm, Epsilon: 1e-6}
	x.Rope = rope
	x.Rope.NeoX = k.name != "glm-dsa" || !llamaCppIndexes(x.KeyLen)
	k.rotated(rope.Dims, x.KeyLen)
	if own {
		return x, layer
	}
	if last < 0 {
		k.corrupt("layer %d has no indexer, and none before it has", layer)
	}
	x.Shared = layer - last
	return x, last
}

// llamaCppIndexes reports whether llama.cpp can run an indexer with keys of n elements, which it multiplies with a Hadamard matrix.
//
// It matters for GLM 5, whose indexer rotates neighbours in llama.cpp, and so says config.json (indexer_rope_interleave), which
// metadata do not. transformers 5.12.1 does not read that and rotates halves, as in DeepSeek V3.2. Where llama.cpp computes
// nothing, only what transformers computes is known.
func llamaCppIndexes(n int) bool { return n >= 64 && n&(n-1) == 0 }
