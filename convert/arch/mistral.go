package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
)

// Mistral is the dense model of Mistral 7B. Its sliding_window has no place in
// the metadata: llama.cpp attends to the whole context.
var Mistral = Architecture{
	Class:      "MistralForCausalLM",
	Others:     []string{"MistralModel"},
	Name:       "llama",
	Family:     "Mistral 7B and its finetunes",
	Special:    "the sliding window is not in the file",
	Vocabulary: vocab.Rules{Llama: true},
	types: []modelType{
		// With layer_types, transformers takes it for the next.
		{name: "mistral", unless: "layer_types", parts: []string{"mistral3"}, theta: 10000, headDim: true, fields: mistralFields},
		{name: "mistral", theta: 10000, layerTypes: "sliding_attention", fields: ministralFields},
		{name: "ministral", theta: 10000, layerTypes: "sliding_attention", fields: ministralFields},
	},
	read: func(r *reader) family { return &llama{Config: r.dense("silu", "swish")} },
}

var (
	mistralFields = append(denseFields(32000, 4096, 14336, 32, 32, 4096*32, 1e-6),
		field{"num_key_value_heads", whole, int64(8)}, field{"head_dim", whole | null, nil},
		field{"sliding_window", whole | null, int64(4096)}, field{"attention_dropout", decimal | whole, 0.0},
	)
	ministralFields = append(slices.Clone(mistralFields), field{"layer_types", texts | null, nil})
)
