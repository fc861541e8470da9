package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// Arcee is Llama without gates: the activation is the square of the positive part.
var Arcee = Architecture{
	Class:      "ArceeForCausalLM",
	Name:       "arcee",
	Family:     "AFM",
	Embeddings: true,
	Vocabulary: vocab.Rules{Llama: true},
	types: []modelType{{
		name: "arcee", theta: 10000, headDim: true,
		fields: append(denseFields(32000, 2560, 18432, 32, 32, 4096, 1e-5),
			field{"num_key_value_heads", whole | null, nil}, field{"hidden_act", text, "relu2"}, field{"bos_token_id", whole | null, int64(128000)},
			field{"eos_token_id", whole | wholes | null, int64(128001)}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.0}, field{"mlp_bias", flag, false}, field{"head_dim", whole | null, nil},
		),
		check: func(h hparams) bool { return h["hidden_size"].(int64)%h["num_attention_heads"].(int64) == 0 },
	}},
	read: func(r *reader) family { return &arcee{r.dense("relu2")} },
	restore: func(r *restorer) {
		r.ropeFactors()
		r.set("hidden_act", "relu2")
	},
}

type arcee struct{ Config }

func (a *arcee) keys(k *keys) {
	a.commonKeys(k)
	a.llamaKeys(k)
}

func (a *arcee) tensors(m mapper) {
	a.ropeFreqs(m)
	a.outside(m)
	for _, layer := range m.layers(a.Layers) {
		a.norms(layer)
		a.attention(layer, weights.Interleave)
		a.attentionBiases(layer, weights.Interleave)
		a.upDown(layer, "mlp.up_proj", "mlp.down_proj")
	}
}
