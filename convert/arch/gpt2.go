package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// GPT2 is GPT-2: embeddings of positions, norms of which the mean is subtracted, biases
// everywhere and no gates. Its matrices are saved transposed.
var GPT2 = Architecture{
	Class:   "GPT2LMHeadModel",
	Others:  []string{"GPT2Model"},
	Name:    "gpt2",
	Family:  "GPT-2",
	Special: "matrices are transposed",
	read: func(r *reader) family {
		if r.hparams["scale_attn_weights"] == false || isTrue(r.hparams["scale_attn_by_inverse_layer_idx"]) {
			r.fail(gguf.ErrUnsupported, "%s without scale_attn_weights or with scale_attn_by_inverse_layer_idx", r.class)
		}
		g := &gpt2{r.gpt2("gelu_new", "gelu_fast", "gelu_pytorch_tanh")}
		if n := r.whole(1, 1<<31, "n_ctx"); n != nil && *n != g.MaxPositions {
			r.fail(gguf.ErrUnsupported, "n_ctx is %d, with embeddings of %d positions", *n, g.MaxPositions)
		}
		return g
	},
	restore: func(r *restorer) {
		r.gpt2("gpt2", "gelu_new")
		r.set("n_ctx", r.params["n_positions"]) // which convert_hf_to_gguf.py reads
	},
}

// gpt2 is also StarCoder, with one head of keys and values and matrices as usual.
type gpt2 struct{ Config }

// gpt2 reads what both have.
func (r *reader) gpt2(activations ...string) Config {
	r.setDefaults(hparams{"vocab_size": int64(50257), "n_positions": int64(1024), "n_embd": int64(768), "n_layer": int64(12), "n_head": int64(12),
		"layer_norm_epsilon": 1e-5, "tie_word_embeddings": true}) // of transformers' classes
	width := r.needed(1, 1<<24, "n_embd")
	if n := r.whole(1, 1<<26, "n_inner"); n != nil && *n != 4*width {
		r.fail(gguf.ErrUnsupported, "n_inner is %d, the architecture's is four times n_embd", *n)
	}
	r.hparams["intermediate_size"] = 4 * width
	r.hparams["max_position_embeddings"] = r.hparams["n_positions"]
	if _, act := r.text("activation_function"); act != "" && !slices.Contains(activations, act) {
		r.fail(gguf.ErrUnsupported, "activation_function is %s, the architecture's is %s", show(act), activations[0])
	}
	r.can = layerNorms
	return r.dense()
}

// gpt2 restores what both have.
func (r *restorer) gpt2(model, activation string) {
	for _, names := range [][2]string{
		{"hidden_size", "n_embd"}, {"num_hidden_layers", "n_layer"}, {"num_attention_heads", "n_head"}, {"max_position_embeddings", "n_positions"},
		{"intermediate_size", "n_inner"}, {"layer_norm_eps", "layer_norm_epsilon"}, {"hidden_act", "activation_function"},
	} {
		r.rename(names[0], names[1])
	}
	delete(r.params, "num_key_value_heads")
	delete(r.params, "attention_bias")
	r.set("activation_function", activation)
	r.set("model_type", model)
	r.usual, r.saved = "model.", ""
}

// keys are those of GPT2Model.set_gguf_parameters.
func (g *gpt2) keys(k *keys) {
	k.set("block_count", uint32(g.Layers))
	k.set("context_length", uint32(g.MaxPositions))
	k.set("embedding_length", uint32(g.HiddenSize))
	k.set("feed_forward_length", uint32(g.IntermediateSize))
	k.set("attention.head_count", uint32(g.Heads))
	k.number("attention.layer_norm_epsilon", g.layerNormEps)
	k.setFileType()
}

func (g *gpt2) tensors(m mapper) { g.gpt2Tensors(m, true) }

// gpt2Tensors maps all tensors.
func (c *Config) gpt2Tensors(m mapper, transposed bool) {
	all := c.queries() + 2*c.keysOrValues()
	body := m.below("transformer.", "wte.weight")
	body.take("wte.weight", "token_embd.weight", c.VocabSize, c.HiddenSize)
	body.take("wpe.weight", "position_embd.weight", c.MaxPositions, c.HiddenSize)
	c.output(m, "lm_head.weight")
	c.layerNorm(body, "ln_f", "output_norm")
	for _, layer := range body.layersOf("h.", c.Layers) {
		matrix := func(source, name string, rows, length int64) {
			if transposed {
				layer.put(name+".weight", weights.Transpose(layer.get(source+".weight", length, rows)))
			} else {
				layer.take(source+".weight", name+".weight", rows, length)
			}
			layer.take(source+".bias", name+".bias", rows)
		}
		c.layerNorm(layer, "ln_1", "attn_norm")
		matrix("attn.c_attn", "attn_qkv", all, c.HiddenSize)
		matrix("attn.c_proj", "attn_output", c.HiddenSize, c.queries())
		c.layerNorm(layer, "ln_2", "ffn_norm")
		matrix("mlp.c_fc", "ffn_up", c.IntermediateSize, c.HiddenSize)
		matrix("mlp.c_proj", "ffn_down", c.HiddenSize, c.IntermediateSize)
	}
}
