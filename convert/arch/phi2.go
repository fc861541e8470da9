package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Phi2 is Phi 1 to 2: attention and feed-forward part work on the same norm, there are
// biases everywhere, no gates, and part of each head is rotated.
var Phi2 = Architecture{
	Class:      "PhiForCausalLM",
	Name:       "phi2",
	Family:     "Phi 1 to 2",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-2": "phi-2"}},
	types: []modelType{{
		name: "phi", theta: 10000, partial: 0.5,
		fields: append(denseFields(51200, 2048, 8192, 24, 32, 2048, 0),
			field{"num_key_value_heads", whole | null, nil}, field{"resid_pdrop", whole | decimal, 0.0}, field{"embd_pdrop", whole | decimal, 0.0},
			field{"attention_dropout", whole | decimal | null, 0.0}, field{"hidden_act", text, "gelu_new"}, field{"layer_norm_eps", decimal, 1e-5},
			field{"qk_layernorm", flag, false}, field{"bos_token_id", whole | null, int64(1)}, field{"eos_token_id", whole | wholes | null, int64(2)},
			field{"pad_token_id", whole | null, nil},
		),
	}},
	read: readPhi2,
	restore: func(r *restorer) {
		r.set("hidden_act", "gelu_new")
		r.partial("partial_rotary_factor", r.whole("embedding_length"), r.whole("attention.head_count"))
	},
}

type phi2 struct{ Config }

func readPhi2(r *reader) family {
	r.can = layerNorms | partialRotary
	p := &phi2{r.dense("gelu_new")}
	if p.Rope.partial == nil || p.layerNormEps == nil || p.MaxPositions == 0 {
		r.fail(gguf.ErrCorrupt, "partial_rotary_factor, layer_norm_eps or max_position_embeddings is missing")
	}
	if p.IntermediateSize != 4*p.HiddenSize || p.KVHeads != p.Heads || isTrue(r.hparams["qk_layernorm"]) {
		r.fail(gguf.ErrUnsupported, "%s with another intermediate_size than four times the hidden_size, with fewer num_key_value_heads or with qk_layernorm", r.class)
	}
	p.refuseScaling(r)
	return p
}

// keys are those of Phi2Model.set_gguf_parameters.
func (p *phi2) keys(k *keys) {
	k.set("context_length", uint32(p.MaxPositions))
	k.set("embedding_length", uint32(p.HiddenSize))
	k.set("feed_forward_length", uint32(4*p.HiddenSize))
	k.set("block_count", uint32(p.Layers))
	k.set("attention.head_count", uint32(p.Heads))
	k.set("attention.head_count_kv", uint32(p.Heads))
	k.number("attention.layer_norm_epsilon", p.layerNormEps)
	k.set("rope.dimension_count", uint32(int64(*p.Rope.partial*float64(p.HiddenSize))/max(1, p.Heads)))
	k.setFileType()
	k.pairs = append(k.pairs, gguf.KV{Key: "tokenizer.ggml.add_bos_token", Value: false})
}

func (p *phi2) tensors(m mapper) {
	p.embeddings(m)
	m.take("lm_head.bias", "output.bias", p.VocabSize)
	p.layerNorm(m, "model.final_layernorm", "output_norm")
	for _, layer := range m.layers(p.Layers) {
		p.layerNorm(layer, "input_layernorm", "attn_norm")
		p.attentionNamed(layer, "self_attn.dense", halves)
		p.attentionBiases(layer, halves)
		layer.take("self_attn.dense.bias", "attn_output.bias", p.HiddenSize)
		p.upDown(layer, "mlp.fc1", "mlp.fc2")
	}
}
