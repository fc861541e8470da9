package arch

// Qwen2MoE is Qwen2 with a mixture of experts, one of which, the shared expert,
// works for every token, as much as its own gate lets it. llama.cpp does not
// divide the weights of the experts that a token uses by their sum, whatever
// norm_topk_prob says.
var Qwen2MoE = Architecture{
	Class:   "Qwen2MoeForCausalLM",
	Name:    "qwen2moe",
	Family:  "Qwen 1.5 and 2 with experts",
	Special: "a shared expert; experts one by one or fused",
	types: []modelType{{
		name: "qwen2_moe", theta: 10000, layerTypes: "full_attention", noKVHeads: true,
		fields: append(qwenExpertFields(qwenFields(151936, 2048, 5632, 24, 16), 4, 60, 1408),
			field{"num_key_value_heads", whole | null, int64(16)}, field{"max_window_layers", whole, int64(28)}, field{"layer_types", texts | null, nil},
			field{"shared_expert_intermediate_size", whole, int64(5632)}, field{"qkv_bias", flag, true},
		),
	}},
	read:    func(r *reader) family { return &qwen2MoE{readQwenMixture(r)} },
	experts: "num_experts",
	restore: func(r *restorer) { r.qwenMixture(false) },
}

// qwenExpertFields adds what classes with experts have: how many a token uses, of how
// many, and how wide they are.
func qwenExpertFields(fields []field, used, experts, width int64) []field {
	return append(fields,
		field{"decoder_sparse_step", whole, int64(1)}, field{"moe_intermediate_size", whole, width}, field{"num_experts_per_tok", whole, used},
		field{"num_experts", whole, experts},
		field{"norm_topk_prob", flag, false}, field{"output_router_logits", flag, false}, field{"router_aux_loss_coef", decimal, 0.001},
		field{"mlp_only_layers", wholes | null, nil})
}

// qwenMixture is what the mixtures of Qwen have in common.
type qwenMixture struct {
	mixture
	expertWidth, sharedWidth *int64 // nil where config.json says nothing
}

func readQwenMixture(r *reader) qwenMixture {
	q := qwenMixture{mixture: r.mixture("silu", "swish")}
	q.expertWidth, q.sharedWidth = r.whole(0, 1<<24, "moe_intermediate_size"), r.whole(0, 1<<24, "shared_expert_intermediate_size")
	q.refuseScaling(r, "llama3")
	return q
}

// keys has what Qwen2MoeModel.set_gguf_parameters adds.
func (q *qwenMixture) keys(k *keys) {
	q.commonKeys(k)
	k.count("expert_feed_forward_length", q.expertWidth)
	k.count("expert_shared_feed_forward_length", q.sharedWidth)
}

// qwenMixture is the reverse of qwenMixture.keys. GGUF has no key for whether the weights of
// a token's experts are divided by their sum: it is what llama.cpp does.
func (r *restorer) qwenMixture(normalized bool) {
	r.take("expert_feed_forward_length", "moe_intermediate_size")
	r.take("expert_shared_feed_forward_length", "shared_expert_intermediate_size")
	r.set("norm_topk_prob", normalized)
	r.set("decoder_sparse_step", 1)
	r.set("mlp_only_layers", []int{})
}

// network maps the router and the experts of a layer.
func (q *qwenMixture) network(layer mapper, fused bool) {
	q.router(layer)
	q.routed(layer, fused, orZero(q.expertWidth))
}

type qwen2MoE struct{ qwenMixture }

func (q *qwen2MoE) tensors(m mapper) {
	fused := m.areFused()
	q.outside(m)
	for _, layer := range m.layers(q.Layers) {
		q.qwen2Attention(layer)
		q.network(layer, fused)
		q.shared(layer)
	}
}

// shared maps the expert of a layer that works for every token.
func (q *qwenMixture) shared(layer mapper) {
	width := orZero(q.sharedWidth)
	q.gated(layer, "mlp.shared_expert.", "_shexp", width)
	layer.take("mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight", 1, q.HiddenSize)
}
