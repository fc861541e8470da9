package arch

import "github.com/ggufkit/ggufkit/convert/vocab"

// InternLM3 is Llama with the code that comes with it, and another way to write the vocabulary.
var InternLM3 = Architecture{
	Class:      "InternLM3ForCausalLM",
	Name:       "llama",
	Family:     "InternLM 3",
	Special:    "a chat model ends texts with `<|im_end|>`",
	Vocabulary: vocab.Rules{SpacePrefixFirst: true, ChatEnd: "<|im_end|>"},
	read: func(r *reader) family {
		l := &llama{r.dense("silu", "swish"), true}
		l.refuseScaling(r, "llama3")
		return l
	},
}
