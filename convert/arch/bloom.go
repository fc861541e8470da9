package arch

import "github.com/ggufkit/ggufkit/gguf"

// BLOOM has no positions but a bias of the scores (ALiBi), norms of which the mean is
// subtracted, one of the embeddings too, biases and no gates. Queries, keys and values are
// saved head by head.
var BLOOM = Architecture{
	Class:   "BloomForCausalLM",
	Others:  []string{"BloomModel"},
	Name:    "bloom",
	Family:  "BLOOM",
	Special: "a bias of scores instead of positions",
	read:    readBLOOM,
	restore: func(r *restorer) {
		for _, names := range [][2]string{
			{"num_hidden_layers", "n_layer"}, {"num_attention_heads", "n_head"}, {"layer_norm_eps", "layer_norm_epsilon"}, {"max_position_embeddings", "seq_length"},
		} {
			r.rename(names[0], names[1])
		}
		for _, name := range []string{"num_key_value_heads", "intermediate_size", "attention_bias", "hidden_act"} {
			delete(r.params, name)
		}
		r.set("model_type", "bloom")
		r.usual, r.saved = "model.", ""
	},
}

type bloom struct{ Config }

func readBLOOM(r *reader) family {
	if v := r.hparams["n_embed"]; v != nil {
		r.hparams["hidden_size"] = v
	}
	r.setDefaults(hparams{"layer_norm_epsilon": 1e-5, "tie_word_embeddings": true})
	r.setDefaults(hparams{"seq_length": r.hparams["hidden_size"]}) // as convert_hf_to_gguf.py has it: the file says nothing of how long texts may be
	width := r.needed(1, 1<<24, "hidden_size")
	r.hparams["intermediate_size"] = 4 * width
	r.hparams["max_position_embeddings"] = r.hparams["seq_length"]
	if isTrue(r.hparams["apply_residual_connection_post_layernorm"]) {
		r.fail(gguf.ErrUnsupported, "%s with apply_residual_connection_post_layernorm", r.class)
	}
	r.can = layerNorms
	return &bloom{r.dense()}
}

// keys are those of BloomModel.set_gguf_parameters.
func (b *bloom) keys(k *keys) {
	k.set("context_length", uint32(b.MaxPositions))
	k.set("embedding_length", uint32(b.HiddenSize))
	k.set("feed_forward_length", uint32(b.IntermediateSize))
	k.set("block_count", uint32(b.Layers))
	k.set("attention.head_count", uint32(b.Heads))
	k.set("attention.head_count_kv", uint32(b.Heads))
	k.number("attention.layer_norm_epsilon", b.layerNormEps)
	k.setFileType()
}

func (b *bloom) tensors(m mapper) {
	body := m.below("transformer.", "word_embeddings.weight")
	body.take("word_embeddings.weight", "token_embd.weight", b.VocabSize, b.HiddenSize)
	b.layerNorm(body, "word_embeddings_layernorm", "token_embd_norm")
	b.output(m, "lm_head.weight")
	b.layerNorm(body, "ln_f", "output_norm")
	for _, layer := range body.layersOf("h.", b.Layers) {
		b.layerNorm(layer, "input_layernorm", "attn_norm")
		b.attentionByHeads(layer, "self_attention.query_key_value", "self_attention.dense")
		b.layerNorm(layer, "post_attention_layernorm", "ffn_norm")
		b.upDown(layer, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
	}
}
