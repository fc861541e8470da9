package arch

// Qwen3 is the dense model of Qwen 3: queries and keys have norms instead of
// biases.
var Qwen3 = Architecture{
	Class:      "Qwen3ForCausalLM",
	Others:     []string{"Qwen3Model"},
	Name:       "qwen3",
	Family:     "Qwen 3, its embeddings",
	Embeddings: true,
	types: []modelType{{
		name: "qwen3", theta: 10000, layerTypes: "full_attention",
		fields: append(qwenFields(151936, 4096, 22016, 32, 32),
			field{"num_key_value_heads", whole | null, int64(32)}, field{"head_dim", whole, int64(128)}, field{"attention_bias", flag, false},
			field{"max_window_layers", whole, int64(28)}, field{"layer_types", texts | null, nil},
		),
	}},
	read: func(r *reader) family { return &qwen3{readQwen(r)} },
}

type qwen3 struct{ Config }

func (q *qwen3) keys(k *keys) { q.commonKeys(k) }

func (q *qwen3) tensors(m mapper) {
	q.outside(m)
	for _, layer := range m.layers(q.Layers) {
		q.qwen3Attention(layer)
		q.mlp(layer)
	}
}

// qwen3Attention maps the attention of Qwen 3.
func (c *Config) qwen3Attention(layer mapper) {
	c.norms(layer)
	c.attention(layer, halves)
	c.attentionBiases(layer, halves)
	c.queryKeyNorms(layer, c.HeadLength(), c.HeadLength())
}
