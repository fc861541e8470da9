package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// SmolLM3 is Llama of which every fourth layer knows nothing of positions.
var SmolLM3 = Architecture{
	Class:      "SmolLM3ForCausalLM",
	Name:       "smollm3",
	Family:     "SmolLM 3",
	Special:    "every fourth layer knows nothing of positions",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "smaug-bpe"}, Llama: true},
	types: []modelType{{
		name: "smollm3", theta: 2e6, layerTypes: "full_attention",
		fields: append(denseFields(128256, 2048, 11008, 36, 16, 32768, 1e-6),
			field{"num_key_value_heads", whole | null, int64(4)}, field{"pad_token_id", whole | null, int64(128004)},
			field{"bos_token_id", whole | null, int64(128000)}, field{"eos_token_id", whole | wholes | null, int64(128001)},
			field{"use_sliding_window", flag, false}, field{"sliding_window", whole | null, nil}, field{"no_rope_layers", wholes | null, nil},
			field{"no_rope_layer_interval", whole, int64(4)}, field{"layer_types", texts | null, nil}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.0}, field{"mlp_bias", flag, false}, field{"tie_word_embeddings", flag, true},
		),
	}},
	read:    readSmolLM3,
	restore: (*restorer).ropeFactors,
}

func readSmolLM3(r *reader) family {
	const period = 4 // which llama.cpp takes for granted
	with := r.numbers("no_rope_layers")
	for i, rotates := range with {
		if (rotates != 0) != ((i+1)%period != 0) {
			r.fail(gguf.ErrUnsupported, "no_rope_layers is %v for layer %d, in the architecture it is 0 for every fourth", rotates, i)
		}
	}
	if n := r.whole(0, 1<<31, "no_rope_layer_interval"); with == nil && n != nil && *n != period {
		r.fail(gguf.ErrUnsupported, "no_rope_layer_interval is %d, the architecture's is %d", *n, period)
	}
	return readLlama(r)
}
