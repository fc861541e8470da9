package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// GLM4 is the dense model of GLM 4 of 2025: norms in front of and behind both parts of a
// layer, the gate and the up projection as one matrix, and half of each head rotated.
var GLM4 = Architecture{
	Class:   "Glm4ForCausalLM",
	Name:    "glm4",
	Family:  "GLM 4 and Z1 of 2025",
	Special: "norms in front of and behind both parts of a layer",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "glm4"}, Roles: []vocab.RoleText{
		{Role: "eos", Text: "<|endoftext|>"}, {Role: "eot", Text: "<|user|>"}, {Role: "unk", Text: "<|endoftext|>"}, {Role: "bos", Text: "<|endoftext|>"},
	}},
	types: []modelType{{name: "glm4", theta: 10000, partial: glmRotated, fields: glmFields(0), derive: deriveGLM}},
	read: func(r *reader) family {
		g := &glm4{r.glm()}
		if g.Rope.sections != nil {
			r.fail(gguf.ErrUnsupported, "mrope_section of a model of class %s", r.class)
		}
		return g
	},
	restore: func(r *restorer) {
		r.partial("partial_rotary_factor", r.glmHead(), 1)
		if r.hasKey("rope.dimension_sections") {
			r.set("architectures", []string{glm4VClass})
			r.set("model_type", "glm4v_text")
			r.asPartOf("glm4v")
		}
	},
}

// GLM4V is the text part of GLM 4.1V: GLM 4 with positions that have a time, a height and a width. The kernels for these
// rotate halves of heads, where the checkpoint has neighbours.
var GLM4V = Architecture{
	Class:      glm4VClass,
	Name:       "glm4",
	Family:     "GLM 4.1V",
	Special:    "the text part",
	Vocabulary: GLM4.Vocabulary,
	types: []modelType{{
		name: "glm4v_text", parts: []string{"glm4v"}, theta: 10000,
		fields: append(denseFields(151552, 4096, 13696, 40, 32, 32768, 1e-5), field{"num_key_value_heads", whole | null, int64(2)}, field{"attention_dropout", decimal | whole, 0.0}),
	}},
	read: func(r *reader) family {
		g := &glm4{r.glm()}
		if n := g.halfRotated(g.HeadLength()); n%2 != 0 {
			r.fail(gguf.ErrUnsupported, "an odd number of rotated elements, %d", n)
		}
		return g
	},
}

const glm4VClass = "Glm4vForConditionalGeneration"

// order is that of the rows of queries and keys.
func (g *glm) order(r weights.Rows, heads int64) weights.Rows {
	if g.Rope.sections == nil {
		return halves(r, heads)
	}
	head, rotated := g.HeadLength(), int64(g.halfRotated(g.HeadLength()))
	from := make([]int64, heads*head)
	for i := range from {
		row := int64(i) % head
		switch half := rotated / 2; {
		case row < half:
			row *= 2
		case row < rotated:
			row = 2*(row-half) + 1
		}
		from[i] = int64(i) - int64(i)%head + row
	}
	return weights.Reorder(r, from)
}

// glmVocabulary is TextModel._set_vocab_glm: what begins a text, ends a turn, stands for the
// unknown and ends a message.
var glmVocabulary = vocab.Rules{Pre: map[string]string{"llama-bpe": "glm4"}, Roles: []vocab.RoleText{
	{Role: "bos", Text: "[gMASK]"}, {Role: "eot", Text: "<|user|>"}, {Role: "unk", Text: "<|endoftext|>"}, {Role: "eom", Text: "<|observation|>"},
}}

// glmRotated is the part of each head that is rotated, where it is not said.
const glmRotated = 0.5

// glmFields has the parameters of GLM 4; those of the first may be null where nulls has it.
func glmFields(nulls kind) []field {
	return append(denseFields(151552, 4096, 13696, 40, 32, 131072, 0.00000015625),
		field{"num_key_value_heads", whole | nulls, int64(2)}, field{"head_dim", whole | nulls, int64(128)},
		field{"attention_dropout", decimal | whole | nulls, 0.0}, field{"pad_token_id", whole | null, int64(151329)},
		field{"attention_bias", flag, true})
}

// deriveGLM sets the tokens that end a text.
func deriveGLM(h hparams) {
	if h["eos_token_id"] == nil {
		h["eos_token_id"] = []any{int64(151329), int64(151336), int64(151338)}
	}
}

type glm4 struct{ glm }

// keys has what Glm4Model.set_gguf_parameters adds.
func (g *glm4) keys(k *keys) {
	g.commonKeys(k)
	k.set("rope.dimension_count", g.halfRotated(g.HeadLength()))
}

func (g *glm4) tensors(m mapper) {
	g.outside(m)
	for _, layer := range m.layers(g.Layers) {
		g.norms(layer)
		g.layer(layer)
		layer.take("post_self_attn_layernorm.weight", "post_attention_norm.weight", g.HiddenSize)
		layer.take("post_mlp_layernorm.weight", "post_ffw_norm.weight", g.HiddenSize)
	}
}

// glm is what dense models of GLM have in common.
type glm struct{ Config }

func (r *reader) glm() glm {
	r.can = partialRotary
	g := glm{r.dense("silu", "swish")}
	g.refuseScaling(r, "llama3")
	return g
}

// halfRotated returns how many of the elements of a head of that length are rotated: half of
// them, where it is not said.
func (c *Config) halfRotated(head int64) uint32 {
	part := glmRotated
	if c.Rope.partial != nil {
		part = *c.Rope.partial
	}
	return uint32(float64(head) * part)
}

// layer maps attention, whose neighbours in a head are rotated together in checkpoints too,
// and network.
func (g *glm) layer(layer mapper) {
	g.attention(layer, g.order)
	g.attentionBiases(layer, g.order)
	layer.take("mlp.gate_up_proj.weight", "ffn_up.weight", 2*g.IntermediateSize, g.HiddenSize)
	layer.take("mlp.down_proj.weight", "ffn_down.weight", g.HiddenSize, g.IntermediateSize)
}

// glmHead returns the number of elements of a head.
func (r *restorer) glmHead() int64 {
	if r.hasKey("attention.key_length") {
		return r.whole("attention.key_length")
	}
	return r.whole("embedding_length") / max(1, r.whole("attention.head_count"))
}
