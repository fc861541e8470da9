package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Phi3 is Phi 3 to 4: Llama with queries, keys and values in one matrix and the gate and up
// projections in another, as GGUF has them too. Models for long texts divide the angles'
// frequencies by one list of factors, or by another when the context is short.
var Phi3 = Architecture{
	Class:      "Phi3ForCausalLM",
	Name:       "phi3",
	Family:     "Phi 3 to 4",
	Special:    "longrope",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "dbrx"}},
	types: []modelType{{
		name: "phi3", theta: 10000,
		fields: append(denseFields(32064, 3072, 8192, 32, 32, 4096, 1e-5),
			field{"num_key_value_heads", whole | null, nil}, field{"resid_pdrop", whole | decimal, 0.0}, field{"embd_pdrop", whole | decimal, 0.0},
			field{"attention_dropout", whole | decimal, 0.0}, field{"original_max_position_embeddings", whole, int64(4096)},
			field{"bos_token_id", whole | null, int64(1)}, field{"eos_token_id", whole | wholes | null, int64(32000)},
			field{"pad_token_id", whole | null, int64(32000)}, field{"sliding_window", whole | null, nil},
		),
		derive: func(h hparams) {
			if rope, ok := h["rope_scaling"].(map[string]any); ok && (rope["type"] == "su" || rope["type"] == "yarn") {
				h["rope_scaling"] = withType(rope, "longrope") // what it was called before
			}
		},
	}},
	read: func(r *reader) family {
		p := &phi3{}
		p.read(r, r.dense)
		return p
	},
	restore: (*restorer).phi3,
}

// withType returns a copy of what says how positions are scaled, of another type.
func withType(rope map[string]any, name string) map[string]any {
	changed := map[string]any{"rope_type": name}
	for k, v := range rope {
		if k != "type" && k != "rope_type" {
			changed[k] = v
		}
	}
	return changed
}

type phi3 struct {
	Config
	window int64 // 0 for none
}

// read reads config.json, what all models have by the given function.
func (p *phi3) read(r *reader, common func(activations ...string) Config) {
	r.can |= partialRotary | longRope
	p.Config = common("silu", "swish")
	p.window = orZero(r.whole(0, 1<<31, "sliding_window"))
	p.refuseScaling(r, "llama3", "linear", "yarn")
	if p.Rope.OriginalPositions == 0 || p.MaxPositions == 0 || p.Rope.Theta == nil {
		r.fail(gguf.ErrCorrupt, "max_position_embeddings, original_max_position_embeddings or rope_theta is missing")
	}
	if p.HeadDim != nil && *p.HeadDim*p.Heads != p.HiddenSize {
		r.fail(gguf.ErrUnsupported, "%s with a head_dim of %d", r.class, *p.HeadDim)
	}
	p.Rope.checkFactors(r, p.rotated()/2)
}

// rotated is Rotated, with the rounding of Phi3MiniModel.
func (p *phi3) rotated() int64 {
	part := 1.0
	if p.Rope.partial != nil {
		part = *p.Rope.partial
	}
	return int64(part*float64(p.HiddenSize)) / max(1, p.Heads)
}

// earlyKeys has what Phi3MiniModel.generate_extra_tensors adds.
func (p *phi3) earlyKeys(k *keys) error {
	if p.Rope.Type != "longrope" {
		return nil
	}
	factor, original := 1.0, float64(p.Rope.OriginalPositions)
	if scale := float64(p.MaxPositions) / original; scale > 1 {
		factor = math.Sqrt(1 + math.Log(scale)/math.Log(original))
	}
	k.set("rope.scaling.attn_factor", float32(factor))
	return nil
}

// keys are those of Phi3MiniModel.set_gguf_parameters.
func (p *phi3) keys(k *keys) {
	k.set("context_length", uint32(p.MaxPositions))
	k.set("rope.scaling.original_context_length", uint32(p.Rope.OriginalPositions))
	k.set("embedding_length", uint32(p.HiddenSize))
	k.set("feed_forward_length", uint32(p.IntermediateSize))
	k.set("block_count", uint32(p.Layers))
	k.set("attention.head_count", uint32(p.Heads))
	k.set("attention.head_count_kv", uint32(p.KVHeads))
	k.set("attention.layer_norm_rms_epsilon", float32(p.RMSNormEps))
	k.set("rope.dimension_count", uint32(p.rotated()))
	k.number("rope.freq_base", p.Rope.Theta)
	k.setFileType()
	k.set("attention.sliding_window", uint32(p.window))
}

// phi3 is the reverse of phi3.keys.
func (r *restorer) phi3() {
	r.take("rope.scaling.original_context_length", "original_max_position_embeddings")
	r.partial("partial_rotary_factor", r.whole("embedding_length"), r.whole("attention.head_count"))
	if r.set("sliding_window", nil); r.whole("attention.sliding_window") > 0 {
		r.take("attention.sliding_window", "sliding_window")
	}
	r.longRope(r.whole("rope.scaling.original_context_length"))
}

func (p *phi3) tensors(m mapper) {
	p.Rope.longFactors(m)
	p.outside(m)
	for _, layer := range m.layers(p.Layers) {
		p.norms(layer)
		layer.take("self_attn.qkv_proj.weight", "attn_qkv.weight", p.queries()+2*p.keysOrValues(), p.HiddenSize)
		layer.take("self_attn.o_proj.weight", "attn_output.weight", p.HiddenSize, p.queries())
		layer.take("mlp.gate_up_proj.weight", "ffn_up.weight", 2*p.IntermediateSize, p.HiddenSize)
		layer.take("mlp.down_proj.weight", "ffn_down.weight", p.HiddenSize, p.IntermediateSize)
	}
}
