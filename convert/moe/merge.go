package moe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Options says what a merge takes besides its recipe.
type Options struct {
	// Encoder understands prompts. It may be nil for recipes without.
	Encoder Encoder
	// Seed determines what is random: noise, and routers of some gate modes.
	Seed uint64
	// Open finds models that lie elsewhere, whose addresses recipes name. It may be nil for
	// recipes of directories alone.
	Open func(address string) (files.Folder, error)
}

// folder returns where a model of a recipe is.
func (o Options) folder(model string) (files.Folder, error) {
	switch {
	case !remote.IsAddress(model):
		return files.Directory(model), nil
	case o.Open == nil:
		return nil, fmt.Errorf("%w: %s is not a directory", gguf.ErrUnsupported, model)
	}
	return o.Open(model)
}

// Merge is a merged checkpoint: its tensors are read from its models. [hf.New] makes a
// GGUF model of its Parts.
type Merge struct {
	hf.Parts
	recipe *Recipe
	models []*model
}

// Inputs returns the open files of the models.
func (m *Merge) Inputs() []*files.File {
	var inputs []*files.File
	for _, model := range m.models {
		inputs = append(inputs, model.converted.Inputs()...)
	}
	return inputs
}

// Close closes these.
func (m *Merge) Close() error {
	var errs []error
	for _, model := range m.models {
		errs = append(errs, model.converted.Close())
	}
	return errors.Join(errs...)
}

// model is a checkpoint of which a mixture is made.
type model struct {
	dir     string // or address
	folder  files.Folder
	config  *arch.Model
	json    []byte // config.json
	tensors weights.Set
	tokens  []string
	// converted is all of it as a Source, tensors in their own types.
	converted *hf.Checkpoint
}

// New merges the models of a recipe. The caller must close the result. The error
// wraps ErrRecipe if the models do not fit together.
func New(ctx context.Context, recipe *Recipe, opts Options) (_ *Merge, err error) {
	m := &Merge{recipe: recipe}
	m.Files = m
	m.Path = files.Directory(strings.TrimSuffix(recipe.path, filepath.Ext(recipe.path))).Path
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	open := func(dir string) (*model, error) {
		for _, other := range m.models {
			if other.dir == dir {
				return other, nil
			}
		}
		folder, err := opts.folder(dir)
		if err != nil {
			return nil, err
		}
		opened, err := openModel(dir, folder)
		if err != nil {
			return nil, err
		}
		m.models = append(m.models, opened)
		return opened, nil
	}
	base, err := open(recipe.BaseModel)
	if err != nil {
		return nil, err
	}
	m.Tokenizer = base.folder
	all := slices.Concat(recipe.Experts, recipe.SharedExperts)
	donors := make([]*model, len(all))
	for i, e := range all {
		if donors[i], err = open(e.SourceModel); err != nil {
			return nil, err
		}
	}
	out, notes, err := recipe.output(base, donors)
	if err != nil {
		return nil, err
	}
	m.Notes = notes
	for _, donor := range donors {
		note, err := base.fits(donor)
		if err != nil {
			return nil, fmt.Errorf("%w: %s does not fit %s: %w", ErrRecipe, donor.dir, base.dir, err)
		}
		if note != "" && !slices.Contains(m.Notes, note) {
			m.Notes = append(m.Notes, note)
		}
	}
	dtype, err := recipe.dtype(base)
	if err != nil {
		return nil, err
	}
	tensors, err := recipe.tensors(out, base, donors, dtype, opts.Seed)
	if err != nil {
		return nil, err
	}
	routers, err := recipe.routers(ctx, out, base, dtype, opts)
	if err != nil {
		return nil, err
	}
	tensors = append(tensors, routers...)
	// As in files, so that a merge that was written converts to the same bytes.
	slices.SortFunc(tensors, func(a, b tensor) int { return cmp.Compare(a.name, b.name) })
	var set weights.List
	for _, t := range tensors {
		if err := set.Add(t.name, t.Rows); err != nil {
			return nil, err
		}
	}
	m.Set = &set
	if m.Config, err = recipe.config(out, base, dtype); err != nil {
		return nil, err
	}
	m.Card = recipe.card(out)
	config, err := out.class.Read(m.Config)
	if err != nil {
		return nil, fmt.Errorf("config.json of the mixture: %w", err)
	}
	if _, err := config.Plan(m.Set); err != nil { // it can be converted
		return nil, fmt.Errorf("tensors of the mixture: %w", err)
	}
	return m, nil
}

func openModel(dir string, folder files.Folder) (_ *model, err error) {
	parts, err := hf.OpenParts(folder)
	if err != nil {
		return nil, err
	}
	m := &model{dir: dir, folder: folder, json: parts.Config}
	if err := m.readConfig(); err != nil {
		return nil, errors.Join(err, parts.Files.Close())
	}
	if m.converted, err = hf.New(parts, hf.Options{}); err != nil { // all is there, and fits together
		return nil, err
	}
	if m.tensors, err = m.config.Used(parts); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), m.converted.Close())
	}
	m.tokens, err = gguf.Value[[]string](m.converted.Metadata(), "tokenizer.ggml.tokens")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), m.converted.Close())
	}
	return m, nil
}

// readConfig reads config.json of a model that can become part of a mixture.
func (m *model) readConfig() (err error) {
	path := m.folder.Path("config.json")
	var class struct {
		Architectures []string `json:"architectures"`
	}
	if err := pyjson.Unmarshal(m.json, &class); err != nil {
		return fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, path, err)
	}
	donors, names := donors()
	i := slices.IndexFunc(donors, func(a *arch.Architecture) bool { return slices.Equal(class.Architectures, []string{a.Class}) })
	if i < 0 {
		return fmt.Errorf("%w: %s: a model of class %v cannot become part of a mixture, only those of %s can", ErrRecipe, path, class.Architectures, names)
	}
	if m.config, err = donors[i].Read(m.json); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if m.config.AttentionBias || m.config.MLPBias {
		return fmt.Errorf("%w: %s: a mixture has no place for biases (attention_bias, mlp_bias)", ErrRecipe, path)
	}
	return nil
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
		{"num_key_value_heads", a.KVHeads, b.KVHeads},
		{"head_dim", a.HeadLength(), b.HeadLength()},
		{"rms_norm_eps", a.RMSNormEps, b.RMSNormEps},
		{"rope_theta", a.Rope.Base(), b.Rope.Base()},
		{"rope scaling", ropeScaling(a.Rope), ropeScaling(b.Rope)},
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

func ropeScaling(r arch.Rope) string {
	if t := r.Type; t != "" && t != "default" {
		if f := r.Factor; f != nil {
			return fmt.Sprintf("%s by %v", t, *f)
		}
		return t
	}
	return "none"
}

// dtype returns the type that all tensors are stored in, "" to keep their own:
// the recipe's, or that which the base model says it has.
func (r *Recipe) dtype(base *model) (weights.Dtype, error) {
	if r.Dtype != "" {
		return dtypes[r.Dtype], nil
	}
	var config struct {
		TorchDtype string `json:"torch_dtype"`
		Dtype      string `json:"dtype"` // the same since transformers 5
	}
	if err := pyjson.Unmarshal(base.json, &config); err != nil {
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

// matrices are those of a feed-forward network.
var matrices = []string{"down_proj", "gate_proj", "up_proj"}

// tensor is one of the mixture's.
type tensor struct {
	name string
	weights.Rows
}

// tensors returns all but the routers. The last of the donors are the shared
// experts.
func (r *Recipe) tensors(out *output, base *model, donors []*model, dtype weights.Dtype, seed uint64) ([]tensor, error) {
	var tensors []tensor
	for _, name := range base.tensors.Names() {
		if strings.HasSuffix(name, ".rotary_emb.inv_freq") { // computed, not learnt
			continue
		}
		if !strings.Contains(name, ".mlp.") {
			tensors = append(tensors, tensor{name, change{}.of(base.tensors.Get(name), dtype)})
		}
	}
	if head := "lm_head.weight"; out.ownHead && base.tensors.Get(head) == nil {
		tensors = append(tensors, tensor{head, change{}.of(base.tensors.Get("model.embed_tokens.weight"), dtype)})
	}
	if out.fill != nil {
		tensors = append(tensors, out.fill(base, dtype)...)
	}
	for i, m := range donors {
		expert, network := Expert{}, out.shared
		if i < len(r.Experts) {
			expert, network = r.Experts[i], fmt.Sprintf(out.experts, i)
		} else {
			expert = r.SharedExperts[i-len(r.Experts)]
		}
		for layer := range base.config.Layers {
			for _, name := range matrices {
				source := inLayer(layer, "mlp."+name)
				t := m.tensors.Get(source)
				if t == nil {
					return nil, fmt.Errorf("%w: %s has no tensor %q", ErrRecipe, m.dir, source)
				}
				c := change{noise: expert.NoiseScale}
				if name == "down_proj" {
					c.scale = expert.ResidualScale
				}
				to := inLayer(layer, network+"."+out.matrix(name))
				c.seed = streamOf(seed, to)
				tensors = append(tensors, tensor{to, c.of(t, dtype)})
			}
		}
	}
	return tensors, nil
}

// config returns config.json of the mixture: that of the base with what makes it a
// mixture. Values for which classes have different defaults are always there.
func (r *Recipe) config(out *output, base *model, dtype weights.Dtype) ([]byte, error) {
	var values map[string]jsontext.Value // numbers stay as they are written
	if err := pyjson.Unmarshal(base.json, &values); err != nil {
		return nil, err
	}
	config := make(map[string]any, len(values))
	for key, value := range values {
		if err := value.Format(jsontext.ReorderRawObjects(true)); err != nil {
			return nil, err
		}
		config[key] = value
	}
	c := base.config.Config
	for key, value := range map[string]any{
		"architectures": []string{out.class.Class}, "model_type": out.modelType, "num_experts_per_tok": r.perToken(),
		"vocab_size": c.VocabSize, "hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize, "num_hidden_layers": c.Layers,
		"num_attention_heads": c.Heads, "num_key_value_heads": c.KVHeads, "max_position_embeddings": c.MaxPositions, "rms_norm_eps": c.RMSNormEps,
	} {
		config[key] = value
	}
	if c.HeadLength() != c.HiddenSize/c.Heads {
		config["head_dim"] = c.HeadLength()
	}
	if _, ok := config["rope_parameters"]; !ok {
		config["rope_theta"] = c.Rope.Base()
	}
	if out.ownHead {
		config["tie_word_embeddings"] = false
	}
	delete(config, "quantization_config") // of a base whose weights are packed; the mixture's are not
	delete(config, "layer_types")         // which layers have a sliding window; most classes have none
	maps.Copy(config, out.config(r, c))
	for name, d := range dtypes {
		if d == dtype {
			delete(config, "dtype")
			config["torch_dtype"] = name
		}
	}
	text, err := json.MarshalIndent(config, "", "  ")
	return append(text, '\n'), err
}
