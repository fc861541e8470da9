package arch

import "github.com/ggufkit/ggufkit/gguf"

// Falcon is Falcon 7B, 11B and 40B: attention and feed-forward part work on the same norm,
// or each on one of its own, without biases and gates. Queries, keys and values are saved
// by the heads of keys. convert_hf_to_gguf.py cannot convert what transformers 5 makes of the
// config.json of 7B, which says that it has as many heads of keys as of queries.
var Falcon = Architecture{
	Class:   "FalconForCausalLM",
	Others:  []string{"RWForCausalLM"},
	Name:    "falcon",
	Family:  "Falcon 7B, 11B, 40B",
	Special: "7B as published, which convert_hf_to_gguf.py with transformers 5 cannot read; not with a bias of scores",
	read:    readFalcon,
	restore: func(r *restorer) {
		two := r.has("blk.0.attn_norm_2.weight")
		r.rename("num_key_value_heads", "num_kv_heads")
		r.rename("layer_norm_eps", "layer_norm_epsilon")
		r.rename("intermediate_size", "ffn_hidden_size")
		r.rename("hidden_act", "activation")
		r.set("activation", "gelu")
		r.set("new_decoder_architecture", two || r.whole("attention.head_count_kv") != 1)
		r.set("num_ln_in_parallel_attn", map[bool]int{false: 1, true: 2}[two])
		r.set("multi_query", true)
		r.set("model_type", "falcon")
		delete(r.params, "attention_bias")
		r.usual, r.saved = "model.", ""
	},
}

type falcon struct{ Config }

// falconContext is what FalconModel.set_gguf_parameters writes for all.
const falconContext = 2048

func readFalcon(r *reader) family {
	if v := r.hparams["n_embed"]; v != nil {
		r.hparams["hidden_size"] = v
	}
	for name, old := range map[string]string{"num_attention_heads": "n_head", "num_hidden_layers": "n_layer", "num_kv_heads": "n_head_kv"} {
		r.setDefaults(hparams{name: r.hparams[old]})
	}
	r.setDefaults(hparams{"layer_norm_epsilon": 1e-5, "tie_word_embeddings": true})
	width := r.needed(1, 1<<24, "hidden_size")
	if n := r.whole(1, 1<<26, "ffn_hidden_size"); n != nil && *n != 4*width {
		r.fail(gguf.ErrUnsupported, "ffn_hidden_size is %d, the architecture's is four times hidden_size", *n)
	}
	r.hparams["intermediate_size"] = 4 * width
	r.hparams["num_key_value_heads"] = r.falconKVHeads()
	if isTrue(r.hparams["alibi"]) || isTrue(r.hparams["bias"]) || r.hparams["parallel_attn"] == false {
		r.fail(gguf.ErrUnsupported, "%s with alibi or bias, or without parallel_attn", r.class)
	}
	if _, act := r.text("activation"); act != "" && act != "gelu" {
		r.fail(gguf.ErrUnsupported, "activation is %s, the architecture's is gelu", show(act))
	}
	r.can = layerNorms
	f := &falcon{r.dense()}
	f.refuseScaling(r)
	return f
}

// falconKVHeads returns how many heads of keys there are: one in models before 40B, whatever
// num_kv_heads says, unless multi_query is off.
func (r *reader) falconKVHeads() any {
	if isTrue(r.hparams["new_decoder_architecture"]) || r.has("n_head_kv") {
		if v := r.hparams["num_kv_heads"]; v != nil {
			return v
		}
		return r.hparams["num_attention_heads"]
	}
	if r.hparams["multi_query"] == false {
		return r.hparams["num_attention_heads"]
	}
	return int64(1)
}

// keys are those of FalconModel.set_gguf_parameters, and another base than llama.cpp's.
func (f *falcon) keys(k *keys) {
	k.set("context_length", uint32(falconContext))
	k.set("tensor_data_layout", "jploski")
	k.set("embedding_length", uint32(f.HiddenSize))
	k.set("feed_forward_length", uint32(f.IntermediateSize))
	k.set("block_count", uint32(f.Layers))
	k.set("attention.head_count", uint32(f.Heads))
	k.set("attention.head_count_kv", uint32(f.KVHeads))
	k.number("attention.layer_norm_epsilon", f.layerNormEps)
	k.setFileType()
	f.Rope.otherBase(k)
}

func (f *falcon) tensors(m mapper) {
	body := m.below("transformer.", "word_embeddings.weight")
	body.take("word_embeddings.weight", "token_embd.weight", f.VocabSize, f.HiddenSize)
	f.output(m, "lm_head.weight")
	f.layerNorm(body, "ln_f", "output_norm")
	for _, layer := range body.layersOf("h.", f.Layers) {
		if layer.has("ln_attn.weight") {
			f.layerNorm(layer, "ln_attn", "attn_norm_2")
			f.layerNorm(layer, "ln_mlp", "attn_norm")
		} else {
			layer.take("input_layernorm.weight", "attn_norm.weight", f.HiddenSize)
			layer.take("input_layernorm.bias", "attn_norm.bias", f.HiddenSize)
		}
		f.attentionByHeads(layer, "self_attention.query_key_value", "self_attention.dense")
		layer.take("mlp.dense_h_to_4h.weight", "ffn_up.weight", f.IntermediateSize, f.HiddenSize)
		layer.take("mlp.dense_4h_to_h.weight", "ffn_down.weight", f.HiddenSize, f.IntermediateSize)
	}
}
