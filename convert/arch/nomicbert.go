package arch

import (
	"github.com/ggufkit/ggufkit/gguf"
)

// NomicBERT is nomic-embed-text 1 and 1.5, with the code that comes with them: BERT with rotated heads, gated networks and no
// biases. That of experts (2) is refused.
var NomicBERT = Architecture{
	Class:      "NomicBertModel",
	Name:       "nomic-bert",
	Family:     "Nomic Embed 1 and 1.5",
	Special:    "embeddings; without experts (2 MoE)",
	Embeddings: true,
	types: []modelType{{
		name: "nomic_bert", theta: 1000, headDim: true, noKVHeads: true,
		fields: []field{
			{"vocab_size", whole, int64(30528)}, {"hidden_size", whole, int64(768)}, {"num_hidden_layers", whole, int64(12)},
			{"num_attention_heads", whole, int64(12)}, {"intermediate_size", whole, int64(3072)}, {"hidden_act", text, "silu"},
			{"hidden_dropout_prob", decimal, 0.0}, {"attention_probs_dropout_prob", decimal, 0.0}, {"max_position_embeddings", whole, int64(2048)},
			{"type_vocab_size", whole, int64(2)}, {"initializer_range", decimal, 0.02}, {"layer_norm_eps", decimal, 1e-12}, {"pad_token_id", whole, int64(0)},
			{"classifier_dropout", decimal | null, nil}, {"bos_token_id", whole | null, nil}, {"eos_token_id", whole | null, nil}, {"head_dim", whole | null, nil},
		},
	}},
	read: readNomicBERT,
	restore: func(r *restorer) {
		for name, v := range nomicBERT {
			r.set(name, v)
		}
		for from, to := range map[string]string{
			"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "intermediate_size": "n_inner",
			"layer_norm_eps": "layer_norm_epsilon", "rope_theta": "rotary_emb_base",
		} {
			r.set(to, r.params[from]) // which the code that comes with it knows
		}
		r.set("n_positions", 8192)
		r.set("max_trained_positions", 2048)
		if i, ok := r.index["token_types.weight"]; ok {
			r.set("type_vocab_size", r.src.Tensors()[i].Rows())
		}
		for _, name := range []string{"num_key_value_heads", "attention_bias", "is_causal"} {
			delete(r.params, name)
		}
		const published = "nomic-ai/nomic-bert-2048--" // the code
		r.set("auto_map", map[string]string{
			"AutoConfig": published + "configuration_hf_nomic_bert.NomicBertConfig", "AutoModel": published + "modeling_hf_nomic_bert.NomicBertModel",
		})
		r.usual, r.saved = "model.", ""
	},
}

// nomicBERT are parameters that models can only have one value of.
var nomicBERT = map[string]any{
	"activation_function": "swiglu", "causal": false, "qkv_proj_bias": false, "mlp_fc1_bias": false, "mlp_fc2_bias": false, "prenorm": false,
	"rotary_emb_fraction": 1.0, "rotary_emb_interleaved": false, "rotary_emb_scale_base": nil,
}

type nomicBERTModel struct{ bert }

func readNomicBERT(r *reader) family {
	if isTrue(r.hparams["moe_every_n_layers"]) {
		r.fail(gguf.ErrUnsupported, "%s with experts (moe_every_n_layers)", r.class)
	}
	for name, want := range nomicBERT {
		v := r.hparams[name]
		if n, ok := v.(int64); ok {
			v = float64(n)
		}
		if v != want {
			r.fail(gguf.ErrUnsupported, "%s is %s, in the architecture it is %s", name, show(v), show(want))
		}
	}
	if trained := r.whole(1, 1<<31, "max_trained_positions"); r.needed(1, 1<<31, "n_positions") != 8192 || trained != nil && *trained != 2048 {
		r.fail(gguf.ErrUnsupported, "other n_positions than 8192, or other max_trained_positions than 2048")
	}
	b := &nomicBERTModel{bert{prefix: "bert.", kinds: r.needed(1, 1<<16, "type_vocab_size")}}
	r.can = layerNorms
	b.Config = r.dense("silu")
	b.refuseScaling(r)
	if b.KVHeads != b.Heads || b.queries() != b.HiddenSize {
		r.fail(gguf.ErrUnsupported, "%s with %d heads of keys and values and a head_dim of %d", r.class, b.KVHeads, b.HeadLength())
	}
	return b
}

func (b *nomicBERTModel) tensors(m mapper) {
	body := m.below(b.prefix, "embeddings.word_embeddings.weight")
	body.ignore("pooler.")
	body.take("embeddings.word_embeddings.weight", "token_embd.weight", b.VocabSize, b.HiddenSize)
	body.take("embeddings.token_type_embeddings.weight", "token_types.weight", b.kinds, b.HiddenSize)
	b.bertNorm(body, "emb_ln", "token_embd_norm")
	for _, layer := range body.layersOf("encoder.layers.", b.Layers) {
		layer.take("attn.Wqkv.weight", "attn_qkv.weight", 3*b.HiddenSize, b.HiddenSize)
		layer.take("attn.out_proj.weight", "attn_output.weight", b.HiddenSize, b.HiddenSize)
		b.bertNorm(layer, "norm1", "attn_output_norm")
		layer.take("mlp.fc11.weight", "ffn_up.weight", b.IntermediateSize, b.HiddenSize)
		layer.take("mlp.fc12.weight", "ffn_gate.weight", b.IntermediateSize, b.HiddenSize)
		layer.take("mlp.fc2.weight", "ffn_down.weight", b.HiddenSize, b.IntermediateSize)
		b.bertNorm(layer, "norm2", "layer_output_norm")
	}
}
