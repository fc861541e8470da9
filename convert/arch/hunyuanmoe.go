package arch

import (
	"reflect"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// HunyuanMoE is Hunyuan with a mixture of experts in every layer, and one expert that every token uses.
var HunyuanMoE = Architecture{
	Class:   "HunYuanMoEV1ForCausalLM",
	Name:    "hunyuan-moe",
	Family:  "Hunyuan with experts (A13B)",
	Special: "tokenizer.json or hy.tiktoken; all layers alike",
	Vocabulary: vocab.Rules{Pre: map[string]string{"qwen2": "hunyuan"}, IDs: []vocab.RoleID{
		{Role: "bos", ID: 127959}, // HunYuanMoEModel.set_vocab
	}},
	types: []modelType{{
		name: "hunyuan_v1_moe", theta: 10000,
		renamed: map[string]string{"num_local_experts": "num_experts", "num_experts_per_tok": "moe_topk"},
		fields: append(denseFields(290943, 4096, 11008, 32, 32, 2048, 1e-5),
			field{"num_key_value_heads", whole | null, nil}, field{"pad_token_id", whole | null, int64(0)}, field{"bos_token_id", whole | null, int64(1)},
			field{"eos_token_id", whole | wholes | null, int64(2)}, field{"eod_token_id", whole | null, int64(3)}, field{"sep_token_id", whole | null, int64(4)},
			field{"pretraining_tp", whole, int64(1)}, field{"attention_bias", flag, false}, field{"attention_dropout", whole | decimal, 0.0},
			field{"num_experts", whole, int64(1)}, field{"moe_topk", whole | wholes, int64(1)}, field{"head_dim", whole | null, nil},
		),
	}},
	read:    readHunyuanMoE,
	experts: "num_experts",
	restore: func(r *restorer) {
		for key, name := range map[string]string{
			"expert_feed_forward_length": "moe_intermediate_size", "expert_used_count": "moe_topk", "expert_shared_count": "num_shared_expert",
		} {
			list := make([]int64, min(r.whole("block_count"), 1<<16))
			for i := range list {
				list[i] = r.whole(key)
			}
			r.set(name, list)
		}
		delete(r.params, "num_experts_per_tok")
		r.set("use_qk_norm", true)
		r.hunyuanRope(r.whole("embedding_length") / max(1, r.whole("attention.head_count")))
	},
}

type hunyuanMoE struct {
	mixture
	hunyuanRope
	used, expertWidth, sharedExperts int64
}

func readHunyuanMoE(r *reader) family {
	h := &hunyuanMoE{mixture: mixture{Config: r.config("silu", "swish")}}
	h.expertsPerToken = nil // its key comes later
	h.experts = orZero(h.expertCount)
	h.used, h.expertWidth = r.same("moe_topk", 1, h.experts), r.same("moe_intermediate_size", 1, 1<<24)
	h.sharedExperts = r.same("num_shared_expert", 1, 1<<16)
	h.hunyuanRope = r.hunyuanRope(&h.Config, h.HiddenSize/max(1, h.Heads), 1000)
	return h
}

// same returns a whole number that is there once or for each layer: metadata have one for all.
func (r *reader) same(name string, low, high int64) int64 {
	v := r.hparams[name]
	list, ok := v.([]any)
	if ok && len(list) > 0 {
		v = list[0]
		for _, other := range list {
			if !reflect.DeepEqual(v, other) {
				r.fail(gguf.ErrUnsupported, "layers of which %s is %s and %s", name, show(v), show(other))
				return low
			}
		}
	}
	one := reader{hparams: hparams{name: v}, err: r.err}
	n := one.needed(low, high, name)
	r.err = one.err
	return n
}

// keys has what HunYuanMoEModel.set_gguf_parameters adds.
func (h *hunyuanMoE) keys(k *keys) {
	h.commonKeys(k)
	k.set("expert_shared_feed_forward_length", uint32(h.IntermediateSize))
	k.set("expert_feed_forward_length", uint32(h.expertWidth))
	k.set("expert_used_count", uint32(h.used))
	k.set("expert_shared_count", uint32(h.sharedExperts))
	h.hunyuanRope.keys(k)
}

func (h *hunyuanMoE) tensors(m mapper) {
	h.outsideTied(m)
	for _, layer := range m.layers(h.Layers) {
		h.norms(layer)
		h.attention(layer, halves)
		layer.take("self_attn.query_layernorm.weight", "attn_q_norm.weight", h.HeadLength())
		layer.take("self_attn.key_layernorm.weight", "attn_k_norm.weight", h.HeadLength())
		layer.take("mlp.gate.wg.weight", "ffn_gate_inp.weight", h.experts, h.HiddenSize)
		h.apart(layer, "mlp.experts.", downFirst, h.expertWidth)
		h.gated(layer, "mlp.shared_mlp.", "_shexp", h.IntermediateSize)
	}
}
