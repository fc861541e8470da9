package arch

import (
	"fmt"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Jamba is Jamba 1 to 2: layers of Mamba 1, whose dt, B and C have norms, one of attention
// without positions among several, and a mixture of experts behind some.
var Jamba = Architecture{
	Class:      "JambaForCausalLM",
	Name:       "jamba",
	Family:     "Jamba",
	Special:    "Mamba and attention, networks and experts by turns",
	Vocabulary: vocab.Rules{NoSpacePrefixOfFast: true}, // JambaModel.set_vocab
	types: []modelType{{
		name: "jamba", theta: 10000,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		derive: func(h hparams) {
			if h["mamba_dt_rank"] == "auto" {
				h["mamba_dt_rank"] = (h["hidden_size"].(int64) + 15) / 16
			}
		},
		fields: append(denseFields(65536, 4096, 14336, 32, 32, 262144, 1e-6),
			field{"num_key_value_heads", whole, int64(8)}, field{"output_router_logits", flag, false}, field{"router_aux_loss_coef", decimal, 0.001},
			field{"pad_token_id", whole | null, int64(0)}, field{"bos_token_id", whole | null, int64(1)},
			field{"eos_token_id", whole | wholes | null, int64(2)}, field{"attention_dropout", whole | decimal, 0.0},
			field{"num_experts_per_tok", whole, int64(2)}, field{"num_experts", whole, int64(16)}, field{"expert_layer_period", whole, int64(2)},
			field{"expert_layer_offset", whole, int64(1)}, field{"attn_layer_period", whole, int64(8)}, field{"attn_layer_offset", whole, int64(4)},
			field{"use_mamba_kernels", flag, true}, field{"mamba_d_state", whole, int64(16)}, field{"mamba_d_conv", whole, int64(4)},
			field{"mamba_expand", whole, int64(2)}, field{"mamba_dt_rank", whole | text, "auto"}, field{"mamba_conv_bias", flag, true},
			field{"mamba_proj_bias", flag, false},
		),
	}},
	read:    readJamba,
	experts: "num_experts",
	restore: restoreJamba,
}

type jamba struct {
	mixture
	mamba1
	attends []bool // which layers do
	mixed   []bool // which have experts
}

func readJamba(r *reader) family {
	j := &jamba{mixture: r.mixture("silu", "swish")}
	j.mamba1 = mamba1{
		width: j.HiddenSize, inner: r.needed(1, 1<<8, "mamba_expand") * j.HiddenSize, state: r.or(16, "mamba_d_state"),
		rank: r.auto((j.HiddenSize+15)/16, "mamba_dt_rank"), kernel: r.or(4, "mamba_d_conv"),
	}
	attention, attentionEvery := r.needed(0, 1<<16, "attn_layer_offset"), r.needed(1, 1<<16, "attn_layer_period")
	experts, expertsEvery := r.needed(0, 1<<16, "expert_layer_offset"), r.needed(1, 1<<16, "expert_layer_period")
	if r.err != nil {
		return j
	}
	for i := range j.Layers {
		j.attends = append(j.attends, i >= attention && (i-attention)%attentionEvery == 0)
		j.mixed = append(j.mixed, j.experts > 1 && i >= experts && (i-experts)%expertsEvery == 0)
	}
	return j
}

// keys are those of JambaModel.set_gguf_parameters.
func (j *jamba) keys(k *keys) {
	k.set("block_count", uint32(j.Layers))
	k.set("context_length", uint32(j.MaxPositions))
	k.set("embedding_length", uint32(j.HiddenSize))
	k.set("feed_forward_length", uint32(j.IntermediateSize))
	k.set("attention.head_count", uint32(j.Heads))
	k.set("attention.head_count_kv", onlyWhere(j.attends, j.KVHeads))
	j.mamba1.keys(k)
	k.set("attention.layer_norm_rms_epsilon", float32(j.RMSNormEps))
	k.count("expert_count", j.expertCount)
	k.count("expert_used_count", j.expertsPerToken)
	k.setFileType()
}

func (j *jamba) tensors(m mapper) {
	j.embeddings(m)
	m.take("model.final_layernorm.weight", "output_norm.weight", j.HiddenSize)
	for i, layer := range m.layers(j.Layers) {
		layer.take("input_layernorm.weight", "attn_norm.weight", j.HiddenSize)
		if j.attends[i] {
			j.attention(layer, halves)
		} else {
			j.mamba1.tensors(layer, "mamba.")
			layer.take("mamba.dt_layernorm.weight", "ssm_dt_norm.weight", j.rank)
			layer.take("mamba.b_layernorm.weight", "ssm_b_norm.weight", j.state)
			layer.take("mamba.c_layernorm.weight", "ssm_c_norm.weight", j.state)
		}
		layer.take("pre_ff_layernorm.weight", "ffn_norm.weight", j.HiddenSize)
		if j.mixed[i] {
			layer.take("feed_forward.router.weight", "ffn_gate_inp.weight", j.experts, j.HiddenSize)
			j.apart(layer, "feed_forward.experts.", downFirst, j.IntermediateSize)
		} else {
			j.mlpBelow(layer, "feed_forward.")
		}
	}
}

// restoreJamba is the reverse of jamba.keys. Which layers have what is in the tensors, too.
func restoreJamba(r *restorer) {
	r.take("ssm.conv_kernel", "mamba_d_conv")
	r.take("ssm.state_size", "mamba_d_state")
	r.take("ssm.time_step_rank", "mamba_dt_rank")
	r.set("mamba_expand", r.whole("ssm.inner_size")/max(1, r.whole("embedding_length")))
	attends := r.keysAndValues()
	mixed := make([]int32, len(attends))
	for i := range mixed {
		if r.has(fmt.Sprintf("blk.%d.ffn_gate_inp.weight", i)) {
			mixed[i] = 1
		}
	}
	for _, p := range []struct {
		name string
		have []int32
	}{{"attn_layer", attends}, {"expert_layer", mixed}} {
		offset, period, ok := everyNth(p.have)
		if !ok {
			r.fail(fmt.Errorf("%w: layers of which not every so manyth is alike, as a checkpoint", gguf.ErrUnsupported))
		}
		r.set(p.name+"_offset", offset)
		r.set(p.name+"_period", period)
	}
}

// everyNth returns from where on, and how far apart, values are above 0.
func everyNth(values []int32) (offset, period int, ok bool) {
	var at []int
	for i, v := range values {
		if v > 0 {
			at = append(at, i)
		}
	}
	switch len(at) {
	case 0: // the first is behind the last layer
		return len(values), len(values) + 1, true
	case 1:
		return at[0], len(values) + 1, true
	}
	period = at[1] - at[0]
	for i := range at {
		if at[i] != at[0]+i*period {
			return 0, 0, false
		}
	}
	return at[0], period, at[0] < period && at[len(at)-1]+period >= len(values)
}
