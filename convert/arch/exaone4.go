package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Exaone4 is EXAONE 4: norms of what both parts of a layer give, and of each head of queries
// and keys. The larger model has a sliding window in three of four layers.
var Exaone4 = Architecture{
	Class:      "Exaone4ForCausalLM",
	Name:       "exaone4",
	Family:     "EXAONE 4",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-2": "exaone4"}},
	types: []modelType{{
		name: "exaone4", theta: 10000,
		fields: append(denseFields(102400, 4096, 16384, 32, 32, 2048, 1e-5),
			field{"num_key_value_heads", whole, int64(32)}, field{"bos_token_id", whole | null, int64(0)},
			field{"eos_token_id", whole | wholes | null, int64(2)}, field{"attention_dropout", whole | decimal, 0.0},
			field{"sliding_window", whole | null, int64(4096)}, field{"sliding_window_pattern", whole | text | null, int64(4)},
			field{"layer_types", texts | null, nil},
		),
	}},
	read: readExaone4,
	restore: func(r *restorer) {
		r.ropeFactors()
		r.window()
	},
}

type exaone4 struct {
	Config
	window *int64
	local  []bool // which layers have the window
}

func readExaone4(r *reader) family {
	e := &exaone4{Config: r.dense("silu", "swish"), window: r.whole(1, 1<<31, "sliding_window")}
	if e.window == nil {
		return e
	}
	if r.hparams["layer_types"] != nil {
		e.local = r.localLayers(e.Layers)
		return e
	}
	e.local = make([]bool, e.Layers)
	switch pattern := r.hparams["sliding_window_pattern"].(type) {
	case string: // such as LLLG
		for i := range e.local {
			e.local[i] = pattern != "" && pattern[i%len(pattern)] == 'L'
		}
	case int64:
		for i := range e.local {
			e.local[i] = pattern > 0 && int64(i+1)%pattern != 0
		}
	default:
		r.fail(gguf.ErrCorrupt, "layer_types and sliding_window_pattern are missing")
	}
	return e
}

// keys has what Exaone4Model.set_gguf_parameters adds.
func (e *exaone4) keys(k *keys) {
	e.commonKeys(k)
	k.set("vocab_size", uint32(e.VocabSize))
	if e.window != nil {
		k.count("attention.sliding_window", e.window)
		k.set("attention.sliding_window_pattern", e.local)
	}
}

func (e *exaone4) tensors(m mapper) {
	e.ropeFreqs(m)
	e.outside(m)
	for _, layer := range m.layers(e.Layers) {
		e.attention(layer, halves)
		e.queryKeyNorms(layer, e.HeadLength(), e.HeadLength())
		e.postNorms(layer)
		e.mlp(layer)
	}
}
