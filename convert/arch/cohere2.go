package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Cohere2 is Command R7B and Command A: Cohere with a sliding window in three of four layers;
// the others know nothing of positions.
var Cohere2 = Architecture{
	Class:      "Cohere2ForCausalLM",
	Name:       "cohere2",
	Family:     "Command R7B, A",
	Special:    "a window in three of four layers",
	Vocabulary: vocab.Rules{Pre: map[string]string{"starcoder": "command-r"}},
	types: []modelType{{
		name: "cohere2", theta: 10000, everyFull: cohere2Period,
		fields: append(denseFields(256000, 8192, 22528, 40, 64, 8192, 0),
			append(cohereFields(0), field{"sliding_window", whole | null, int64(4096)}, field{"layer_types", texts | null, nil})...),
		derive: func(h hparams) { h["head_dim"] = h["hidden_size"].(int64) / h["num_attention_heads"].(int64) },
	}},
	read: readCohere2,
	restore: func(r *restorer) {
		r.take("logit_scale", "logit_scale")
		r.take("attention.sliding_window", "sliding_window")
		r.partial("rotary_pct", r.whole("embedding_length")/max(1, r.whole("attention.head_count")), 1)
	},
}

type cohere2 struct {
	Config
	logitScale *float64
	window     int64
	rotated    int64
}

const cohere2Period = 4

func readCohere2(r *reader) family {
	r.can = layerNorms
	c := &cohere2{Config: r.dense("silu", "swish"), logitScale: r.number("logit_scale"), window: r.needed(1, 1<<31, "sliding_window")}
	c.checkCohere(r, c.logitScale)
	part := 1.0 // published models that do not say it rotate all
	if v := r.positive("rotary_pct"); v != nil {
		part = *v
	}
	c.rotated = int64(part * float64(c.HiddenSize/max(1, c.Heads)))
	if part > 1 {
		r.fail(gguf.ErrCorrupt, "rotary_pct is %v", part)
	}
	for i, t := range r.texts("layer_types") {
		if (t == "full_attention") != ((i+1)%cohere2Period == 0) {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d, in the architecture every fourth is full_attention", show(t), i)
		}
	}
	return c
}

// keys has what Cohere2Model.set_gguf_parameters adds.
func (c *cohere2) keys(k *keys) {
	c.commonKeys(k)
	k.number("logit_scale", c.logitScale)
	k.set("attention.sliding_window", uint32(c.window))
	k.set("vocab_size", uint32(c.VocabSize))
	k.set("rope.dimension_count", uint32(c.rotated))
	k.set("rope.scaling.type", "none")
}

func (c *cohere2) tensors(m mapper) {
	c.outside(m)
	for _, layer := range m.layers(c.Layers) {
		c.cohereLayer(layer)
	}
}
