package arch

import "github.com/ggufkit/ggufkit/gguf"

// StarCoder is StarCoder 1 and SantaCoder: GPT2 with one head of keys and values for all of
// queries.
var StarCoder = Architecture{
	Class:   "GPTBigCodeForCausalLM",
	Name:    "starcoder",
	Family:  "StarCoder 1, SantaCoder",
	Special: "`multi_query`",
	read: func(r *reader) family {
		if r.hparams["multi_query"] == false {
			r.fail(gguf.ErrUnsupported, "%s without multi_query", r.class)
		}
		r.hparams["num_key_value_heads"] = int64(1)
		return &starCoder{r.gpt2("gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu")}
	},
	restore: func(r *restorer) {
		r.gpt2("gpt_bigcode", "gelu_pytorch_tanh")
		r.set("multi_query", true)
	},
}

type starCoder struct{ Config }

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

func (s *starCoder) tensors(m mapper) { s.gpt2Tensors(m, false) }
