package arch

import (
	"cmp"
	"fmt"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/gguf"
)

// Config is what config.json says of a model, as far as converting needs it.
type Config struct {
	VocabSize        int64       `json:"vocab_size"`
	HiddenSize       int64       `json:"hidden_size"`
	IntermediateSize int64       `json:"intermediate_size"`
	Layers           int64       `json:"num_hidden_layers"`
	Heads            int64       `json:"num_attention_heads"`
	KVHeads          *int64      `json:"num_key_value_heads"`
	HeadDim          *int64      `json:"head_dim"`
	MaxPositions     int64       `json:"max_position_embeddings"`
	RMSNormEps       float64     `json:"rms_norm_eps"`
	RopeTheta        float64     `json:"rope_theta"`
	RopeScaling      *RopeConfig `json:"rope_scaling"`
	RopeParameters   *RopeConfig `json:"rope_parameters"` // rope_scaling since transformers 5
	PartialRotary    *float64    `json:"partial_rotary_factor"`
	TieEmbeddings    bool        `json:"tie_word_embeddings"`
	AttentionBias    bool        `json:"attention_bias"`
	MLPBias          bool        `json:"mlp_bias"`

	Experts                int64   `json:"-"` // under one of the next three names
	LocalExperts           *int64  `json:"num_local_experts"`
	NumExperts             *int64  `json:"num_experts"`
	RoutedExperts          *int64  `json:"n_routed_experts"`
	ExpertsPerToken        int64   `json:"num_experts_per_tok"`
	ExpertIntermediateSize int64   `json:"moe_intermediate_size"`
	SharedIntermediateSize int64   `json:"shared_expert_intermediate_size"` // of the one shared expert
	SharedExperts          int64   `json:"n_shared_experts"`                // each as wide as an expert
	DenseLayers            int64   `json:"first_k_dense_replace"`           // the first ones, without experts
	MLPOnlyLayers          []int64 `json:"mlp_only_layers"`                 // without experts
	SparseStep             int64   `json:"decoder_sparse_step"`             // every so many layers have experts
	ExpertLayerFreq        int64   `json:"moe_layer_freq"`                  // the same
	ScoringFunc            string  `json:"scoring_func"`

	Quantization *struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`
}

// RopeConfig is how the angles of rotary position embeddings are scaled.
type RopeConfig struct {
	Type                string   `json:"rope_type"`
	OldType             string   `json:"type"`
	Theta               *float64 `json:"rope_theta"`
	Factor              *float64 `json:"factor"`
	OriginalPositions   *int64   `json:"original_max_position_embeddings"`
	LowFreqFactor       *float64 `json:"low_freq_factor"`  // llama3
	HighFreqFactor      *float64 `json:"high_freq_factor"` // llama3
	Truncate            *bool    `json:"truncate"`         // yarn, as all below
	ExtrapolationFactor *float64 `json:"extrapolation_factor"`
	AttentionFactor     *float64 `json:"attention_factor"`
	AttnFactor          *float64 `json:"attn_factor"`
	BetaFast            *float64 `json:"beta_fast"`
	BetaSlow            *float64 `json:"beta_slow"`
}

// Config reads config.json. Keys it lacks have the architecture's defaults. The
// error wraps gguf.ErrCorrupt if a value is impossible and gguf.ErrUnsupported
// if the model is of a kind that cannot be converted.
func (a *Architecture) Config(data []byte) (*Config, error) {
	c := a.Defaults
	if c.KVHeads != nil { // or decoding would change the default
		c.KVHeads = new(*c.KVHeads)
	}
	if c.HeadDim != nil {
		c.HeadDim = new(*c.HeadDim)
	}
	if err := pyjson.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", gguf.ErrCorrupt, err)
	}
	if c.Quantization != nil {
		return nil, fmt.Errorf("%w: the checkpoint is quantized (quantization_config, method %q); use the original one", gguf.ErrUnsupported, c.Quantization.Method)
	}
	if c.KVHeads == nil {
		c.KVHeads = &c.Heads
	}
	if n := cmp.Or(c.LocalExperts, c.NumExperts, c.RoutedExperts); n != nil {
		c.Experts = *n
	}
	for _, v := range []struct {
		key          string
		value, limit int64
	}{
		{"vocab_size", c.VocabSize, 1 << 22},
		{"hidden_size", c.HiddenSize, 1 << 24},
		{"intermediate_size", c.IntermediateSize, 1 << 24},
		{"num_hidden_layers", c.Layers, 1 << 16},
		{"num_attention_heads", c.Heads, 1 << 16},
		{"num_key_value_heads", *c.KVHeads, c.Heads},
		{"max_position_embeddings", c.MaxPositions, 1 << 31},
	} {
		if v.value < 1 || v.value > v.limit {
			return nil, fmt.Errorf("%w: %s is %d, it must be between 1 and %d", gguf.ErrCorrupt, v.key, v.value, v.limit)
		}
	}
	if a.DefaultHeadDim && c.HeadDim == nil {
		c.HeadDim = new(c.HiddenSize / c.Heads)
	}
	if c.HeadLength() < 2 || c.HeadLength() > 1<<16 || c.HeadLength()%2 != 0 {
		return nil, fmt.Errorf("%w: heads of %d elements, an even number is needed", gguf.ErrCorrupt, c.HeadLength())
	}
	if c.Heads%*c.KVHeads != 0 {
		return nil, fmt.Errorf("%w: num_attention_heads %d is not a multiple of num_key_value_heads %d", gguf.ErrCorrupt, c.Heads, *c.KVHeads)
	}
	if a.Defaults.Experts > 0 && c.ExpertsPerToken < 1 || c.Experts < 0 || c.Experts > 1<<16 || c.ExpertsPerToken < 0 || c.ExpertsPerToken > c.Experts {
		return nil, fmt.Errorf("%w: num_experts_per_tok is %d of %d experts", gguf.ErrCorrupt, c.ExpertsPerToken, c.Experts)
	}
	if err := c.checkExperts(); err != nil {
		return nil, err
	}
	if c.PartialRotary != nil && *c.PartialRotary != 1 {
		return nil, fmt.Errorf("%w: partial_rotary_factor %v", gguf.ErrUnsupported, *c.PartialRotary)
	}
	if err := c.normalizeRope(); err != nil {
		return nil, err
	}
	if a.Check != nil {
		if err := a.Check(&c); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// checkExperts finds impossible sizes of experts, and what llama.cpp knows nothing
// of: other weights of experts than softmax, layers without experts among others.
func (c *Config) checkExperts() error {
	for _, v := range []struct {
		key          string
		value, limit int64
	}{
		{"moe_intermediate_size", c.ExpertIntermediateSize, 1 << 24},
		{"shared_expert_intermediate_size", c.SharedIntermediateSize, 1 << 24},
		{"n_shared_experts", c.SharedExperts, 1 << 16},
		{"first_k_dense_replace", c.DenseLayers, c.Layers},
	} {
		if v.value < 0 || v.value > v.limit {
			return fmt.Errorf("%w: %s is %d, it must be between 0 and %d", gguf.ErrCorrupt, v.key, v.value, v.limit)
		}
	}
	if len(c.MLPOnlyLayers) > 0 || c.SparseStep > 1 || c.ExpertLayerFreq > 1 {
		return fmt.Errorf("%w: layers without experts between layers with them (mlp_only_layers, decoder_sparse_step, moe_layer_freq)", gguf.ErrUnsupported)
	}
	if c.ScoringFunc != "" && c.ScoringFunc != "softmax" {
		return fmt.Errorf("%w: scoring_func %q", gguf.ErrUnsupported, c.ScoringFunc)
	}
	return nil
}

// HeadLength returns the number of elements of one attention head.
func (c *Config) HeadLength() int64 {
	if c.HeadDim != nil {
		return *c.HeadDim
	}
	return c.HiddenSize / c.Heads
}

// normalizeRope gathers what config.json may say in several places in
// c.RopeParameters, with the priorities of transformers' standardize_rope_params.
func (c *Config) normalizeRope() error {
	var r RopeConfig
	switch {
	case c.RopeScaling != nil && *c.RopeScaling != RopeConfig{}:
		r = *c.RopeScaling
	case c.RopeParameters != nil:
		r = *c.RopeParameters
	}
	if r.Theta == nil {
		r.Theta = &c.RopeTheta
	}
	if r.Type == "" {
		r.Type = r.OldType
	}
	if r.OriginalPositions == nil {
		r.OriginalPositions = &c.MaxPositions
	}
	switch r.Type {
	case "", "default", "dynamic", "llama3": // dynamic scaling is the runtime's, the file says nothing of it
	case "linear", "yarn":
		if r.Factor == nil {
			return fmt.Errorf("%w: rope scaling %q without a factor", gguf.ErrCorrupt, r.Type)
		}
	default:
		return fmt.Errorf("%w: rope scaling %q", gguf.ErrUnsupported, r.Type)
	}
	if *r.OriginalPositions < 1 || *r.OriginalPositions > 1<<31 {
		return fmt.Errorf("%w: original_max_position_embeddings is %d", gguf.ErrCorrupt, *r.OriginalPositions)
	}
	c.RopeParameters = &r
	return nil
}
