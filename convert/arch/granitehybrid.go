package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// GraniteHybrid is Granite 4: layers of Mamba 2, and some of attention that may know nothing of
// positions. Behind each is a mixture of experts with a shared one, or that one alone, as a
// network like others. Models of attention alone become Granite or GraniteMoE. Parameters are as
// they are in the file: convert_hf_to_gguf.py does not ask transformers.
var GraniteHybrid = Architecture{
	Class:      "GraniteMoeHybridForCausalLM",
	Name:       "granitehybrid",
	Family:     "Granite 4",
	Special:    "Mamba 2 in most layers; without, the file is one of Granite 3",
	Variants:   []string{"granite", "granitemoe"},
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "dbrx"}},
	read:       readGraniteHybrid,
	restore:    (*restorer).graniteHybrid,
}

type graniteHybrid struct {
	graniteMoE
	mamba2
	attends []bool // which layers do
}

func readGraniteHybrid(r *reader) family {
	delete(r.hparams, "head_dim") // it is not looked at
	c := r.config("silu", "swish")
	g := &graniteHybrid{graniteMoE: graniteMoE{mixture{c, orZero(c.expertCount)}, r.multipliers(), orZero(r.whole(0, 1<<24, "shared_intermediate_size"))}}
	g.mamba2 = mamba2{
		width: c.HiddenSize, inner: r.needed(1, 1<<8, "mamba_expand") * c.HiddenSize, state: r.needed(1, 1<<16, "mamba_d_state"),
		heads: r.needed(1, 1<<16, "mamba_n_heads"), groups: r.needed(1, 1<<16, "mamba_n_groups"), kernel: r.needed(1, 1<<16, "mamba_d_conv"),
	}
	g.check(r)
	types := r.texts("layer_types")
	if r.err == nil && int64(len(types)) != c.Layers {
		r.fail(gguf.ErrCorrupt, "layer_types has %d of num_hidden_layers %d", len(types), c.Layers)
	}
	for _, t := range types {
		g.attends = append(g.attends, t == "attention")
	}
	if r.err == nil && g.experts > 0 && (orZero(c.expertsPerToken) < 1 || orZero(c.expertsPerToken) > g.experts) {
		r.fail(gguf.ErrCorrupt, "num_experts_per_tok is %d of %d experts", orZero(c.expertsPerToken), g.experts)
	}
	return g
}

// isHybrid reports whether there are layers of Mamba.
func (g *graniteHybrid) isHybrid() bool { return slices.Contains(g.attends, false) }

func (g *graniteHybrid) variant() string {
	switch {
	case g.isHybrid():
		return ""
	case orZero(g.expertsPerToken) > 0:
		return "granitemoe"
	}
	return "granite"
}

// keys has what GraniteHybridModel.set_gguf_parameters adds. A model with layers of Mamba has no
// limit of its context.
func (g *graniteHybrid) keys(k *keys) {
	g.graniteMoE.keys(k)
	g.hybridKeys(k)
	k.set("attention.head_count_kv", onlyWhere(g.attends, g.KVHeads))
	k.set("rope.scaling.finetuned", !g.isHybrid())
	if g.isHybrid() {
		k.set("context_length", uint32(endless))
	}
}

// endless is the context of models that need no more memory for a longer one.
const endless = 1 << 20

// onlyWhere returns n for layers that have something, and 0 for others.
func onlyWhere(have []bool, n int64) []int32 {
	list := make([]int32, len(have))
	for i := range list {
		if have[i] {
			list[i] = int32(n)
		}
	}
	return list
}

func (g *graniteHybrid) tensors(m mapper) {
	if !g.isHybrid() {
		g.ropeFreqs(m)
	}
	g.outside(m)
	for i, layer := range m.layers(g.Layers) {
		g.norms(layer)
		if g.attends[i] {
			g.attention(layer, weights.Interleave)
			g.attentionBiases(layer, weights.Interleave)
		} else {
			g.mamba2.tensors(layer, "mamba.")
		}
		if g.experts > 0 {
			g.network(layer)
		} else {
			g.shared(layer, "")
		}
	}
}

// graniteHybrid is the reverse of graniteHybrid.keys.
func (r *restorer) graniteHybrid() {
	r.set("architectures", []string{"GraniteMoeHybridForCausalLM"})
	r.set("model_type", "granitemoehybrid")
	r.ropeFactors()
	r.multipliers()
	r.take("expert_count", "num_local_experts")
	r.take("expert_shared_feed_forward_length", "shared_intermediate_size")
	for _, p := range []struct{ key, name string }{
		{"ssm.conv_kernel", "mamba_d_conv"}, {"ssm.state_size", "mamba_d_state"}, {"ssm.group_count", "mamba_n_groups"},
		{"ssm.time_step_rank", "mamba_n_heads"},
	} {
		r.take(p.key, p.name)
	}
	r.set("mamba_expand", r.whole("ssm.inner_size")/max(1, r.whole("embedding_length")))
	r.set("mamba_d_head", r.whole("ssm.inner_size")/max(1, r.whole("ssm.time_step_rank")))
	types := []string{}
	for _, n := range r.keysAndValues() {
		if n > 0 {
			types = append(types, "attention")
		} else {
			types = append(types, "mamba")
		}
	}
	r.set("layer_types", types)
	r.set("position_embedding_type", "rope")
	if slices.Contains(types, "mamba") {
		r.set("position_embedding_type", "nope")
	}
}

// keysAndValues sets num_key_value_heads, that of the layers that have some, and returns it for
// each layer.
func (r *restorer) keysAndValues() []int32 {
	list := r.list("attention.head_count_kv")
	r.set("num_key_value_heads", r.params["num_attention_heads"])
	for _, n := range list {
		if n > 0 {
			r.set("num_key_value_heads", n)
		}
	}
	return list
}
