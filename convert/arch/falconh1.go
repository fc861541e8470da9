package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// FalconH1 is Falcon-H1: in each layer Mamba 2 and attention beside each other. What its
// config.json multiplies by is in the weights of GGUF. Parameters are as they are in the file:
// convert_hf_to_gguf.py does not ask transformers.
var FalconH1 = Architecture{
	Class:      "FalconH1ForCausalLM",
	Name:       "falcon-h1",
	Family:     "Falcon-H1",
	Special:    "attention and Mamba 2 side by side; multipliers become part of the weights",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "falcon-h1"}},
	read:       readFalconH1,
	restore: func(r *restorer) {
		r.set("model_type", "falcon_h1")
		for _, p := range []struct{ key, name string }{
			{"ssm.conv_kernel", "mamba_d_conv"}, {"ssm.state_size", "mamba_d_state"}, {"ssm.group_count", "mamba_n_groups"},
			{"ssm.time_step_rank", "mamba_n_heads"}, {"ssm.inner_size", "mamba_d_ssm"},
		} {
			r.take(p.key, p.name)
		}
		r.set("mamba_d_head", r.whole("ssm.inner_size")/max(1, r.whole("ssm.time_step_rank")))
		r.set("mamba_rms_norm", r.has("blk.0.ssm_norm.weight"))
		r.set("mamba_conv_bias", r.has("blk.0.ssm_conv1d.bias"))
		r.set("mlp_multipliers", []float64{1, 1})
		r.set("ssm_multipliers", []float64{1, 1, 1, 1, 1})
		for _, name := range falconH1Factors {
			r.set(name, 1.0)
		}
	},
}

// falconH1Factors are the numbers that parts are multiplied by.
var falconH1Factors = []string{
	"embedding_multiplier", "lm_head_multiplier", "attention_in_multiplier", "attention_out_multiplier", "key_multiplier", "ssm_in_multiplier",
	"ssm_out_multiplier",
}

type falconH1 struct {
	Config
	mamba2
	factors  map[string]float64 // of falconH1Factors
	networks []float64          // of gates, and of what networks give
	inputs   []float64          // of z, x, B, C and dt
}

func readFalconH1(r *reader) family {
	f := &falconH1{Config: r.dense("silu"), factors: make(map[string]float64), networks: r.numbers("mlp_multipliers"), inputs: r.numbers("ssm_multipliers")}
	f.mamba2 = mamba2{
		width: f.HiddenSize, inner: r.needed(1, 1<<24, "mamba_d_ssm"), state: r.or(128, "mamba_d_state"),
		groups: r.needed(1, 1<<16, "mamba_n_groups"), kernel: r.or(4, "mamba_d_conv"),
	}
	head := r.needed(1, 1<<16, "mamba_d_head")
	for _, name := range falconH1Factors {
		if v := r.number(name); v != nil {
			f.factors[name] = *v
		} else {
			f.factors[name] = 1
		}
	}
	if f.networks == nil {
		f.networks = []float64{1, 1}
	}
	if f.inputs == nil {
		f.inputs = []float64{1, 1, 1, 1, 1}
	}
	switch {
	case r.err != nil:
		return f
	case len(f.networks) != 2 || len(f.inputs) != 5:
		r.fail(gguf.ErrCorrupt, "mlp_multipliers %v, ssm_multipliers %v: 2 and 5 are needed", f.networks, f.inputs)
	case f.inner%head != 0:
		r.fail(gguf.ErrCorrupt, "mamba_d_ssm %d is not a multiple of mamba_d_head %d", f.inner, head)
	case f.HeadDim == nil || f.kvHeads == nil || f.Rope.Theta == nil:
		r.fail(gguf.ErrCorrupt, "head_dim, num_key_value_heads or rope_theta is missing")
	}
	f.heads = max(1, f.inner/max(1, head))
	f.check(r)
	f.refuseScaling(r)
	return f
}

// keys are those of FalconH1Model.set_gguf_parameters.
func (f *falconH1) keys(k *keys) {
	f.recurrentKeys(k)
	f.mamba2.keys(k)
	k.set("attention.layer_norm_rms_epsilon", float32(f.RMSNormEps))
	k.setFileType()
	k.set("vocab_size", uint32(f.VocabSize))
	k.set("context_length", uint32(f.MaxPositions))
	k.set("feed_forward_length", uint32(f.IntermediateSize))
	k.set("attention.head_count", uint32(f.Heads))
	k.set("attention.head_count_kv", uint32(f.KVHeads))
	k.count("attention.key_length", f.HeadDim)
	k.count("attention.value_length", f.HeadDim)
	k.number("rope.freq_base", f.Rope.Theta)
}

func (f *falconH1) tensors(m mapper) {
	m.put("token_embd.weight", f.scaled(m.get("model.embed_tokens.weight", f.VocabSize, f.HiddenSize), "embedding_multiplier"))
	if m.has("lm_head.weight") {
		m.put("output.weight", f.scaled(m.get("lm_head.weight", f.VocabSize, f.HiddenSize), "lm_head_multiplier"))
	}
	m.take("model.final_layernorm.weight", "output_norm.weight", f.HiddenSize)
	queries, keys := f.queries(), f.keysOrValues()
	for _, layer := range m.layers(f.Layers) {
		layer.take("input_layernorm.weight", "attn_norm.weight", f.HiddenSize)
		layer.put("attn_q.weight", f.scaled(layer.get("self_attn.q_proj.weight", queries, f.HiddenSize), "attention_in_multiplier"))
		layer.put("attn_k.weight", f.scaled(layer.get("self_attn.k_proj.weight", keys, f.HiddenSize), "key_multiplier", "attention_in_multiplier"))
		layer.put("attn_v.weight", f.scaled(layer.get("self_attn.v_proj.weight", keys, f.HiddenSize), "attention_in_multiplier"))
		layer.put("attn_output.weight", f.scaled(layer.get("self_attn.o_proj.weight", f.HiddenSize, queries), "attention_out_multiplier"))
		f.bare = !layer.has("mamba.norm.weight")
		f.scaledTensors(layer, "mamba.", f.scaledInputs, func(r weights.Rows) weights.Rows { return f.scaled(r, "ssm_out_multiplier") })
		layer.take("pre_ff_layernorm.weight", "ffn_norm", f.HiddenSize) // sic
		layer.put("ffn_gate.weight", times(layer.get("feed_forward.gate_proj.weight", f.IntermediateSize, f.HiddenSize), f.networks[0]))
		layer.take("feed_forward.up_proj.weight", "ffn_up.weight", f.IntermediateSize, f.HiddenSize)
		layer.put("ffn_down.weight", times(layer.get("feed_forward.down_proj.weight", f.HiddenSize, f.IntermediateSize), f.networks[1]))
	}
}

// scaled returns a tensor multiplied by some of falconH1Factors, one after the other.
func (f *falconH1) scaled(r weights.Rows, by ...string) weights.Rows {
	for _, name := range by {
		r = times(r, f.factors[name])
	}
	return r
}

// scaledInputs returns the matrix that makes z, x, B, C and dt, each part with its factor.
func (f *falconH1) scaledInputs(r weights.Rows) weights.Rows {
	r = f.scaled(r, "ssm_in_multiplier")
	if !slices.ContainsFunc(f.inputs, func(by float64) bool { return by != 1 }) {
		return r
	}
	var parts []weights.Rows
	first := int64(0)
	for i, rows := range []int64{f.inner, f.inner, f.mamba2.groups * f.state, f.mamba2.groups * f.state, f.heads} {
		parts = append(parts, times(weights.Slice(r, first, rows), f.inputs[i]))
		first += rows
	}
	return weights.Concat(parts...)
}

// times returns a tensor with its values multiplied by a float32. Those of a number that is
// not 1 cannot be told from the products.
func times(r weights.Rows, by float64) weights.Rows {
	if by == 1 {
		return r
	}
	factor := float32(by)
	return weights.Map(r, func(values []float32) {
		for i := range values {
			values[i] *= factor
		}
	}, nil)
}
