package arch

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Architecture describes the checkpoints of one class.
type Architecture struct {
	// Class is the name in config.json's list of architectures.
	Class string
	// Others are the names of classes with the same tensors, or some more that are for
	// images or sound. Those that end with Model have no output of their own.
	Others []string
	// Name is general.architecture and the prefix of the keys.
	Name string
	// Experts says whether it is a mixture of experts.
	Experts bool
	// Embeddings says that such models also make embeddings of texts: how they pool
	// those of tokens is in files of sentence-transformers.
	Embeddings bool
	// Keys lists the metadata in order.
	Keys []Key
	// Tensors lists the tensors every checkpoint has.
	Tensors []Mapping
	// Layouts lists further tensors in each of the ways they can be stored. A
	// checkpoint must keep to one.
	Layouts [][]Mapping
	// Extra computes the tensors that only config.json determines. May be nil.
	Extra func(*Config) []Tensor
	// Check says why a config is of a kind that cannot be converted. May be nil.
	Check func(*Config) error
}

// Architectures lists what can be converted.
var Architectures = []*Architecture{&Llama, &Mistral, &Mixtral, &Qwen2, &Qwen2MoE, &Qwen3, &Qwen3MoE, &DeepSeek}

// Find returns the architecture of a class. The error wraps
// gguf.ErrUnsupported if there is none.
func Find(class string) (*Architecture, error) {
	var known []string
	for _, a := range Architectures {
		if a.Class == class || slices.Contains(a.Others, class) {
			return a, nil
		}
		known = append(append(known, a.Class), a.Others...)
	}
	return nil, fmt.Errorf("%w: architecture %.100q (known: %s)", gguf.ErrUnsupported, class, strings.Join(known, ", "))
}

// Key is one metadata pair.
type Key struct {
	// Name is the key without the architecture's prefix.
	Name string
	// Value returns nil if the model has no such pair.
	Value func(*Config) any
}

// fileType stands for general.file_type, which depends on the tensors' types
// and not on the model.
const fileType = "general.file_type"

// Metadata returns the model's own pairs in convert_hf_to_gguf.py's order.
func (a *Architecture) Metadata(c *Config, ftype uint32) []gguf.KV {
	var kvs []gguf.KV
	for _, k := range a.Keys {
		if k.Name == fileType {
			kvs = append(kvs, gguf.KV{Key: fileType, Value: ftype})
		} else if v := k.Value(c); v != nil {
			kvs = append(kvs, gguf.KV{Key: a.Name + "." + k.Name, Value: v})
		}
	}
	return kvs
}

// Mapping is one line of a tensor table.
type Mapping struct {
	// Source is the name in the checkpoint; {layer} and {expert} stand for
	// numbers. With {expert}, the experts' tensors are stacked to one.
	Source string
	// Name is the name in GGUF, where {layer} stands for the same number.
	Name string
	// Shape is that of Source, row length last.
	Shape func(*Config) []int64
	// Heads, if set, says that the rows are those of so many attention heads
	// and that the halves of each head are to be interleaved. Hugging Face
	// rotates element i of a head together with i + n/2, llama.cpp with its
	// neighbour.
	Heads func(*Config) int64
	// Part, if set, says which rows of each expert in Source this tensor
	// takes: rows [first, first+n). Source then has the experts as its first
	// dimension.
	Part func(*Config) (first, n int64)
	// Required says whether the tensor must be there; nil means always.
	Required func(*Config) bool
	// InLayer says which layers have the tensor; nil means all.
	InLayer func(c *Config, layer int64) bool
}

// stacked reports whether the line maps a tensor for each expert, which
// convert_hf_to_gguf.py writes together once it has all those of a layer.
func (m *Mapping) stacked() bool { return strings.Contains(m.Source, "{expert}") }

// Tensor is a GGUF tensor as an expression of those of a checkpoint.
type Tensor struct {
	Name string
	weights.Rows
}

// skipped lists the ends of names of tensors that nothing needs: what old
// versions of transformers saved although it can be computed.
var skipped = []string{".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias"}

// IsText reports whether a checkpoint's tensor belongs to the text model, and not to what
// sees or hears for it, by the names of TextModel.filter_tensors in llama.cpp's
// conversion/base.py.
func IsText(name string) bool {
	start := strings.TrimPrefix(name, "model.")
	return !slices.ContainsFunc(otherStarts, func(s string) bool { return strings.HasPrefix(start, s) }) &&
		!slices.ContainsFunc(otherParts, func(s string) bool { return strings.Contains(start, s) })
}

var (
	otherStarts = []string{
		"mlp", "vit.", "vpm.", "siglip2.", "conformer.", "connector.", "merger.", "resampler.", "sound_encoder.", "sound_projection.", "speech_embeddings.",
	}
	otherParts = []string{
		"visual.", "vision.", "audio.", "talker.", "vision_", "audio_", "token2wav.", "code2wav.", "projector.", "pre_mm_projector_norm", "image_newline",
		"view_seperator", //nolint:misspell // so it is in checkpoints
		"patch_embed", "patch_merger.", "patch_merge_mlp.",
	}
)

// tableName returns the name that the tables have for a tensor: some models are saved
// without their prefix, or as part of a larger one.
func tableName(name string) string {
	name = strings.NewReplacer("language_model.", "", "text_model.", "").Replace(name)
	if rest, ok := strings.CutPrefix(name, "model.model."); ok {
		return "model." + rest
	}
	if strings.HasPrefix(name, "model.") || strings.HasPrefix(name, "lm_head.") {
		return name
	}
	return "model." + name
}

// Plan maps the tensors of a checkpoint, in convert_hf_to_gguf.py's order. A
// tensor that is missing or has another shape than the config implies, and
// experts in two layouts at once, are errors that wrap gguf.ErrCorrupt; a tensor
// of no known name or that holds integers is one that wraps gguf.ErrUnsupported.
func (a *Architecture) Plan(c *Config, set weights.Set) ([]Tensor, error) {
	p := planner{config: c, byName: make(map[string]source), used: make(map[string]bool)}
	for i, name := range set.Names() {
		if !IsText(name) {
			continue
		}
		short := tableName(name)
		if other, ok := p.byName[short]; ok {
			return nil, fmt.Errorf("%w: tensors %.200q and %.200q are the same one", gguf.ErrCorrupt, other.name, name)
		}
		p.byName[short] = source{set.Get(name), name, i}
	}
	layout, err := p.pickLayout(a.Layouts)
	if err != nil {
		return nil, err
	}
	if err := p.add(slices.Concat(a.Tensors, layout)); err != nil {
		return nil, err
	}
	for _, name := range set.Names() {
		if !p.used[name] && IsText(name) && !slices.ContainsFunc(skipped, func(end string) bool { return strings.HasSuffix(tableName(name), end) }) {
			return nil, fmt.Errorf("%w: %s of %d layers has no tensor %.200q", gguf.ErrUnsupported, a.Class, c.Layers, name)
		}
	}
	slices.SortStableFunc(p.planned, func(a, b planned) int { return cmp.Compare(a.position, b.position) })
	var tensors []Tensor
	if a.Extra != nil {
		tensors = a.Extra(c)
	}
	for _, t := range p.planned {
		tensors = append(tensors, t.Tensor)
	}
	return tensors, nil
}

// planner collects planned tensors.
type planner struct {
	config  *Config
	byName  map[string]source // names as in the tables
	used    map[string]bool   // names as in the checkpoint
	planned []planned
}

// source is a tensor of the checkpoint.
type source struct {
	weights.Rows
	name     string
	position int
}

type planned struct {
	Tensor
	position int // of the last checkpoint tensor it has to wait for
	stacked  bool
}

// pickLayout returns the layout that the checkpoint keeps to.
func (p *planner) pickLayout(layouts [][]Mapping) ([]Mapping, error) {
	if len(layouts) == 0 {
		return nil, nil
	}
	picked, example := 0, ""
	for i, layout := range layouts {
		for name, t := range p.byName {
			if !slices.ContainsFunc(layout, func(m Mapping) bool { return matches(m.Source, name) }) {
				continue
			}
			if example != "" {
				return nil, fmt.Errorf("%w: tensors %.200q and %.200q are of two layouts of the same model", gguf.ErrCorrupt, example, t.name)
			}
			picked, example = i, t.name
			break
		}
	}
	return layouts[picked], nil
}

// matches reports whether name is source with numbers for {layer} and {expert}.
func matches(source, name string) bool {
	want, have := strings.Split(source, "."), strings.Split(name, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if strings.HasPrefix(want[i], "{") {
			if _, err := strconv.ParseUint(have[i], 10, 32); err != nil {
				return false
			}
		} else if want[i] != have[i] {
			return false
		}
	}
	return true
}

// add plans the tensors of a table.
func (p *planner) add(table []Mapping) error {
	perLayer := func(m Mapping) bool { return strings.Contains(m.Source, "{layer}") }
	for _, m := range table {
		if !perLayer(m) {
			if err := p.addOne(m, 0); err != nil {
				return err
			}
		}
	}
	for layer := range p.config.Layers {
		first := len(p.planned)
		for _, m := range table {
			if perLayer(m) && (m.InLayer == nil || m.InLayer(p.config, layer)) {
				if err := p.addOne(m, layer); err != nil {
					return err
				}
			}
		}
		alignStacked(p.planned[first:])
	}
	return nil
}

// alignStacked gives the stacked tensors of a layer the position of the last.
func alignStacked(layer []planned) {
	last := 0
	for _, t := range layer {
		if t.stacked {
			last = max(last, t.position)
		}
	}
	for i := range layer {
		if layer[i].stacked {
			layer[i].position = last
		}
	}
}

// addOne plans the tensor that m maps in one layer.
func (p *planner) addOne(m Mapping, layer int64) error {
	c := p.config
	want := m.Shape(c)
	ofLayer := strings.NewReplacer("{layer}", strconv.FormatInt(layer, 10))
	t := planned{Tensor: Tensor{Name: ofLayer.Replace(m.Name)}, stacked: m.stacked()}
	sources := int64(1)
	if t.stacked {
		sources = c.Experts
	}
	parts := make([]weights.Rows, sources)
	for expert := range sources {
		name := strings.ReplaceAll(ofLayer.Replace(m.Source), "{expert}", strconv.FormatInt(expert, 10))
		src, ok := p.byName[name]
		switch {
		case !ok && m.Required != nil && !m.Required(c):
			return nil
		case !ok:
			return fmt.Errorf("%w: tensor %q is missing", gguf.ErrCorrupt, name)
		case !slices.Equal(src.Shape(), want):
			return fmt.Errorf("%w: tensor %q has shape %v, config.json implies %v", gguf.ErrCorrupt, name, src.Shape(), want)
		case !src.Dtype().Float():
			return fmt.Errorf("%w: tensor %q holds %s, not floating-point numbers; is the checkpoint quantized?", gguf.ErrUnsupported, name, src.Dtype())
		}
		p.used[src.name] = true
		t.position = max(t.position, src.position)
		parts[expert] = src.Rows
	}
	switch t.Rows = parts[0]; {
	case m.Part != nil:
		first, n := m.Part(c)
		t.Rows = weights.Slice(t.Rows, first, n)
	case t.stacked:
		t.Rows = weights.Stack(parts...)
	case m.Heads != nil:
		t.Rows = weights.Interleave(t.Rows, m.Heads(c))
	}
	p.planned = append(p.planned, t)
	return nil
}
