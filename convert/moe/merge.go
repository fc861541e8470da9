package moe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Options says what a merge takes besides its recipe.
type Options struct {
	// Encoder understands prompts. It may be nil for recipes without.
	Encoder Encoder
	// Seed determines what is random: noise, and routers of some gate modes.
	Seed uint64
}

// Merge is a merged checkpoint that is read from its models.
type Merge struct {
	*safetensors.Checkpoint
	// Config is config.json, and Card is README.md.
	Config, Card []byte
	// Base is the directory of the base model, which has the tokenizer.
	Base string
	// Notes are what the user should know, a sentence each.
	Notes []string

	recipe *Recipe
}

// model is a checkpoint of which a mixture is made.
type model struct {
	dir    string
	files  *safetensors.Checkpoint
	config *arch.Config
	json   []byte // config.json
	tokens []string
}

// New merges the models of a recipe. The caller must close the result. The error
// wraps ErrRecipe if the models do not fit together.
func New(ctx context.Context, recipe *Recipe, opts Options) (m *Merge, err error) {
	models := make(map[string]*model)
	var closers []io.Closer
	defer func() {
		if err != nil {
			for _, c := range closers {
				err = errors.Join(err, c.Close())
			}
		}
	}()
	open := func(dir string) (*model, error) {
		if opened, ok := models[dir]; ok {
			return opened, nil
		}
		opened, err := openModel(dir)
		if err != nil {
			return nil, err
		}
		models[dir] = opened
		closers = append(closers, opened.files)
		return opened, nil
	}
	base, err := open(recipe.BaseModel)
	if err != nil {
		return nil, err
	}
	m = &Merge{Base: base.dir, recipe: recipe}
	experts := make([]*model, len(recipe.Experts))
	for i, e := range recipe.Experts {
		if experts[i], err = open(e.SourceModel); err != nil {
			return nil, err
		}
		note, err := base.fits(experts[i])
		if err != nil {
			return nil, fmt.Errorf("%w: %s does not fit %s: %w", ErrRecipe, e.SourceModel, recipe.BaseModel, err)
		}
		if note != "" && !slices.Contains(m.Notes, note) {
			m.Notes = append(m.Notes, note)
		}
	}
	dtype, err := recipe.dtype(base)
	if err != nil {
		return nil, err
	}
	tensors, err := recipe.tensors(base, experts, dtype, opts.Seed)
	if err != nil {
		return nil, err
	}
	routers, err := recipe.routers(ctx, base, dtype, opts)
	if err != nil {
		return nil, err
	}
	tensors = append(tensors, routers...)
	// As in files, so that a merge that was written converts to the same bytes.
	slices.SortFunc(tensors, func(a, b *safetensors.Tensor) int { return cmp.Compare(a.Name, b.Name) })
	if m.Config, err = recipe.config(base, dtype); err != nil {
		return nil, err
	}
	m.Card = recipe.card()
	if m.Checkpoint, err = safetensors.NewCheckpoint(tensors, closers...); err != nil {
		return nil, err
	}
	return m, nil
}

func openModel(dir string) (_ *model, err error) {
	m := &model{dir: dir}
	path := filepath.Join(dir, "config.json")
	if m.json, err = sidecar.Read(path); err != nil {
		return nil, err
	}
	var class struct {
		Architectures []string `json:"architectures"`
	}
	if err := json.Unmarshal(m.json, &class); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, path, err)
	}
	if len(class.Architectures) != 1 || !slices.Contains([]string{arch.Llama.Class, arch.Mistral.Class}, class.Architectures[0]) {
		return nil, fmt.Errorf("%w: %s: a model of class %v cannot become part of a mixture, only %s and %s", ErrRecipe, path, class.Architectures, arch.Llama.Class, arch.Mistral.Class)
	}
	a, err := arch.Find(class.Architectures[0])
	if err != nil {
		return nil, err
	}
	if m.config, err = a.Config(m.json); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.config.AttentionBias || m.config.MLPBias {
		return nil, fmt.Errorf("%w: %s: Mixtral has no biases", ErrRecipe, path)
	}
	pairs, err := vocab.Load(dir, m.config.VocabSize)
	if err != nil {
		return nil, err
	}
	for _, kv := range pairs {
		if kv.Key == "tokenizer.ggml.tokens" {
			m.tokens = kv.Value.([]string)
		}
	}
	if m.files, err = safetensors.OpenDir(dir); err != nil {
		return nil, err
	}
	if _, err := a.Plan(m.config, m.files); err != nil { // all tensors are there, with the right shapes
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), m.files.Close())
	}
	return m, nil
}

// fits returns why the networks of expert cannot work on what m's attention makes.
func (m *model) fits(expert *model) (note string, err error) {
	a, b := m.config, expert.config
	for _, v := range []struct {
		key  string
		a, b any
	}{
		{"hidden_size", a.HiddenSize, b.HiddenSize},
		{"intermediate_size", a.IntermediateSize, b.IntermediateSize},
		{"num_hidden_layers", a.Layers, b.Layers},
		{"num_attention_heads", a.Heads, b.Heads},
		{"num_key_value_heads", *a.KVHeads, *b.KVHeads},
		{"head_dim", a.HeadLength(), b.HeadLength()},
		{"rms_norm_eps", a.RMSNormEps, b.RMSNormEps},
		{"rope_theta", *a.RopeParameters.Theta, *b.RopeParameters.Theta},
		{"rope scaling", ropeScaling(a), ropeScaling(b)},
	} {
		if v.a != v.b {
			return "", fmt.Errorf("%s is %v, that of the base is %v", v.key, v.b, v.a)
		}
	}
	for id, text := range m.tokens[:min(len(m.tokens), len(expert.tokens))] {
		if other := expert.tokens[id]; other != text {
			return "", fmt.Errorf("token %d is %q, that of the base is %q", id, other, text)
		}
	}
	if len(m.tokens) != len(expert.tokens) {
		note = fmt.Sprintf("%s has %d tokens and the base %d; the mixture has those of the base", expert.dir, len(expert.tokens), len(m.tokens))
	}
	return note, nil
}

func ropeScaling(c *arch.Config) string {
	if t := c.RopeParameters.Type; t != "" && t != "default" {
		if f := c.RopeParameters.Factor; f != nil {
			return fmt.Sprintf("%s by %v", t, *f)
		}
		return t
	}
	return "none"
}

// dtype returns the type that all tensors are stored in, "" to keep their own:
// the recipe's, or that which the base model says it has.
func (r *Recipe) dtype(base *model) (safetensors.Dtype, error) {
	if r.Dtype != "" {
		return dtypes[r.Dtype], nil
	}
	var config struct {
		TorchDtype string `json:"torch_dtype"`
		Dtype      string `json:"dtype"` // the same since transformers 5
	}
	if err := json.Unmarshal(base.json, &config); err != nil {
		return "", err
	}
	name := strings.TrimPrefix(cmp.Or(config.TorchDtype, config.Dtype), "torch.")
	if name == "" {
		return "", nil
	}
	dtype, ok := dtypes[name]
	if !ok {
		return "", fmt.Errorf("%w: the base model is of type %q; say a dtype in the recipe", ErrRecipe, name)
	}
	return dtype, nil
}

// networks names the three matrices of a feed-forward network in a dense model
// and in Mixtral.
var networks = map[string]string{"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}

// tensors returns all but the routers.
func (r *Recipe) tensors(base *model, experts []*model, dtype safetensors.Dtype, seed uint64) ([]*safetensors.Tensor, error) {
	var tensors []*safetensors.Tensor
	for _, t := range base.files.Tensors() {
		if strings.HasSuffix(t.Name, ".rotary_emb.inv_freq") { // computed, not learnt
			continue
		}
		if !strings.Contains(t.Name, ".mlp.") {
			tensors = append(tensors, change{source: t, dtype: cmp.Or(dtype, t.Dtype)}.tensor(t.Name))
		}
	}
	for e, m := range experts {
		for layer := range base.config.Layers {
			for _, name := range slices.Sorted(maps.Keys(networks)) {
				source := fmt.Sprintf("model.layers.%d.mlp.%s.weight", layer, name)
				t := m.files.Tensor(source)
				if t == nil {
					return nil, fmt.Errorf("%w: %s has no tensor %q", ErrRecipe, m.dir, source)
				}
				c := change{source: t, dtype: cmp.Or(dtype, t.Dtype), noise: r.Experts[e].NoiseScale}
				if name == "down_proj" {
					c.scale = r.Experts[e].ResidualScale
				}
				to := fmt.Sprintf("model.layers.%d.block_sparse_moe.experts.%d.%s.weight", layer, e, networks[name])
				c.seed = streamOf(seed, to)
				tensors = append(tensors, c.tensor(to))
			}
		}
	}
	return tensors, nil
}

// config returns config.json of the mixture: that of the base with what makes it a
// Mixtral.
func (r *Recipe) config(base *model, dtype safetensors.Dtype) ([]byte, error) {
	var config map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(base.json)))
	decoder.UseNumber() // numbers stay as they are written
	if err := decoder.Decode(&config); err != nil {
		return nil, err
	}
	for key, value := range map[string]any{
		"architectures": []string{arch.Mixtral.Class}, "model_type": "mixtral",
		"num_local_experts": len(r.Experts), "num_experts_per_tok": r.perToken(),
		"num_key_value_heads": *base.config.KVHeads, "rms_norm_eps": base.config.RMSNormEps,
		"sliding_window": nil, "output_router_logits": false, "router_aux_loss_coef": 0.001,
	} {
		config[key] = value
	}
	if _, ok := config["rope_parameters"]; !ok {
		config["rope_theta"] = *base.config.RopeParameters.Theta
	}
	for name, d := range dtypes {
		if d == dtype {
			delete(config, "dtype")
			config["torch_dtype"] = name
		}
	}
	text, err := json.MarshalIndent(config, "", "  ")
	return append(text, '\n'), err
}
