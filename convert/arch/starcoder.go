package arch

import (
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// StarCoder is StarCoder 1 and SantaCoder: GPT-2 with one head of keys and values for all of
// queries, and embeddings of positions.
var StarCoder = Architecture{
	Class: "GPTBigCodeForCausalLM",
	Name:  "starcoder",
	read:  readStarCoder,
	restore: func(r *restorer) {
		for _, names := range [][2]string{
			{"hidden_size", "n_embd"}, {"num_hidden_layers", "n_layer"}, {"num_attention_heads", "n_head"}, {"max_position_embeddings", "n_positions"},
			{"intermediate_size", "n_inner"}, {"layer_norm_eps", "layer_norm_epsilon"}, {"hidden_act", "activation_function"},
		} {
			r.rename(names[0], names[1])
		}
		delete(r.params, "num_key_value_heads")
		delete(r.params, "attention_bias")
		r.set("multi_query", true)
		r.set("activation_function", "gelu_pytorch_tanh")
		r.set("model_type", "gpt_bigcode")
		r.usual, r.saved = "model.transformer.", "transformer."
	},
}

type starCoder struct{ Config }

func readStarCoder(r *reader) family {
	defaults := hparams{"vocab_size": int64(50257), "n_positions": int64(1024), "n_embd": int64(768), "n_layer": int64(12), "n_head": int64(12),
		"layer_norm_epsilon": 1e-5, "tie_word_embeddings": true} // of transformers' GPTBigCodeConfig
	for name, v := range defaults {
		if r.hparams[name] == nil {
			r.hparams[name] = v
		}
	}
	width := r.needed(1, 1<<24, "n_embd")
	if n := r.whole(1, 1<<26, "n_inner"); n != nil && *n != 4*width {
		r.fail(gguf.ErrUnsupported, "n_inner is %d, the architecture's is four times n_embd", *n)
	}
	r.hparams["intermediate_size"] = 4 * width
	r.hparams["num_key_value_heads"] = int64(1)
	if _, act := r.text("activation_function"); act != "" && !strings.HasPrefix(act, "gelu") {
		r.fail(gguf.ErrUnsupported, "activation_function is %s, the architecture's is gelu_pytorch_tanh", show(act))
	}
	if r.hparams["multi_query"] == false {
		r.fail(gguf.ErrUnsupported, "%s without multi_query", r.class)
	}
	r.can = layerNorms
	return &starCoder{r.dense()}
}

// keys are those of StarCoderModel.set_gguf_parameters.
func (s *starCoder) keys(k *keys) {
	k.set("context_length", uint32(s.MaxPositions))
	k.set("embedding_length", uint32(s.HiddenSize))
	k.set("feed_forward_length", uint32(s.IntermediateSize))
	k.set("block_count", uint32(s.Layers))
	k.set("attention.head_count", uint32(s.Heads))
	k.set("attention.head_count_kv", uint32(1))
	k.number("attention.layer_norm_epsilon", s.layerNormEps)
	k.setFileType()
}

func (s *starCoder) tensors(m mapper) {
	m.take("model.transformer.wte.weight", "token_embd.weight", s.VocabSize, s.HiddenSize)
	m.take("model.transformer.wpe.weight", "position_embd.weight", s.MaxPositions, s.HiddenSize)
	m.takeAny("lm_head.weight", "output.weight", s.VocabSize, s.HiddenSize)
	s.layerNorm(m, "model.transformer.ln_f", "output_norm")
	for _, layer := range m.layersOf("model.transformer.h.", s.Layers) {
		s.layerNorm(layer, "ln_1", "attn_norm")
		all := s.queries() + 2*s.HeadLength()
		layer.take("attn.c_attn.weight", "attn_qkv.weight", all, s.HiddenSize)
		layer.take("attn.c_attn.bias", "attn_qkv.bias", all)
		layer.take("attn.c_proj.weight", "attn_output.weight", s.HiddenSize, s.queries())
		layer.take("attn.c_proj.bias", "attn_output.bias", s.HiddenSize)
		s.layerNorm(layer, "ln_2", "ffn_norm")
		s.upDown(layer, "mlp.c_fc", "mlp.c_proj")
	}
}
