package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// OLMo is OLMo 1: norms without weights, and queries, keys and values that may be clipped.
var OLMo = Architecture{
	Class:      "OlmoForCausalLM",
	Others:     []string{"OLMoForCausalLM"},
	Name:       "olmo",
	Family:     "OLMo 1",
	Special:    "clipped queries, keys and values",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-2": "olmo"}},
	types: []modelType{{
		name: "olmo", theta: 10000,
		fields: append(denseFields(50304, 4096, 11008, 32, 32, 2048, 0),
			append(olmoFields, field{"clip_qkv", decimal | null, nil})...),
	}},
	read: readOLMo,
	restore: func(r *restorer) {
		delete(r.params, "layer_norm_eps") // it is not said
		r.take("attention.clamp_kqv", "clip_qkv")
	},
}

var olmoFields = []field{
	{"num_key_value_heads", whole | null, nil}, {"pad_token_id", whole | null, int64(1)}, {"eos_token_id", whole | wholes | null, int64(50279)},
	{"attention_bias", flag, false}, {"attention_dropout", whole | decimal, 0.0},
}

type olmo struct {
	Config
	clip *float64
}

func readOLMo(r *reader) family {
	r.can = layerNorms
	o := &olmo{Config: r.dense("silu", "swish"), clip: r.number("clip_qkv")}
	if o.AttentionBias {
		r.fail(gguf.ErrUnsupported, "%s with attention_bias", r.class)
	}
	o.refuseScaling(r, "llama3")
	return o
}

// keys has what OlmoModel.set_gguf_parameters adds.
func (o *olmo) keys(k *keys) {
	o.commonKeys(k)
	k.set("attention.layer_norm_epsilon", float32(1e-5))
	k.number("attention.clamp_kqv", o.clip)
}

func (o *olmo) tensors(m mapper) {
	o.embeddings(m)
	for _, layer := range m.layers(o.Layers) {
		o.attention(layer, weights.Interleave)
		o.mlp(layer)
	}
}
