package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Llama4 is the text part of Llama 4: a mixture of experts in every so manyth layer, with one
// that every token uses, and rotated heads that see a chunk of the text in three of four
// layers. Fused experts are transposed: of each one the inputs are rows.
var Llama4 = Architecture{
	Class:      "Llama4ForCausalLM",
	Others:     []string{"Llama4ForConditionalGeneration"},
	Name:       "llama4",
	Family:     "Llama 4",
	Special:    "the text part",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-4o": "llama4"}},
	types: []modelType{{
		name: "llama4_text", parts: []string{"llama4"}, theta: 500000,
		fields: append(denseFields(202048, 5120, 8192, 48, 40, 4096*32, 1e-5),
			field{"intermediate_size_mlp", whole, int64(16384)}, field{"num_key_value_heads", whole, int64(8)}, field{"head_dim", whole, int64(128)},
			field{"bos_token_id", whole | null, int64(1)}, field{"eos_token_id", whole | wholes | null, int64(2)},
			field{"attention_dropout", decimal | whole, 0.0}, field{"num_experts_per_tok", whole, int64(1)}, field{"num_local_experts", whole, int64(16)},
			field{"moe_layers", wholes | null, nil}, field{"interleave_moe_layer_step", whole, int64(1)}, field{"use_qk_norm", flag, true},
			field{"output_router_logits", flag, false}, field{"router_aux_loss_coef", decimal, 0.001}, field{"router_jitter_noise", decimal, 0.0},
			field{"no_rope_layers", wholes | null, nil}, field{"no_rope_layer_interval", whole, int64(4)},
			field{"attention_chunk_size", whole | null, int64(llama4Chunk)}, field{"layer_types", texts | null, nil},
			field{"attn_temperature_tuning", flag, true}, field{"floor_scale", whole, int64(8192)}, field{"attn_scale", decimal, 0.1},
			field{"attention_bias", flag, false},
		),
		derive: deriveLlama4,
	}},
	read:    readLlama4,
	experts: "num_local_experts",
	restore: func(r *restorer) {
		r.set("intermediate_size_mlp", r.params["intermediate_size"])
		r.take("expert_feed_forward_length", "intermediate_size")
		r.take("interleave_moe_layer_step", "interleave_moe_layer_step")
		r.ropeFactors()
		if r.hasKey("attention.sliding_window") {
			r.set("layer_types", slices.Repeat([]string{"full_attention"}, int(r.layers("block_count"))))
		}
	},
}

// llama4Chunk is the size of chunks, and llama4Period how many layers are from one that knows
// nothing of positions to the next: the architecture's.
const (
	llama4Chunk  = 8192
	llama4Period = 4
)

func deriveLlama4(h hparams) {
	layers := h["num_hidden_layers"].(int64)
	if layers < 0 || layers >= 1<<16 {
		return
	}
	if !isTrue(h["no_rope_layers"]) {
		every, rotated := max(1, h["no_rope_layer_interval"].(int64)), make([]any, layers)
		for i := range layers {
			rotated[i] = int64(1)
			if (i+1)%every == 0 {
				rotated[i] = int64(0)
			}
		}
		h["no_rope_layers"] = rotated
	}
	if step := h["interleave_moe_layer_step"].(int64); h["moe_layers"] == nil && step > 0 {
		sparse := []any{}
		for i := step - 1; i < layers; i += step {
			sparse = append(sparse, i)
		}
		h["moe_layers"] = sparse
	}
	if h["layer_types"] == nil {
		types := []any{}
		for _, rotated := range h["no_rope_layers"].([]any) {
			types = append(types, map[bool]string{true: "chunked_attention", false: "full_attention"}[isTrue(rotated)])
		}
		h["layer_types"] = types
	}
}

type llama4 struct {
	mixture
	expertWidth int64
	step        int64 // each so manyth layer has experts
	everything  bool  // all layers attend to all of the text
}

func readLlama4(r *reader) family {
	l := &llama4{mixture: r.mixture("silu", "swish")}
	l.expertWidth = l.IntermediateSize
	l.IntermediateSize = r.needed(1, 1<<24, "intermediate_size_mlp")
	l.feedForward = &l.IntermediateSize
	l.step = r.needed(1, 1<<16, "interleave_moe_layer_step")
	if r.err != nil {
		return l
	}
	if sparse := r.numbers("moe_layers"); sparse != nil {
		want := []float64{}
		for i := l.step - 1; i < l.Layers; i += l.step {
			want = append(want, float64(i))
		}
		if !slices.Equal(sparse, want) {
			r.fail(gguf.ErrUnsupported, "moe_layers has other layers than each one of interleave_moe_layer_step %d", l.step)
		}
	}
	types := r.texts("layer_types")
	l.everything = r.has("layer_types") && !slices.ContainsFunc(types, func(t string) bool { return t != "full_attention" })
	for i, rotated := range r.numbers("no_rope_layers") {
		if (rotated == 0) != ((i+1)%llama4Period == 0) {
			r.fail(gguf.ErrUnsupported, "no_rope_layers has %v for layer %d, in the architecture every fourth is 0", rotated, i)
		}
	}
	for i, t := range types {
		if !l.everything && (t == "full_attention") != ((i+1)%llama4Period == 0) {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d, in the architecture every fourth is full_attention", show(t), i)
		}
	}
	if chunk := r.whole(1, 1<<31, "attention_chunk_size"); !l.everything && chunk != nil && *chunk != llama4Chunk && *chunk < l.MaxPositions {
		r.fail(gguf.ErrUnsupported, "attention_chunk_size is %d, the architecture's is %d", *chunk, llama4Chunk)
	}
	return l
}

// keys has what Llama4Model.set_gguf_parameters adds.
func (l *llama4) keys(k *keys) {
	l.commonKeys(k)
	l.llamaKeys(k)
	k.set("interleave_moe_layer_step", uint32(l.step))
	k.set("expert_feed_forward_length", uint32(l.expertWidth))
	if l.everything {
		k.set("attention.sliding_window", uint32(0))
	}
}

func (l *llama4) tensors(m mapper) {
	l.ropeFreqs(m)
	l.outside(m)
	for i, layer := range m.layers(l.Layers) {
		l.norms(layer)
		l.attention(layer, halves)
		l.attentionBiases(layer, halves)
		if (i+1)%l.step != 0 {
			l.mlpBelow(layer, "feed_forward.")
			continue
		}
		layer.take("feed_forward.router.weight", "ffn_gate_inp.weight", l.experts, l.HiddenSize)
		width := l.expertWidth
		layer.put("ffn_down_exps.weight", weights.Transpose(layer.get("feed_forward.experts.down_proj", l.experts, width, l.HiddenSize)))
		gateUp := weights.Transpose(layer.get("feed_forward.experts.gate_up_proj", l.experts, l.HiddenSize, 2*width))
		layer.put("ffn_gate_exps.weight", weights.Slice(gateUp, 0, width))
		layer.put("ffn_up_exps.weight", weights.Slice(gateUp, width, width))
		l.gated(layer, "feed_forward.shared_expert.", "_shexp", width)
	}
}
