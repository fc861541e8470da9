package arch

import (
	"github.com/ggufkit/ggufkit/convert/weights"
)

// Qwen35 is the dense model, or the text part, of Qwen 3.5 and 3.6: Qwen3Next without
// experts. Heads of values are in another order in GGUF: first the first of each head of keys,
// then the second, and so on.
var Qwen35 = Architecture{
	Class:      "Qwen3_5ForCausalLM",
	Others:     []string{"Qwen3_5ForConditionalGeneration", "Qwen3_5TextModel"},
	Name:       "qwen35",
	Family:     "Qwen 3.5, 3.6",
	Special:    "the text part; gated delta rule in most layers, heads of values are reordered",
	Embeddings: true,
	types: []modelType{{
		name: "qwen3_5_text", parts: []string{"qwen3_5"}, theta: 10000, partial: 0.25, derive: linearAttentionTypes,
		fields: append(linearAttentionFields(denseFields(248320, 4096, 12288, 32, 16, 32768, 1e-6)), field{"num_key_value_heads", whole, int64(4)}),
	}},
	read: func(r *reader) family {
		r.can = partialRotary
		q := &qwen35{Config: readQwen(r)}
		q.linearAttention = r.linearAttention(&q.Config)
		class, _ := r.hparams.class()
		q.noPredictors = class == "Qwen3_5TextModel"
		return q
	},
	restore: (*restorer).qwen35,
}

// qwen35 is the reverse of the keys of Qwen 3.5.
func (r *restorer) qwen35() {
	r.linearAttention()
	if scaling, ok := r.params["rope_scaling"].(map[string]any); ok {
		scaling["mrope_interleaved"] = true
	}
}

type qwen35 struct {
	Config
	linearAttention
}

func (q *qwen35) keys(k *keys) {
	q.commonKeys(k)
	q.linearAttention.keys(k)
	q.sections(k)
}

// sections adds those of transformers' rotary embedding where config.json has none.
func (c *Config) sections(k *keys) {
	if c.Rope.sections == nil {
		k.set("rope.dimension_sections", []int32{11, 11, 10, 0})
	}
}

func (q *qwen35) tensors(m mapper) {
	q.embeddings(m)
	q.normPlusOne(m, "model.norm.weight", "output_norm.weight")
	q.layers(m, &q.Config, func(layer mapper) { q.separate(layer, &q.Config) }, q.mlp)
}

// separate maps a gated delta rule whose inputs have a matrix each.
func (l *linearAttention) separate(layer mapper, c *Config) {
	l.delta(layer, l.tiled)
	channels := 2*l.allKeys() + l.allValues()
	layer.put("attn_qkv.weight", l.tiled(layer.get("linear_attn.in_proj_qkv.weight", channels, c.HiddenSize), 2*l.allKeys(), l.valueHead))
	layer.put("attn_gate.weight", l.tiled(layer.get("linear_attn.in_proj_z.weight", l.allValues(), c.HiddenSize), 0, l.valueHead))
	layer.put("ssm_alpha.weight", l.tiled(layer.get("linear_attn.in_proj_a.weight", l.valueHeads, c.HiddenSize), 0, 1))
	layer.put("ssm_beta.weight", l.tiled(layer.get("linear_attn.in_proj_b.weight", l.valueHeads, c.HiddenSize), 0, 1))
	out := layer.get("linear_attn.out_proj.weight", c.HiddenSize, l.allValues())
	if l.keyHeads != l.valueHeads {
		out = weights.ReorderColumns(out, l.tiles(0, 1))
	}
	layer.put("ssm_out.weight", out)
}

// tiled returns rows in the order in which GGUF has the heads of values.
func (l *linearAttention) tiled(r weights.Rows, others, size int64) weights.Rows {
	if l.keyHeads == l.valueHeads {
		return r
	}
	block := gcd(others, size)
	return weights.Reorder(r, l.tiles(others/block, size/block))
}

// tiles says where blocks come from: so many others, then those of each head of values, the
// first of all heads of keys before the second.
func (l *linearAttention) tiles(others, each int64) []int64 {
	var from []int64
	for i := range others {
		from = append(from, i)
	}
	shared := l.valueHeads / l.keyHeads
	for i := range shared {
		for head := range l.keyHeads {
			for block := range each {
				from = append(from, others+(head*shared+i)*each+block)
			}
		}
	}
	return from
}

// Qwen35MoE is the text part of Qwen 3.5 with a mixture of experts. All layers have experts,
// fused or one by one.
var Qwen35MoE = Architecture{
	Class:   "Qwen3_5MoeForCausalLM",
	Others:  []string{"Qwen3_5MoeForConditionalGeneration"},
	Name:    "qwen35moe",
	Family:  "Qwen 3.5, 3.6 with experts",
	Special: "as the dense ones",
	types: []modelType{{
		name: "qwen3_5_moe_text", parts: []string{"qwen3_5_moe"}, theta: 10000, partial: 0.25, derive: linearAttentionTypes,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		fields: append(without(linearAttentionFields(denseFields(248320, 2048, 0, 40, 16, 32768, 1e-6)), "intermediate_size"),
			field{"num_key_value_heads", whole, int64(2)}, field{"moe_intermediate_size", whole, int64(512)},
			field{"shared_expert_intermediate_size", whole, int64(512)}, field{"num_experts_per_tok", whole, int64(8)},
			field{"num_experts", whole, int64(256)}, field{"output_router_logits", flag, false}, field{"router_aux_loss_coef", decimal, 0.001},
		),
	}},
	read: func(r *reader) family {
		r.can = partialRotary | expertsOnly
		q := &qwen35MoE{qwenMixture: readQwenMixture(r)}
		q.linearAttention = r.linearAttention(&q.Config)
		return q
	},
	experts: "num_experts",
	restore: func(r *restorer) {
		r.take("expert_feed_forward_length", "moe_intermediate_size")
		r.take("expert_shared_feed_forward_length", "shared_expert_intermediate_size")
		r.qwen35()
	},
}

type qwen35MoE struct {
	qwenMixture
	linearAttention
}

func (q *qwen35MoE) keys(k *keys) {
	q.qwenMixture.keys(k)
	q.linearAttention.keys(k)
	q.sections(k)
}

func (q *qwen35MoE) tensors(m mapper) {
	q.embeddings(m)
	q.normPlusOne(m, "model.norm.weight", "output_norm.weight")
	q.layers(m, &q.Config, func(layer mapper) { q.separate(layer, &q.Config) }, func(layer mapper) {
		q.network(layer, layer.has("mlp.experts.gate_up_proj"))
		q.shared(layer)
	})
}
