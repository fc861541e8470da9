package arch

import "slices"

// DeepSeek32 is DeepSeek V3.2: V3, and an indexer that chooses the tokens that each one
// attends to.
var DeepSeek32 = Architecture{
	Class:   "DeepseekV32ForCausalLM",
	Name:    "deepseek32",
	Family:  "DeepSeek V3.2",
	Special: "with its indexer",
	types: []modelType{{
		name: "deepseek_v32", theta: 10000,
		renamed: map[string]string{"num_local_experts": "num_experts"},
		fields: slices.Concat(denseFields(129280, 7168, 18432, 61, 128, 163840, 1e-6), latentFields(128, 1536, 64, 128, 128, 8, 4),
			[]field{{"index_n_heads", whole, int64(64)}}),
		derive: deriveSparse,
	}},
	read:    func(r *reader) family { return &deepSeek32{readSparse(r)} },
	experts: "n_routed_experts",
	restore: func(r *restorer) {
		r.sparse()
		r.set("topk_method", "noaux_tc")
	},
}

// latentFields has what classes with latent attention and an indexer have in common.
func latentFields(kvHeads, queryRank, rotated, value, unrotated, groups, groupsUsed int64) []field {
	return []field{
		{"moe_intermediate_size", whole, int64(2048)}, {"num_key_value_heads", whole, kvHeads}, {"n_shared_experts", whole, int64(1)},
		{"n_routed_experts", whole, int64(256)}, {"routed_scaling_factor", decimal, 2.5}, {"kv_lora_rank", whole, int64(512)},
		{"q_lora_rank", whole, queryRank}, {"qk_rope_head_dim", whole, rotated}, {"v_head_dim", whole, value}, {"qk_nope_head_dim", whole, unrotated},
		{"n_group", whole, groups}, {"topk_group", whole, groupsUsed}, {"num_experts_per_tok", whole, int64(8)}, {"norm_topk_prob", flag, true},
		{"bos_token_id", whole | null, int64(0)}, {"eos_token_id", whole | wholes | null, int64(1)}, {"rope_parameters", object | null, nil},
		{"mlp_layer_types", texts | null, nil}, {"attention_bias", flag, false}, {"attention_dropout", decimal | whole, 0.0},
		{"index_topk", whole, int64(2048)}, {"index_head_dim", whole, int64(128)}, {"mlp_bias", flag, false}, {"num_experts", whole, int64(256)},
		{"head_dim", whole, int64(64)}, {"first_k_dense_replace", whole, int64(3)}, {"layer_types", texts | null, nil},
	}
}

// deriveSparse sets what follows from other parameters of classes with an indexer.
func deriveSparse(h hparams) {
	h["head_dim"] = h["qk_rope_head_dim"]
	layers := h["num_hidden_layers"].(int64)
	if layers < 0 || layers >= 1<<16 {
		return
	}
	if h["mlp_layer_types"] == nil {
		dense := max(0, min(h["first_k_dense_replace"].(int64), layers))
		h["mlp_layer_types"] = append(slices.Repeat([]any{"dense"}, int(dense)), slices.Repeat([]any{"sparse"}, int(layers-dense))...)
	}
	if h["layer_types"] == nil {
		h["layer_types"] = slices.Repeat([]any{"deepseek_sparse_attention"}, int(layers))
	}
}

// sparse is a latentMixture with an indexer, and layers that guess more tokens than the next.
type sparse struct {
	latentMixture
	nextLayers
	indexHeads, indexWidth, indexed int64
}

func readSparse(r *reader) sparse {
	s := sparse{latentMixture: r.latentMixture(), nextLayers: r.nextLayers()}
	s.indexHeads, s.indexWidth = r.needed(1, 1<<16, "index_n_heads"), r.needed(1, 1<<16, "index_head_dim")
	s.indexed = r.needed(1, 1<<31, "index_topk")
	return s
}

// sparseKeys has what DeepseekV32Model.set_gguf_parameters adds.
func (s *sparse) sparseKeys(k *keys) {
	s.latentKeys(k)
	s.nextKeys(k, s.Layers, s.said)
	k.set("attention.indexer.head_count", uint32(s.indexHeads))
	k.set("attention.indexer.key_length", uint32(s.indexWidth))
	k.set("attention.indexer.top_k", uint32(s.indexed))
}

func (s *sparse) tensors(m mapper) {
	s.latentMixture.tensors(m)
	s.next(m, &s.Config, func(layer mapper, fused bool) {
		s.norms(layer)
		s.latentAttention(layer)
		s.sharedMixture(layer, fused)
	})
	for _, layer := range m.layers(s.Layers + s.layers) {
		s.indexer(layer)
	}
}

// indexer maps that of a layer, which may use those of another.
func (s *sparse) indexer(layer mapper) {
	layer.takeAny("self_attn.indexer.wq_b.weight", "indexer.attn_q_b.weight", s.indexHeads*s.indexWidth, orZero(s.queryRank))
	layer.takeAny("self_attn.indexer.wk.weight", "indexer.attn_k.weight", s.indexWidth, s.HiddenSize)
	layer.takeAny("self_attn.indexer.k_norm.weight", "indexer.k_norm.weight", s.indexWidth)
	layer.takeAny("self_attn.indexer.k_norm.bias", "indexer.k_norm.bias", s.indexWidth)
	layer.takeAny("self_attn.indexer.weights_proj.weight", "indexer.proj.weight", s.indexHeads, s.HiddenSize)
}

// sparse is the reverse of sparseKeys.
func (r *restorer) sparse() {
	r.latentMixture()
	r.nextLayers()
	if experts, ok := r.params["n_routed_experts"]; ok {
		r.set("num_experts", experts)
	}
	r.take("attention.indexer.head_count", "index_n_heads")
	r.take("attention.indexer.key_length", "index_head_dim")
	r.take("attention.indexer.top_k", "index_topk")
}

type deepSeek32 struct{ sparse }

func (d *deepSeek32) keys(k *keys) { d.sparseKeys(k) }
