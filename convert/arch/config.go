package arch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// Config is what config.json says of any model here: the parameters that TextModel of
// llama.cpp's conversion/base.py reads.
type Config struct {
	VocabSize        int64
	HiddenSize       int64
	IntermediateSize int64
	Layers           int64
	Heads            int64
	KVHeads          int64
	HeadDim          *int64  // nil if it is not said: HiddenSize / Heads
	MaxPositions     int64   // 0 if it is not said
	RMSNormEps       float64 // 0 if it is not said, of models with other norms
	Rope             Rope
	TieEmbeddings    bool
	AttentionBias    bool
	MLPBias          bool

	// What only metadata tells; nil where config.json says nothing.
	feedForward, kvHeads, expertCount, expertsPerToken, groups, groupsPerToken *int64
	layerNormEps                                                               *float64
	scoring                                                                    string
	causal                                                                     bool

	headless bool // of a class without an output of its own
}

// Rope is how positions are encoded by rotating the halves of attention heads.
type Rope struct {
	Type              string // of scaling: "", default, dynamic, linear, llama3, longrope or yarn
	Theta             *float64
	Factor            *float64
	OriginalPositions int64
	LowFreqFactor     *float64 // llama3
	HighFreqFactor    *float64 // llama3

	truncate                                                 *bool // yarn, as all below
	extrapolationFactor, attentionFactor, betaFast, betaSlow *float64

	localTheta *float64 // of layers with a sliding window
	sections   []int32  // dimensions for time, height, width and one more

	partial     *float64  // the part of each head that is rotated, nil if it is not said
	long, short []float64 // longrope: by what frequencies are divided, with a long context and without
	parameters  hparams   // all there are, for what only some models have
}

func (c *Config) config() *Config { return c }

// dense reads the parameters of a model without experts, with one of these activations.
func (r *reader) dense(activations ...string) Config {
	c := r.config(activations...)
	if n := orZero(c.expertCount); n > 0 {
		name, _ := r.find(expertCounts...)
		r.fail(gguf.ErrCorrupt, "%s is %d, a model of class %s has no experts", name, n, r.class)
	}
	return c
}

var expertCounts = []string{"num_local_experts", "num_experts", "n_routed_experts"}

// config reads what all models have, and refuses other activations than the given ones.
func (r *reader) config(activations ...string) Config {
	const maxCount = 1<<32 - 1
	c := Config{
		VocabSize:  r.needed(1, 1<<22, "vocab_size"),
		HiddenSize: r.needed(1, 1<<24, "hidden_size", "n_embd", "dim"),
		Layers:     r.needed(1, 1<<16, "n_layers", "num_hidden_layers", "n_layer", "num_layers"),
		Heads:      r.needed(1, 1<<16, "num_attention_heads", "n_head", "n_heads"),
		HeadDim:    r.whole(2, 1<<16, "head_dim"),

		feedForward:     r.whole(0, maxCount, "prefix_dense_intermediate_size", "dense_intermediate_size", "intermediate_size", "n_inner", "hidden_dim"),
		expertCount:     r.whole(0, 1<<16, expertCounts...),
		expertsPerToken: r.whole(0, 1<<16, "num_experts_per_tok", "num_experts_per_token", "top_k_experts"),
		groups:          r.whole(0, maxCount, "n_group"),
		groupsPerToken:  r.whole(0, maxCount, "topk_group"),
		layerNormEps:    r.number("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
	}
	if r.can&expertsOnly == 0 {
		c.IntermediateSize = r.needed(1, 1<<24, "intermediate_size", "n_inner", "hidden_dim")
	}
	if r.err != nil {
		return c
	}
	c.kvHeads = r.whole(1, c.Heads, "num_key_value_heads", "n_kv_heads")
	c.KVHeads = c.Heads
	if c.kvHeads != nil {
		c.KVHeads = *c.kvHeads
	}
	c.MaxPositions = orZero(r.whole(1, 1<<31, "max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length", "model_max_length"))
	if eps := r.positive("rms_norm_eps", "norm_eps"); eps != nil {
		c.RMSNormEps = *eps
	} else if r.can&layerNorms == 0 {
		r.fail(gguf.ErrCorrupt, "rms_norm_eps is missing")
	}
	c.TieEmbeddings, c.AttentionBias, c.MLPBias = isTrue(r.hparams["tie_word_embeddings"]), isTrue(r.hparams["attention_bias"]), isTrue(r.hparams["mlp_bias"])
	c.causal = r.hparams["is_causal"] != false
	c.checkLayers(r, activations)
	c.readRope(r)
	if r.err != nil {
		return c
	}
	if n := c.HeadLength(); (n < 2 || n%2 != 0) && r.can&latentAttention == 0 {
		r.fail(gguf.ErrCorrupt, "heads of %d elements, an even number is needed", n)
	}
	if c.Heads%c.KVHeads != 0 {
		r.fail(gguf.ErrCorrupt, "num_attention_heads %d is not a multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	}
	return c
}

func orZero(v *int64) int64 {
	if v == nil {
		return 0
	}
	return *v
}

// checkLayers refuses what llama.cpp knows nothing of: layers without experts among
// others, other weights of experts than softmax, other activations.
func (c *Config) checkLayers(r *reader, activations []string) {
	if list, ok := r.hparams["mlp_only_layers"].([]any); ok && len(list) > 0 || orZero(r.whole(0, 1<<16, "decoder_sparse_step")) > 1 ||
		orZero(r.whole(0, 1<<16, "moe_layer_freq")) > 1 {
		r.fail(gguf.ErrUnsupported, "layers without experts between layers with them (mlp_only_layers, decoder_sparse_step, moe_layer_freq)")
	}
	name, scoring := r.text("score_function", "scoring_func", "score_func", "moe_router_activation", "moe_router_activation_func", "expert_selection_fn",
		"router_score_func")
	if c.scoring = scoring; scoring != "" && scoring != "softmax" && (scoring != "sigmoid" || r.can&sigmoidRouter == 0) {
		r.fail(gguf.ErrUnsupported, "%s is %s", name, show(scoring))
	}
	if name, act := r.text("hidden_activation", "hidden_act"); act != "" && !slices.Contains(activations, act) {
		r.fail(gguf.ErrUnsupported, "%s is %s, the architecture's is %s", name, show(act), activations[0])
	}
}

// HeadLength returns the number of elements of one attention head: those of the hidden
// size where a configuration that is refused has no heads.
func (c *Config) HeadLength() int64 {
	if c.HeadDim != nil {
		return *c.HeadDim
	}
	return c.HiddenSize / max(1, c.Heads)
}

// defaultBase is llama.cpp's where the metadata have none.
const defaultBase = 10000

// Base returns the base of the angles' frequencies.
func (p *Rope) Base() float64 {
	if p.Theta == nil {
		return defaultBase
	}
	return *p.Theta
}

// Rotated returns how many of the elements of a head are rotated.
func (c *Config) Rotated() int64 {
	if c.Rope.partial == nil {
		return c.HeadLength()
	}
	return int64(*c.Rope.partial * float64(c.HeadLength()))
}

// refuseScaling refuses ways to scale positions that the metadata of the architecture
// has no place for, all if none are named.
func (c *Config) refuseScaling(r *reader, types ...string) {
	if t := c.Rope.Type; slices.Contains(types, t) || types == nil && t != "" && t != "default" && t != "mrope" {
		r.fail(gguf.ErrUnsupported, "rope scaling %q of a model of class %s", t, r.class)
	}
}

// readRope gathers what config.json may say in several places, with the priorities of
// TextModel.__init__ in llama.cpp's conversion/base.py.
func (c *Config) readRope(r *reader) {
	name, _ := r.find("rope_parameters", "rope_scaling")
	all := reader{hparams: r.object(name)}
	rope, local := all, reader{hparams: all.object("sliding_attention")}
	full := all.object("full_attention")
	if full != nil {
		rope.hparams = full
	}
	p := &c.Rope
	p.Theta, p.localTheta = rope.positive("rope_theta"), local.positive("rope_theta")
	p.OriginalPositions = orZero(rope.whole(1, 1<<31, "original_max_position_embeddings"))
	_, p.Type = rope.text("rope_type")
	partial := rope.number("partial_rotary_factor")
	if full == nil && local.hparams == nil { // then parameters of the whole model stand in for what is not said here
		if v := r.positive("local_rope_theta", "rope_local_theta", "rope_theta_local", "swa_rope_theta", "rope_local_base_freq"); v != nil {
			p.localTheta = v
		}
		if !rope.has("rope_theta") {
			p.Theta = r.positive("global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base")
		}
		if !rope.has("rope_type") {
			_, p.Type = rope.text("type")
		}
		if !rope.has("partial_rotary_factor") {
			partial = r.number("partial_rotary_factor", "rope_pct", "rope_percent")
		}
		if !rope.has("original_max_position_embeddings") {
			p.OriginalPositions = orZero(r.whole(1, 1<<31, "original_max_position_embeddings"))
		}
	}
	p.parameters = rope.hparams
	if p.Type == "proportional" && r.can&proportionalRope == 0 {
		r.fail(gguf.ErrUnsupported, "rope scaling %q of a model of class %s", p.Type, r.class)
	}
	if p.Type == "su" || p.Type == "longrope" {
		p.readLongRope(r, &rope)
	} else {
		p.readScaling(&rope, c.MaxPositions)
	}
	if list, ok := all.hparams["mrope_section"].([]any); ok {
		p.sections = make([]int32, 4)
		for i, v := range list[:min(len(list), 4)] {
			section := reader{hparams: hparams{"mrope_section": v}, err: all.err}
			p.sections[i] = int32(orZero(section.whole(0, 1<<16, "mrope_section")))
			all.err = section.err
		}
	}
	for _, err := range []error{all.err, rope.err, local.err} {
		if err != nil && r.err == nil {
			r.err = fmt.Errorf("%s: %w", name, err)
		}
	}
	if p.partial = partial; partial != nil && *partial != 1 && (r.can&partialRotary == 0 || *partial < 0 || *partial > 1) {
		r.fail(gguf.ErrUnsupported, "partial_rotary_factor is %v", *partial)
	}
}

// readLongRope reads the factors of longrope.
func (p *Rope) readLongRope(r, rope *reader) {
	if r.can&longRope == 0 {
		r.fail(gguf.ErrUnsupported, "rope scaling %q of a model of class %s", p.Type, r.class)
		return
	}
	p.Type = "longrope"
	p.long, p.short = rope.numbers("long_factor"), rope.numbers("short_factor")
	if p.OriginalPositions == 0 {
		rope.fail(gguf.ErrCorrupt, "original_max_position_embeddings is missing")
	}
}

// readScaling reads what the way to scale positions needs, and refuses what the metadata
// has no place for.
func (p *Rope) readScaling(r *reader, positions int64) {
	switch {
	case p.Type == "", p.Type == "default", p.Type == "mrope", p.Type == "proportional", p.Type == "dynamic": // dynamic scaling is the runtime's, the file says nothing of it
		return
	case strings.EqualFold(p.Type, "llama3"):
		p.Type = "llama3"
		p.Factor, p.LowFreqFactor, p.HighFreqFactor = r.positive("factor"), r.positive("low_freq_factor"), r.positive("high_freq_factor")
		if p.OriginalPositions == 0 {
			p.OriginalPositions = 8192 // LlamaModel.generate_extra_tensors
		}
		return
	case p.Type == "yarn":
		p.truncate = r.flag("truncate")
		p.extrapolationFactor, p.attentionFactor = r.number("extrapolation_factor"), r.number("attention_factor", "attn_factor")
		p.betaFast, p.betaSlow = r.number("beta_fast"), r.number("beta_slow")
		if p.OriginalPositions == 0 {
			p.OriginalPositions = positions
		}
	case p.Type != "linear":
		r.fail(gguf.ErrUnsupported, "rope scaling %s", show(p.Type))
		return
	}
	if p.Factor = r.positive("factor"); p.Factor == nil {
		r.fail(gguf.ErrCorrupt, "rope scaling %q without a factor", p.Type)
	}
}
