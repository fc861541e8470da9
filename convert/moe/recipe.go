package moe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/convert/yamldoc"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// ErrRecipe means that a merge recipe cannot be followed.
var ErrRecipe = errors.New("impossible recipe")

// GateMode is how the rows of the routers come about.
type GateMode string

// The gate modes of mergekit-moe. Of Hidden and HiddenLast, which are the same,
// Read returns Hidden.
const (
	Hidden        GateMode = "hidden"         // the base model's hidden states after each prompt
	HiddenLast    GateMode = "hidden_last"    // the same
	HiddenAvg     GateMode = "hidden_avg"     // their mean over all tokens, padding included
	CheapEmbed    GateMode = "cheap_embed"    // the embeddings of the prompts' tokens
	Random        GateMode = "random"         // normally distributed
	UniformRandom GateMode = "uniform_random" // evenly distributed
)

// Recipe is a merge recipe, which says how to merge models: mergekit-moe's YAML.
type Recipe struct {
	BaseModel       string   `yaml:"base_model"`
	GateMode        GateMode `yaml:"gate_mode"`
	Dtype           string   `yaml:"dtype"`
	ExpertsPerToken *int     `yaml:"experts_per_token"`
	Experts         []Expert `yaml:"experts"`
	SharedExperts   []Expert `yaml:"shared_experts"`
	Architecture    string   `yaml:"architecture"`

	path string
	text []byte
}

// Expert is one of the models that are merged.
type Expert struct {
	SourceModel     string   `yaml:"source_model"`
	PositivePrompts []string `yaml:"positive_prompts"`
	NegativePrompts []string `yaml:"negative_prompts"`
	NoiseScale      *float64 `yaml:"noise_scale"`
	ResidualScale   *float64 `yaml:"residual_scale"`
}

// Bounds on what is merged. No real recipe comes near.
const (
	maxExperts = 512 // LLAMA_MAX_EXPERTS of llama.cpp
	maxPrompts = 4096
)

// dtypes are the data types a merge can be stored in, by the names that recipes
// and config.json have for them.
var dtypes = map[string]weights.Dtype{"float32": weights.F32, "float16": weights.F16, "bfloat16": weights.BF16}

// Read reads and checks the recipe at path. Paths of models become relative to
// the working directory instead of to the recipe, and names of the hub, where there is no
// such path, addresses. Errors of YAML say where it is
// wrong; the others wrap ErrRecipe.
func Read(path string) (*Recipe, error) {
	r, err := Parse(path)
	if err != nil {
		return nil, err
	}
	if err := r.locate(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecipe, path, err)
	}
	return r, nil
}

// Parse reads and checks the recipe at path, but looks for no models: they are as the recipe names them. Errors are those of Read.
func Parse(path string) (*Recipe, error) {
	data, err := sidecar.Read(files.Locate(path))
	if err != nil {
		return nil, err
	}
	r := &Recipe{GateMode: Hidden, path: path, text: data}
	if err := yamldoc.Unmarshal(data, r, yaml.Strict(), yaml.DisallowUnknownField()); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrRecipe, path, yamldoc.Explain(data, err))
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecipe, path, err)
	}
	return r, nil
}

// check finds what cannot be, without looking at the models.
func (r *Recipe) check() error {
	if r.BaseModel == "" {
		return errors.New("base_model is missing")
	}
	if r.GateMode == HiddenLast {
		r.GateMode = Hidden
	}
	if !slices.Contains([]GateMode{Hidden, HiddenAvg, CheapEmbed, Random, UniformRandom}, r.GateMode) {
		return fmt.Errorf("gate_mode %q is none of hidden, hidden_last, hidden_avg, cheap_embed, random and uniform_random", r.GateMode)
	}
	if _, ok := dtypes[r.Dtype]; r.Dtype != "" && !ok {
		return fmt.Errorf("dtype %q is none of float32, float16 and bfloat16", r.Dtype)
	}
	if len(r.outputs()) == 0 {
		return fmt.Errorf("architecture %q is none of Mixtral, DeepSeek MoE, Qwen MoE and Qwen3 MoE", r.Architecture)
	}
	if n := r.perToken(); n < 1 || n > len(r.Experts) {
		return fmt.Errorf("experts_per_token is %d, there are %d experts", n, len(r.Experts))
	}
	if len(r.Experts) < 2 {
		return fmt.Errorf("a mixture of %d expert", len(r.Experts))
	}
	if len(r.Experts) > maxExperts || len(r.SharedExperts) > maxExperts {
		return fmt.Errorf("%d experts: llama.cpp runs no more than %d", max(len(r.Experts), len(r.SharedExperts)), maxExperts)
	}
	for i, e := range r.Experts {
		if err := e.check(); err != nil {
			return fmt.Errorf("expert %d: %w", i, err)
		}
		if r.GateMode != Random && len(e.PositivePrompts) == 0 {
			return fmt.Errorf("expert %d: positive_prompts are missing", i)
		}
	}
	prompts := 0
	for _, e := range slices.Concat(r.Experts, r.SharedExperts) {
		prompts += len(e.PositivePrompts) + len(e.NegativePrompts)
	}
	if prompts > maxPrompts {
		return fmt.Errorf("%d prompts, no more than %d can be followed", prompts, maxPrompts)
	}
	for i, e := range r.SharedExperts {
		if err := e.check(); err != nil {
			return fmt.Errorf("shared expert %d: %w", i, err)
		}
		switch prompts := len(e.PositivePrompts) > 0; {
		case prompts != (len(r.SharedExperts[0].PositivePrompts) > 0):
			return errors.New("either all shared experts have positive_prompts or none")
		case !prompts && len(e.NegativePrompts) > 0:
			return fmt.Errorf("shared expert %d: negative_prompts without positive_prompts", i)
		}
	}
	return r.checkDistinct()
}

func (e Expert) check() error {
	switch {
	case e.SourceModel == "":
		return errors.New("source_model is missing")
	case e.NoiseScale != nil && !(*e.NoiseScale >= 0):
		return fmt.Errorf("noise_scale is %v", *e.NoiseScale)
	case e.ResidualScale != nil && *e.ResidualScale != *e.ResidualScale:
		return errors.New("residual_scale is not a number")
	}
	for _, prompt := range slices.Concat(e.PositivePrompts, e.NegativePrompts) {
		if strings.TrimSpace(prompt) == "" {
			return errors.New("a prompt is empty")
		}
	}
	return nil
}

// checkDistinct refuses experts that the router could not tell apart, or that
// are all the same.
func (r *Recipe) checkDistinct() error {
	seen := make(map[string]int)
	for i, e := range r.Experts {
		key := promptsKey(e)
		if j, ok := seen[key]; ok && r.usesPrompts() {
			return fmt.Errorf("experts %d and %d have the same prompts, so the router cannot tell them apart", j, i)
		}
		seen[key] = i
	}
	if !slices.ContainsFunc(r.Experts, func(e Expert) bool { return e.SourceModel != r.Experts[0].SourceModel || e.NoiseScale != nil }) {
		return errors.New("all experts are the same model")
	}
	return nil
}

// promptsKey is the same for experts with the same prompts, whose order does not count.
func promptsKey(e Expert) string {
	return fmt.Sprintf("%q %q", slices.Sorted(slices.Values(e.PositivePrompts)), slices.Sorted(slices.Values(e.NegativePrompts)))
}

// usesPrompts reports whether the routers depend on the prompts.
func (r *Recipe) usesPrompts() bool { return r.GateMode != Random && r.GateMode != UniformRandom }

func (r *Recipe) perToken() int {
	if r.ExpertsPerToken == nil {
		return 2
	}
	return *r.ExpertsPerToken
}

// locate finds the models' directories.
func (r *Recipe) locate(dir string) error {
	find := func(model *string) error {
		if remote.IsAddress(*model) {
			return nil
		}
		path := *model
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && remote.IsHubName(*model):
			path = "hf://" + *model
		case err == nil && !info.IsDir():
			err = errors.New("it is not a directory")
			fallthrough
		case err != nil:
			return fmt.Errorf("model %q must be the directory of a checkpoint, or of the hub: org/name: %w", *model, err)
		}
		*model = path
		return nil
	}
	if err := find(&r.BaseModel); err != nil {
		return err
	}
	for _, experts := range [][]Expert{r.Experts, r.SharedExperts} {
		for i := range experts {
			if err := find(&experts[i].SourceModel); err != nil {
				return err
			}
		}
	}
	return nil
}
