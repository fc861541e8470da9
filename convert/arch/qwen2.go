package arch

import "github.com/ggufkit/ggufkit/convert/weights"

// Qwen2 is the dense model of Qwen 1.5 to 2.5: Llama with biases for queries,
// keys and values. Its sliding_window, which is hardly ever used, has no place in
// the metadata.
var Qwen2 = Architecture{
	Class: "Qwen2ForCausalLM",
	Others: []string{"Qwen2Model", "KORMoForCausalLM", "Qwen2AudioForConditionalGeneration", "AudioFlamingo3ForConditionalGeneration",
		"DotsOCRForCausalLM"},
	Name:       "qwen2",
	Family:     "Qwen 1.5 to 2.5",
	Embeddings: true,
	types: []modelType{{
		name: "qwen2", parts: []string{"llava_onevision", "qwen2_audio"},
		theta: 10000, layerTypes: "full_attention",
		fields: append(qwenFields(151936, 4096, 22016, 32, 32),
			field{"num_key_value_heads", whole | null, int64(32)}, field{"max_window_layers", whole, int64(28)}, field{"layer_types", texts | null, nil},
		),
	}},
	read: func(r *reader) family { return &qwen2{readQwen(r)} },
}

// qwenFields has what all of Qwen's classes have.
func qwenFields(vocab, width, hidden, layers, heads int64) []field {
	return append(denseFields(vocab, width, hidden, layers, heads, 32768, 1e-6),
		field{"use_sliding_window", flag, false}, field{"sliding_window", whole | null, int64(4096)}, field{"attention_dropout", decimal | whole, 0.0})
}

type qwen2 struct{ Config }

func readQwen(r *reader) Config {
	c := r.dense("silu", "swish")
	c.refuseScaling(r, "llama3") // whose factors only Llama has
	return c
}

func (q *qwen2) keys(k *keys) { q.commonKeys(k) }

func (q *qwen2) tensors(m mapper) {
	q.outside(m)
	for _, layer := range m.layers(q.Layers) {
		q.qwen2Attention(layer)
		q.mlp(layer)
	}
}

// qwen2Attention maps the attention of Qwen 2. Its heads stay as they are: for this
// architecture llama.cpp rotates the halves of a head together.
func (c *Config) qwen2Attention(layer mapper) {
	c.norms(layer)
	c.attention(layer, halves)
	layer.take("self_attn.q_proj.bias", "attn_q.bias", c.queries())
	layer.take("self_attn.k_proj.bias", "attn_k.bias", c.keysOrValues())
	layer.take("self_attn.v_proj.bias", "attn_v.bias", c.keysOrValues())
}

// halves is the order of a head's rows in which those that are rotated together are
// half a head apart, as in checkpoints.
func halves(r weights.Rows, _ int64) weights.Rows { return r }
