package arch

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Llama is the dense model of Llama 1 to 3, and of many that copied it.
var Llama = Architecture{
	Class:      "LlamaForCausalLM",
	Others:     []string{"LLaMAForCausalLM", "LlamaModel", "IQuestCoderForCausalLM", "LlavaForConditionalGeneration", "VoxtralForConditionalGeneration"},
	Name:       "llama",
	Family:     "Llama 1 to 3 and its copies",
	Special:    "positions scaled by linear, yarn and llama3; biases as they are there",
	Vocabulary: vocab.Rules{Llama: true},
	types: []modelType{{
		name:    "llama",
		parts:   []string{"llava", "llava_next", "vipllava", "voxtral"},
		theta:   10000,
		headDim: true,
		fields: append(denseFields(32000, 4096, 11008, 32, 32, 2048, 1e-6),
			field{"num_key_value_heads", whole | null, nil}, field{"head_dim", whole | null, nil}, field{"pretraining_tp", whole | null, int64(1)},
			field{"attention_bias", flag, false}, field{"mlp_bias", flag, false}, field{"attention_dropout", whole | decimal | null, 0.0},
		),
		check: func(h hparams) bool {
			initializer := h["initializer_range"].(float64)
			return h["hidden_size"].(int64)%h["num_attention_heads"].(int64) == 0 && initializer >= 0 && initializer <= 1
		},
	}},
	read:    readLlama,
	restore: (*restorer).ropeFactors,
}

// llama is also Mistral, which has no biases.
type llama struct {
	Config
	biases bool
}

func readLlama(r *reader) family { return &llama{r.dense("silu", "swish"), true} }

func (l *llama) keys(k *keys) {
	l.commonKeys(k)
	l.llamaKeys(k)
}

// llamaKeys adds what LlamaModel.set_gguf_parameters adds.
func (c *Config) llamaKeys(k *keys) {
	k.set("vocab_size", uint32(c.VocabSize))
	k.set("rope.dimension_count", uint32(c.HeadLength()))
}

func (l *llama) tensors(m mapper) {
	l.ropeFreqs(m)
	l.outside(m)
	for _, layer := range m.layers(l.Layers) {
		l.norms(layer)
		l.attention(layer, weights.Interleave)
		l.mlp(layer)
		if !l.biases {
			continue
		}
		l.attentionBiases(layer, weights.Interleave)
		layer.takeAny("mlp.gate_proj.bias", "ffn_gate.bias", l.IntermediateSize)
		layer.takeAny("mlp.up_proj.bias", "ffn_up.bias", l.IntermediateSize)
		layer.takeAny("mlp.down_proj.bias", "ffn_down.bias", l.HiddenSize)
	}
}

// ropeFreqs maps the tensor that says how positions are scaled, if they are in
// Llama 3.1's way.
func (c *Config) ropeFreqs(m mapper) {
	if factors := c.RopeFactors(); factors != nil {
		m.put("rope_freqs.weight", weights.Values(weights.F32, factors, int64(len(factors))))
	}
}

// RopeFactors returns the factors by which Llama 3.1 divides the frequencies of
// the rotary embedding, those of long waves by factor and those of short ones
// by 1, with a smooth passage between (transformers'
// _compute_llama3_parameters); nil for other models. Every step is rounded to
// float32, as convert_hf_to_gguf.py's tensors do; torch divides a number by a
// tensor as number * (1 / tensor).
func (c *Config) RopeFactors() []float32 {
	r := c.Rope
	if r.Type != "llama3" {
		return nil
	}
	or := func(v *float64, otherwise float32) float32 {
		if v == nil {
			return otherwise
		}
		return float32(*v)
	}
	base, factor, low, high := float32(r.Base()), or(r.Factor, 8), or(r.LowFreqFactor, 1), or(r.HighFreqFactor, 4)
	context := float32(r.OriginalPositions)
	dim := c.HeadLength()
	factors := make([]float32, dim/2)
	for i := range factors {
		exponent := float32(2*i) / float32(dim)
		freq := 1 / float32(math.Pow(float64(base), float64(exponent)))
		wavelength := 1 / freq * float32(2*math.Pi)
		switch {
		case wavelength < context/high:
			factors[i] = 1
		case wavelength > context/low:
			factors[i] = factor
		default:
			smooth := (float32(1/wavelength*context) - low) / (high - low)
			factors[i] = 1 / ((1-smooth)/factor + smooth)
		}
	}
	return factors
}

// ropeFactors is the reverse of RopeFactors: the parameters by which the positions of
// Llama 3.1 are scaled, of the tensor that they make. Only the quotients of the original
// context by the two frequency factors tell in it, which are searched among powers of 2.
func (r *restorer) ropeFactors() {
	const name = "rope_freqs.weight"
	if !r.has(name) {
		return
	}
	want := r.values(name)
	if want == nil {
		return
	}
	factor := slices.Max(want)
	theta := 10000.
	if v, err := r.src.Metadata().Float(r.prefix + "rope.freq_base"); err == nil {
		theta = v
	}
	originals, highs := []int64{8192}, []float64{4} // first as they were published
	for i := range 18 {
		originals = append(originals, 16<<i)
	}
	for i := range 7 {
		highs = append(highs, float64(int(2)<<i))
	}
	for _, original := range originals {
		for _, high := range highs {
			c := Config{HeadDim: new(int64(2 * len(want))), Rope: Rope{Type: "llama3", Theta: &theta, Factor: new(float64(factor)), OriginalPositions: original,
				LowFreqFactor: new(1.0), HighFreqFactor: &high}}
			if slices.Equal(c.RopeFactors(), want) {
				r.set("rope_scaling", map[string]any{"rope_type": "llama3", "factor": decimalOf(factor), "original_max_position_embeddings": original,
					"low_freq_factor": 1, "high_freq_factor": high})
				return
			}
		}
	}
	r.fail(fmt.Errorf("%w: tensor %q has factors that no known scaling of positions makes", gguf.ErrUnsupported, name))
}
