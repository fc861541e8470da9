package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// OLMo2 is OLMo 2: norms of what both parts of a layer give, and of all queries and all keys
// of a token. OLMo 3 is the same with a sliding window in three of four layers.
var OLMo2 = Architecture{
	Class:      "Olmo2ForCausalLM",
	Others:     []string{"Olmo3ForCausalLM"},
	Name:       "olmo2",
	Family:     "OLMo 2 and 3",
	Special:    "norms behind attention and network only",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "dbrx"}},
	types: []modelType{
		{name: "olmo2", theta: 10000, fields: append(denseFields(50304, 4096, 11008, 32, 32, 2048, 1e-5), olmoFields...)},
		{name: "olmo3", theta: 10000, everyFull: 4, fields: slices.Concat(denseFields(50304, 4096, 11008, 32, 32, 2048, 1e-5), olmoFields,
			[]field{{"sliding_window", whole | null, int64(4096)}, {"layer_types", texts | null, nil}})},
	},
	read: readOLMo2,
	restore: func(r *restorer) {
		if r.hasKey("attention.sliding_window") {
			r.set("architectures", []string{"Olmo3ForCausalLM"})
			r.set("model_type", "olmo3")
			r.window()
		}
	},
}

type olmo2 struct {
	Config
	window *int64
	local  []bool // which layers have the window
}

func readOLMo2(r *reader) family {
	o := &olmo2{Config: r.dense("silu", "swish"), window: r.whole(1, 1<<31, "sliding_window")}
	if o.window != nil {
		o.local = r.localLayers(o.Layers)
	}
	if o.AttentionBias {
		r.fail(gguf.ErrUnsupported, "%s with attention_bias", r.class)
	}
	o.refuseScaling(r, "llama3")
	return o
}

// localLayers returns which layers have a sliding window: three of four if layer_types
// says nothing.
func (r *reader) localLayers(layers int64) []bool {
	local := make([]bool, layers)
	types := r.texts("layer_types")
	for i := range local {
		switch {
		case types == nil:
			local[i] = (i+1)%4 != 0
		case i >= len(types):
			r.fail(gguf.ErrCorrupt, "layer_types is of %d layers, there are %d", len(types), layers)
			return nil
		default:
			local[i] = types[i] == "sliding_attention"
		}
	}
	return local
}

// window is the reverse of what a window and the layers that have it are as keys; null stands
// for none.
func (r *restorer) window() {
	local := make([]bool, r.layers("block_count"))
	r.set("sliding_window", nil)
	if r.hasKey("attention.sliding_window") {
		r.take("attention.sliding_window", "sliding_window")
		var err error
		if local, err = gguf.Value[[]bool](r.src.Metadata(), r.prefix+"attention.sliding_window_pattern"); err != nil {
			r.fail(err)
		}
	}
	types := make([]string, len(local))
	for i := range local {
		types[i] = "full_attention"
		if local[i] {
			types[i] = "sliding_attention"
		}
	}
	r.set("layer_types", types)
}

// keys has what Olmo2Model.set_gguf_parameters adds.
func (o *olmo2) keys(k *keys) {
	o.commonKeys(k)
	k.count("attention.sliding_window", o.window)
	if o.local != nil {
		k.set("attention.sliding_window_pattern", o.local)
	}
}

func (o *olmo2) tensors(m mapper) {
	o.outside(m)
	for _, layer := range m.layers(o.Layers) {
		o.attention(layer, halves)
		o.queryKeyNorms(layer, o.queries(), o.keysOrValues())
		o.postNorms(layer)
		o.mlp(layer)
	}
}

// postNorms maps those after a layer's two parts.
func (c *Config) postNorms(layer mapper) {
	layer.take("post_attention_layernorm.weight", "post_attention_norm.weight", c.HiddenSize)
	layer.take("post_feedforward_layernorm.weight", "post_ffw_norm.weight", c.HiddenSize)
}
