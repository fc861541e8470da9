package arch

// Qwen3MoE is Qwen3 with a mixture of experts. llama.cpp always divides the
// weights of the experts that a token uses by their sum (norm_topk_prob).
var Qwen3MoE = Architecture{
	Class:   "Qwen3MoeForCausalLM",
	Name:    "qwen3moe",
	Family:  "Qwen 3 with experts",
	Special: "experts one by one or fused",
	types: []modelType{{
		name: "qwen3_moe", theta: 10000,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		fields: append(qwenExpertFields(qwenFields(151936, 2048, 6144, 24, 32), 8, 128, 768),
			field{"num_key_value_heads", whole, int64(4)}, field{"attention_bias", flag, false},
		),
	}},
	read:    func(r *reader) family { return &qwen3MoE{readQwenMixture(r)} },
	experts: "num_experts",
	restore: func(r *restorer) { r.qwenMixture(true) },
}

type qwen3MoE struct{ qwenMixture }

func (q *qwen3MoE) tensors(m mapper) {
	fused := m.areFused()
	q.outside(m)
	for _, layer := range m.layers(q.Layers) {
		q.qwen3Attention(layer)
		q.network(layer, fused)
	}
}
