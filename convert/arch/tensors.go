package arch

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Tensor is a GGUF tensor as an expression of those of a checkpoint.
type Tensor struct {
	Name string
	weights.Rows
}

// AlwaysF32 reports whether llama.cpp computes with the tensor in F32 only, by the
// rules of ModelBase.prepare_tensors in llama.cpp's conversion/base.py.
func (t *Tensor) AlwaysF32() bool {
	if len(t.Shape()) < 2 || !strings.HasSuffix(t.Name, ".weight") {
		return true
	}
	return slices.ContainsFunc(alwaysF32, func(end string) bool { return strings.HasSuffix(t.Name, end) })
}

// alwaysF32 lists the ends of names of such tensors, beside vectors and what is no weight.
var alwaysF32 = []string{
	"_norm.weight",
	".ffn_gate_inp.weight",
	".ffn_gate_inp_shexp.weight",
	".indexer.proj.weight",
	".altup_correct_coef.weight",
	".altup_predict_coef.weight",
	".ssm_conv1d.weight",
	".shortconv.conv.weight",
	"position_embd.weight",
	"token_types.weight",
}

// Sources returns the names of the checkpoint's tensors that it is made of.
func (t *Tensor) Sources() []string {
	var names []string
	for src := range sources(t.Rows) {
		names = append(names, src.name)
	}
	return names
}

// skipped lists the ends of names of tensors that nothing needs: what old
// versions of transformers saved although it can be computed.
var skipped = []string{".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias", ".attn.masked_bias", ".attn.bias"}

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

// roots are how names begin that have no prefix.
var roots = []string{"lm_head.", "mtp.", "backbone."}

// usualName returns the name that architectures know a tensor by: some models are saved
// without their prefix, or as part of a larger one.
func usualName(name string) string {
	name = strings.NewReplacer("language_model.", "", "text_model.", "").Replace(name)
	if rest, ok := strings.CutPrefix(name, "model.model."); ok {
		return "model." + rest
	}
	if rest := strings.TrimPrefix(name, "model."); slices.ContainsFunc(roots, func(root string) bool { return strings.HasPrefix(rest, root) }) {
		return rest
	}
	if strings.HasPrefix(name, "model.") {
		return name
	}
	return "model." + name
}

// Plan returns the GGUF tensors of a checkpoint, in convert_hf_to_gguf.py's order, and
// reads none of them, but for an output matrix that may be a copy of the embeddings. A tensor that is missing or has another shape than config.json implies, and
// experts in two layouts at once, are errors that wrap gguf.ErrCorrupt; a tensor
// of no known name or that holds integers is one that wraps gguf.ErrUnsupported.
func (m *Model) Plan(set weights.Set) ([]Tensor, error) {
	p, err := m.plan(set)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.planned, func(a, b planned) int { return cmp.Compare(a.position, b.position) })
	tensors := make([]Tensor, len(p.planned))
	for i, t := range p.planned {
		tensors[i] = t.Tensor
	}
	return tensors, nil
}

// Used returns the tensors of a checkpoint that the model is made of, without what they are
// padded by (weights.Padded). Errors are those of Plan.
func (m *Model) Used(set weights.Set) (weights.Set, error) {
	p, err := m.plan(set)
	if err != nil {
		return nil, err
	}
	var used weights.List
	for _, name := range set.Names() {
		if src := p.sources[usualName(name)]; src != nil && src.used {
			if err := used.Add(name, src.Rows); err != nil {
				return nil, err
			}
		}
	}
	return &used, nil
}

// plan plans the GGUF tensors of a checkpoint.
func (m *Model) plan(set weights.Set) (*plan, error) {
	p := &plan{sources: make(map[string]*source)}
	for i, name := range set.Names() {
		if !IsText(name) {
			continue
		}
		usual := usualName(name)
		if other := p.sources[usual]; other != nil {
			return nil, fmt.Errorf("%w: tensors %.200q and %.200q are the same one", gguf.ErrCorrupt, other.name, name)
		}
		p.sources[usual] = &source{Rows: set.Get(name), name: name, position: i}
	}
	m.family.tensors(mapper{plan: p})
	if p.err != nil {
		return nil, p.err
	}
	for _, name := range set.Names() {
		if !IsText(name) {
			continue
		}
		usual := usualName(name)
		src := p.sources[usual]
		if src.used || weights.IsSpare(src.Rows) || slices.ContainsFunc(skipped, func(end string) bool { return strings.HasSuffix(usual, end) }) {
			continue
		}
		return nil, fmt.Errorf("%w: %s of %d layers has no tensor %.200q", gguf.ErrUnsupported, m.Class, m.Layers, name)
	}
	return p, nil
}

// plan collects tensors.
type plan struct {
	sources map[string]*source // by their usual names
	planned []planned
	err     error // the first
	// imagined, if set, says which tensors a checkpoint that is not there has, of those
	// that it need not have. Others are there when they are asked for.
	imagined func(usual string) bool
	most     int // of its tensors
}

// source is a tensor of the checkpoint.
type source struct {
	weights.Rows
	name     string // in the checkpoint
	position int
	used     bool
}

// Operands, Blocks and Unnamed implement weights.Packed and weights.Named.
func (s *source) Operands() []weights.Rows         { return []weights.Rows{s.Rows} }
func (s *source) Blocks() (*weights.Blocks, error) { return weights.BlocksOf(s.Rows) }
func (s *source) Unnamed() weights.Rows            { return s.Rows }

// planned is a tensor with the position of the last source that it has to wait for, and
// the number of the first of those that are written together with it.
type planned struct {
	Tensor
	position, group int
}

// sources yields those of an expression.
func sources(r weights.Rows) iter.Seq[*source] {
	return func(yield func(*source) bool) { eachSource(r, yield) }
}

func eachSource(r weights.Rows, yield func(*source) bool) bool {
	switch r := r.(type) {
	case *source:
		return yield(r)
	case weights.Expression:
		return !slices.ContainsFunc(r.Operands(), func(o weights.Rows) bool { return !eachSource(o, yield) })
	}
	return true
}

// position returns that of the last source of an expression, -1 if it has none.
func position(r weights.Rows) int {
	last := -1
	for src := range sources(r) {
		last = max(last, src.position)
	}
	return last
}

// mapper says what GGUF tensors are made of. Its methods take and give names below a
// prefix of each side. After the first error it maps nothing.
type mapper struct {
	*plan
	from, to string
}

func (p *plan) fail(err error, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: "+format, append([]any{err}, args...)...)
	}
}

// layers returns the mappers of all layers, until there is an error.
func (m mapper) layers(n int64) iter.Seq2[int64, mapper] { return m.layersOf("model.layers.", n) }

// layersOf is layers where their names begin in another way.
func (m mapper) layersOf(start string, n int64) iter.Seq2[int64, mapper] {
	return m.layersFrom(start, 0, n)
}

// layersFrom is layersOf of n layers, of which the first becomes one of another number.
func (m mapper) layersFrom(start string, first, n int64) iter.Seq2[int64, mapper] {
	return func(yield func(int64, mapper) bool) {
		for i := range n {
			from, to := strconv.FormatInt(i, 10), strconv.FormatInt(first+i, 10)
			if m.err != nil || !yield(first+i, mapper{m.plan, m.from + start + from + ".", "blk." + to + "."}) {
				return
			}
		}
	}
}

// below returns the mapper of names below a prefix, without which some models are saved:
// those that have no tensor of this name there.
func (m mapper) below(prefix, name string) mapper {
	if m.from += "model."; m.has(prefix + name) {
		m.from += prefix
	}
	return m
}

// has reports whether the checkpoint has a tensor that says something.
func (m mapper) has(name string) bool {
	if m.imagined != nil {
		return m.imagined(m.from + name)
	}
	src := m.sources[m.from+name]
	return src != nil && !weights.IsSpare(src.Rows)
}

// get returns a tensor of the checkpoint, which must be there and of that shape.
func (m mapper) get(name string, shape ...int64) weights.Rows {
	name = m.from + name
	src := m.sources[name]
	if src == nil && m.imagined != nil && len(m.sources) == m.most {
		m.fail(gguf.ErrCorrupt, "the metadata imply more layers or experts than there are tensors for")
		return imaginary(shape)
	}
	if src == nil && m.imagined != nil {
		src = &source{Rows: imaginary(shape), name: name, position: len(m.sources)}
		m.sources[name] = src
	}
	if src != nil {
		src.Rows = weights.Unpad(src.Rows, shape)
	}
	switch {
	case src == nil:
		m.fail(gguf.ErrCorrupt, "tensor %q is missing", name)
	case !slices.Equal(src.Shape(), shape):
		m.fail(gguf.ErrCorrupt, "tensor %q has shape %v, config.json implies %v", name, src.Shape(), shape)
	case !src.Dtype().Float():
		m.fail(gguf.ErrUnsupported, "tensor %q holds %s, not floating-point numbers; is the checkpoint quantized?", name, src.Dtype())
	default:
		src.used = true
		return src
	}
	return imaginary(shape)
}

// imaginary returns a tensor that is never read.
func imaginary(shape []int64) weights.Rows { return weights.Compute(shape, weights.F32, 1, nil) }

// stack returns tensors of all experts as one; the names have %d for their number.
func (m mapper) stack(name string, experts int64, shape ...int64) weights.Rows {
	var parts []weights.Rows
	for i := range experts {
		parts = append(parts, m.get(fmt.Sprintf(name, i), shape...))
		if m.err != nil {
			break
		}
	}
	return weights.Stack(parts...)
}

// put adds a GGUF tensor.
func (m mapper) put(name string, r weights.Rows) {
	m.planned = append(m.planned, planned{Tensor{m.to + name, r}, position(r), len(m.planned)})
}

// take adds a tensor of the checkpoint as it is.
func (m mapper) take(source, name string, shape ...int64) { m.put(name, m.get(source, shape...)) }

// scalar returns a tensor of one number, of any shape.
func (m mapper) scalar(name string) weights.Rows {
	shape := []int64{1}
	if src := m.sources[m.from+name]; src != nil && len(src.Shape()) == 0 {
		shape = nil
	}
	return m.get(name, shape...)
}

// ignore leaves out tensors whose names begin so.
func (m mapper) ignore(start string) {
	for name, src := range m.sources {
		if strings.HasPrefix(name, m.from+start) {
			src.used = true
		}
	}
}

// takeAny is take for tensors that need not be there.
func (m mapper) takeAny(source, name string, shape ...int64) {
	if m.has(source) {
		m.take(source, name, shape...)
	}
}

// together calls a function that puts tensors which convert_hf_to_gguf.py writes
// together, once it has the sources of all.
func (m mapper) together(puts func()) {
	first := len(m.planned)
	puts()
	group := m.planned[first:]
	last := -1
	for _, t := range group {
		last = max(last, t.position)
	}
	for i := range group {
		group[i].position, group[i].group = last, first
	}
}

// layout returns which of several layouts the layers of the checkpoint keep to: each is
// the names that only it has, below the layer, with * for numbers.
func (m mapper) layout(layouts ...[]string) int {
	picked, example := 0, ""
	for i, names := range layouts {
		for usual, src := range m.sources {
			if !slices.ContainsFunc(names, func(name string) bool { return matches("model.layers.*."+name, usual) }) {
				continue
			}
			if example != "" {
				m.fail(gguf.ErrCorrupt, "tensors %.200q and %.200q are of two layouts of the same model", example, src.name)
			}
			picked, example = i, src.name
			break
		}
	}
	return picked
}

// matches reports whether name is pattern with numbers for stars.
func matches(pattern, name string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(name, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] == "*" {
			if _, err := strconv.ParseUint(have[i], 10, 32); err != nil {
				return false
			}
		} else if want[i] != have[i] {
			return false
		}
	}
	return true
}
