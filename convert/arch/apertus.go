package arch

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Apertus is Llama without gates, with norms of each head of queries and keys, and an
// activation (xIELU) of which each layer has its own parameters. GGUF has those as metadata.
var Apertus = Architecture{
	Class:      "ApertusForCausalLM",
	Name:       "apertus",
	Family:     "Apertus",
	Special:    "parameters of activations become metadata",
	Vocabulary: vocab.Rules{Llama: true},
	types: []modelType{{
		name: "apertus", theta: 12e6,
		fields: append(denseFields(131072, 4096, 14336, 32, 32, 65536, 1e-5),
			field{"num_key_value_heads", whole | null, nil}, field{"hidden_act", text, "xielu"}, field{"pad_token_id", whole | null, int64(3)},
			field{"bos_token_id", whole | null, int64(1)}, field{"eos_token_id", whole | wholes | null, int64(2)}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.0},
		),
		derive: func(h hparams) {
			if h["rope_parameters"] == nil {
				h["rope_parameters"] = map[string]any{"rope_type": "llama3", "rope_theta": 12e6, "factor": 8.0,
					"original_max_position_embeddings": int64(8192), "low_freq_factor": 1.0, "high_freq_factor": 4.0}
			}
		},
	}},
	read:    func(r *reader) family { return &apertus{Config: r.dense("xielu")} },
	restore: restoreApertus,
}

type apertus struct {
	Config
	activations [][]weights.Rows // of each of xIELU's parameters, those of the layers
}

// xIELU are the parameters, in the order in which their tensors come.
var xIELU = [...]string{"alpha_n", "alpha_p", "beta", "eps"}

// earlyKeys has the parameters of the activations.
func (a *apertus) earlyKeys(k *keys) error {
	for i, layers := range a.activations {
		values := make([]float32, len(layers))
		for j, r := range layers {
			if err := r.ReadRows(values[j:j+1], 0, 1); err != nil {
				return fmt.Errorf("xielu.%s of layer %d: %w", xIELU[i], j, err)
			}
		}
		k.pairs = append(k.pairs, gguf.KV{Key: "xielu." + xIELU[i], Value: values})
	}
	return nil
}

func (a *apertus) keys(k *keys) {
	a.commonKeys(k)
	a.llamaKeys(k)
}

func (a *apertus) tensors(m mapper) {
	a.ropeFreqs(m)
	a.outside(m)
	a.activations = make([][]weights.Rows, len(xIELU))
	for _, layer := range m.layers(a.Layers) {
		layer.take("attention_layernorm.weight", "attn_norm.weight", a.HiddenSize)
		a.attention(layer, halves)
		a.attentionBiases(layer, halves)
		a.queryKeyNorms(layer, a.HeadLength(), a.HeadLength())
		layer.take("feedforward_layernorm.weight", "ffn_norm.weight", a.HiddenSize)
		a.upDown(layer, "mlp.up_proj", "mlp.down_proj")
		for i, name := range xIELU {
			a.activations[i] = append(a.activations[i], layer.scalar("mlp.act_fn."+name))
		}
	}
}

// restoreApertus makes tensors again of the parameters of the activations.
func restoreApertus(r *restorer) {
	r.set("hidden_act", "xielu")
	r.set("rope_scaling", map[string]any{"rope_type": "default"}) // or there would be one
	r.ropeFactors()
	for _, name := range xIELU {
		values, err := gguf.Value[[]float32](r.src.Metadata(), "xielu."+name)
		if err != nil {
			r.fail(err)
		}
		if int64(len(values)) != r.whole("block_count") {
			r.fail(fmt.Errorf("%w: xielu.%s of %d layers", gguf.ErrCorrupt, name, len(values)))
		}
		var shape []int64 // of a parameter that is not learnt
		if strings.HasPrefix(name, "alpha") {
			shape = []int64{1}
		}
		for i, v := range values {
			r.tensorsOfKeys[fmt.Sprintf("model.layers.%d.mlp.act_fn.%s", i, name)] = weights.Values(weights.F32, []float32{v}, shape...)
		}
	}
}
