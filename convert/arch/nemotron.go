package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Nemotron is Nemotron 4 and Minitron: norms of which the mean is subtracted and that
// multiply by 1 + weight, which GGUF has as the weight; no gates, the activation is the
// square of the positive part; half of each head is rotated.
var Nemotron = Architecture{
	Class:      "NemotronForCausalLM",
	Name:       "nemotron",
	Family:     "Nemotron 4, Minitron",
	Special:    "norms become 1 + weight",
	Vocabulary: vocab.Rules{IDs: []vocab.RoleID{{Role: "pad", ID: 0}, {Role: "unk", ID: 1}}}, // NemotronModel.set_vocab
	types: []modelType{{
		name: "nemotron", theta: 10000, partial: 0.5, headDim: true,
		fields: append(denseFields(256000, 6144, 24576, 32, 48, 4096, 0),
			field{"head_dim", whole | null, nil}, field{"num_key_value_heads", whole | null, nil}, field{"hidden_act", text, "relu2"},
			field{"initializer_range", decimal, 0.0134}, field{"norm_eps", decimal, 1e-5}, field{"bos_token_id", whole | null, int64(2)},
			field{"eos_token_id", whole | wholes | null, int64(3)}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.0}, field{"mlp_bias", flag, false},
		),
	}},
	read: readNemotron,
	restore: func(r *restorer) {
		r.set("hidden_act", "relu2")
		r.rename("layer_norm_eps", "norm_eps")
		r.partial("partial_rotary_factor", r.whole("embedding_length"), r.whole("attention.head_count"))
	},
}

type nemotron struct {
	Config
	epsilon, factor *float64
}

func readNemotron(r *reader) family {
	r.can = layerNorms | partialRotary
	n := &nemotron{Config: r.dense("relu2")}
	if n.epsilon = n.layerNormEps; n.epsilon == nil {
		n.epsilon = r.positive("norm_eps")
	}
	if n.epsilon == nil || n.Rope.partial == nil {
		r.fail(gguf.ErrCorrupt, "norm_eps or partial_rotary_factor is missing")
	}
	n.refuseScaling(r, "llama3", "yarn")
	if n.factor = r.number("factor"); n.factor == nil || *n.factor == 0 {
		n.factor = n.Rope.Factor
	}
	return n
}

// keys has what NemotronModel.set_gguf_parameters adds.
func (n *nemotron) keys(k *keys) {
	n.commonKeys(k)
	k.set("vocab_size", uint32(n.VocabSize))
	k.number("attention.layer_norm_epsilon", n.epsilon)
	k.set("rope.dimension_count", uint32(int64(*n.Rope.partial*float64(n.HiddenSize))/max(1, n.Heads)))
	if n.factor == nil {
		k.set("rope.scaling.type", "none")
		return
	}
	k.set("rope.scaling.type", "linear")
	k.number("rope.scaling.factor", n.factor)
}

func (n *nemotron) tensors(m mapper) {
	n.embeddings(m)
	n.shiftedNorm(m, "model.norm", "output_norm")
	for _, layer := range m.layers(n.Layers) {
		n.shiftedNorm(layer, "input_layernorm", "attn_norm")
		n.attention(layer, halves)
		n.attentionBiases(layer, halves)
		n.shiftedNorm(layer, "post_attention_layernorm", "ffn_norm")
		n.upDown(layer, "mlp.up_proj", "mlp.down_proj")
	}
}

func (n *nemotron) shiftedNorm(m mapper, source, name string) {
	n.normPlusOne(m, source+".weight", name+".weight")
	m.take(source+".bias", name+".bias", n.HiddenSize)
}
