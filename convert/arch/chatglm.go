package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// ChatGLM is GLM Edge and GLM 4 of 2024, as transformers has them: GLM4 without norms behind
// the parts of a layer. convert_hf_to_gguf.py writes an epsilon of 1e-5 and a context of as
// many tokens as the model is wide, whatever config.json says.
var ChatGLM = Architecture{
	Class:   "GlmForCausalLM",
	Name:    "chatglm",
	Family:  "GLM Edge, GLM 4 of 2024",
	Special: "as transformers has them",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "chatglm-bpe"}, Roles: []vocab.RoleText{
		{Role: "eos", Text: "<|endoftext|>"}, {Role: "eot", Text: "<|user|>"}, {Role: "unk", Text: "<|endoftext|>"},
	}},
	types: []modelType{{name: "glm", theta: 10000, partial: glmRotated, fields: glmFields(null), derive: deriveGLM}},
	read: func(r *reader) family {
		g := &chatGLM{r.glm()}
		if head := g.HiddenSize / max(1, g.Heads); g.HeadLength() != head {
			r.fail(gguf.ErrUnsupported, "head_dim is %d, the architecture's is %d (hidden_size / num_attention_heads)", g.HeadLength(), head)
		}
		g.refuseScaling(r)
		return g
	},
	restore: func(r *restorer) {
		r.set("head_dim", r.glmHead())
		r.partial("partial_rotary_factor", r.glmHead(), 1)
	},
}

type chatGLM struct{ glm }

// keys has what ChatGLMModel.set_gguf_parameters writes. The base of the angles, which is
// always 10000 there, is the model's.
func (g *chatGLM) keys(k *keys) {
	k.set("context_length", uint32(g.HiddenSize))
	k.set("embedding_length", uint32(g.HiddenSize))
	k.set("feed_forward_length", uint32(g.IntermediateSize))
	k.set("block_count", uint32(g.Layers))
	k.set("attention.head_count", uint32(g.Heads))
	k.set("attention.head_count_kv", uint32(g.KVHeads))
	k.set("attention.layer_norm_rms_epsilon", float32(1e-5))
	k.setFileType()
	k.set("rope.dimension_count", g.halfRotated(g.HiddenSize/g.Heads))
	k.pairs = append(k.pairs, gguf.KV{Key: "tokenizer.ggml.add_bos_token", Value: false})
	k.set("rope.freq_base", float32(g.Rope.Base()))
}

func (g *chatGLM) tensors(m mapper) {
	g.outside(m)
	for _, layer := range m.layers(g.Layers) {
		g.norms(layer)
		g.layer(layer)
	}
}
