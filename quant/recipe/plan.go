package recipe

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// ErrNeedsImatrix means that the file type gives a tensor a type so small that
// it makes no sense without an importance matrix.
var ErrNeedsImatrix = errors.New("needs an importance matrix")

// CompatVersion is the version of llama-quantize whose rules these are.
const CompatVersion = "0.7.0"

// Options says how Plan deviates from the file type's rules, and under which
// circumstances it plans. The zero value is llama-quantize without flags.
type Options struct {
	// Imatrix means that there is an importance matrix, which some rules
	// depend on.
	Imatrix bool
	// Pure gives every tensor that is quantized the base type instead of what
	// the file type's rules say (--pure).
	Pure bool
	// LeaveOutput leaves output.weight in its type (--leave-output-tensor).
	LeaveOutput bool
	// OutputType, if set, is the type of output.weight, or of the token
	// embeddings where they serve as output matrix (--output-tensor-type).
	OutputType *gguf.Type
	// TokenEmbeddingType, if set, is the type of the token embeddings
	// (--token-embedding-type).
	TokenEmbeddingType *gguf.Type
	// Overrides give tensors a type by name; the first that matches counts.
	// They apply to quantized file types only, and yield to OutputType and
	// TokenEmbeddingType (--tensor-type).
	Overrides []Override
	// KeepOrder makes rules that count tensors do so in the order the tensors
	// are given in (--keep-split).
	KeepOrder bool
}

// quantizable reports whether t changes its type.
func (o *Options) quantizable(t gguf.TensorInfo) bool {
	return Quantizable(t) && (!o.LeaveOutput || t.Name != "output.weight")
}

// outright returns the type of a tensor for which nothing else counts.
func (o *Options) outright(t gguf.TensorInfo) (gguf.Type, bool) {
	switch c := classOf(t.Name); {
	case c == tokenEmbd && o.TokenEmbeddingType != nil:
		return *o.TokenEmbeddingType, true
	case c == output && o.OutputType != nil:
		return *o.OutputType, true
	}
	return 0, false
}

// override returns the first override that matches, nil if none does.
func (o *Options) override(name string) (*Override, error) {
	for i := range o.Overrides {
		found, err := o.Overrides[i].pattern.match(name)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", o.Overrides[i], err)
		}
		if found {
			return &o.Overrides[i], nil
		}
	}
	return nil, nil
}

// Plan returns the type of every tensor, in the order of tensors, when a model
// with this metadata is quantized to file type ft. Tensors that are not
// quantized keep their type; with Copy, all do.
//
// Some rules count tensors ("the first two attn_v"). They count in Order,
// whatever the order of tensors is, unless Options.KeepOrder is set. A tensor
// whose type an option gives is not counted.
//
// The error wraps gguf.ErrUnsupported if ft is unknown, or a tensor's rows suit
// neither the type an option gives nor any that could replace the one planned,
// and gguf.ErrNoKey or
// gguf.ErrCorrupt if the metadata lacks what the rules need or contradicts the
// tensors.
func Plan(meta *gguf.Metadata, tensors []gguf.TensorInfo, ft FileType, opts Options) ([]gguf.Type, error) {
	types := make([]gguf.Type, len(tensors))
	for i, t := range tensors {
		types[i] = t.Type
	}
	if ft == Copy {
		return types, nil
	}
	ft, opts = ft.Spell(opts)
	base, err := ft.Base()
	if err != nil {
		return nil, err
	}
	m := model{fileType: ft, base: base, imatrix: opts.Imatrix, outputOverride: opts.OutputType}
	if base.Quantized() {
		if err := m.read(meta, tensors); err != nil {
			return nil, err
		}
	}
	order := Order(tensors)
	if opts.KeepOrder {
		slices.Sort(order)
	}
	for _, i := range order {
		t := tensors[i]
		if !opts.quantizable(t) {
			continue
		}
		if typ, ok := opts.outright(t); ok {
			if t.RowLen()%int64(typ.BlockSize()) != 0 {
				return nil, fmt.Errorf("%w: tensor %q: rows of %d elements are not whole blocks of %s", gguf.ErrUnsupported, t.Name, t.RowLen(), typ)
			}
			types[i] = typ
			continue
		}
		types[i] = base
		if !base.Quantized() {
			continue
		}
		o, err := opts.override(t.Name)
		if err != nil {
			return nil, err
		}
		if o != nil {
			types[i] = o.typ
		} else if !opts.Pure {
			if types[i], err = m.choose(t); err != nil {
				return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
			}
		}
		if types[i], err = fitWidth(types[i], t.RowLen()); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return types, nil
}

// CheckImatrix returns an error that wraps ErrNeedsImatrix if a tensor gets one
// of the smallest types and there is no importance for it: has says whether
// there is. types are those Plan returned.
func CheckImatrix(tensors []gguf.TensorInfo, types []gguf.Type, ft FileType, has func(tensor string) bool) error {
	for i, t := range tensors {
		if types[i] != t.Type && needsImatrix(t.Name, types[i], ft) && !has(t.Name) {
			return fmt.Errorf("tensor %q: %s in %s %w", t.Name, types[i], ft, ErrNeedsImatrix)
		}
	}
	return nil
}

// Order returns the order in which llama-quantize works on tensors and writes
// them: indices of tensors sorted by the layer in the name, those outside the
// layers first, then by name, byte by byte.
func Order(tensors []gguf.TensorInfo) []int {
	layers := make([]int, len(tensors))
	order := make([]int, len(tensors))
	for i, t := range tensors {
		layers[i], _ = gguf.SplitName(t.Name)
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(layers[a], layers[b]), cmp.Compare(tensors[a].Name, tensors[b].Name))
	})
	return order
}

// model is what the rules look at besides the tensor itself.
type model struct {
	fileType FileType
	base     gguf.Type
	imatrix  bool
	// outputOverride, if set, is the type of the output matrix.
	outputOverride *gguf.Type

	arch      string
	layers    int
	experts   uint64
	groupSize uint64 // query heads per key-value head in the first layer
	tied      bool   // the output matrix is that of the token embeddings
	is70B     bool
	// counts has the number of tensors of a class, seen how many of them have
	// had their turn.
	counts, seen map[class]int
}

// layersOf70B are the architectures and layer counts that llama.cpp labels
// 70B, which gives attn_v more bits.
var layersOf70B = map[string]int{"llama": 80, "deci": 80, "qwen2": 80, "olmo": 80, "jais2": 68}

// read fills in what comes from the metadata and the names of the tensors.
func (m *model) read(meta *gguf.Metadata, tensors []gguf.TensorInfo) error {
	var err error
	if m.arch, err = gguf.Value[string](meta, "general.architecture"); err != nil {
		return err
	}
	if m.arch != projector {
		if err := m.readShape(meta); err != nil {
			return err
		}
	}
	m.tied = true
	m.seen = make(map[class]int)
	m.counts = map[class]int{ffnDown: m.layers, ffnGate: m.layers, ffnUp: m.layers}
	for _, t := range tensors {
		switch classOf(t.Name) {
		case output:
			m.tied = false
		case attnV:
			m.counts[attnV]++
		}
	}
	return nil
}

// projector is the architecture of vision and audio projectors (mmproj files). The
// rules take them for models without layers.
const projector = "clip"

// readShape fills in what the metadata say about the layers.
func (m *model) readShape(meta *gguf.Metadata) error {
	layers, err := meta.Uint(m.arch + ".block_count")
	if err != nil {
		return err
	}
	if layers > math.MaxInt16 {
		return fmt.Errorf("%w: %s.block_count is %d", gguf.ErrCorrupt, m.arch, layers)
	}
	m.layers = int(layers)
	if m.experts, err = meta.Uint(m.arch + ".expert_count"); err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return err
	}
	heads, err := headCount(meta, m.arch+".attention.head_count", 0)
	if err != nil {
		return err
	}
	kvHeads, err := headCount(meta, m.arch+".attention.head_count_kv", heads)
	if err != nil {
		return err
	}
	if kvHeads > 0 {
		m.groupSize = heads / kvHeads
	}
	m.is70B = m.layers == layersOf70B[m.arch] && (m.arch != "llama" || heads != kvHeads)
	return nil
}

// headCount returns the value of key, or its first element where layers differ,
// or otherwise the given default.
func headCount(meta *gguf.Metadata, key string, otherwise uint64) (uint64, error) {
	v, ok := meta.Get(key)
	if !ok {
		return otherwise, nil
	}
	var first any
	switch v := v.(type) {
	case []int32:
		if len(v) > 0 {
			first = v[0]
		}
	case []uint32:
		if len(v) > 0 {
			first = v[0]
		}
	default:
		first = v
	}
	if first == nil {
		return otherwise, nil
	}
	return gguf.NewMetadata(gguf.KV{Key: key, Value: first}).Uint(key)
}

// fitWidth returns t, or what replaces it for rows of the given width.
func fitWidth(t gguf.Type, width int64) (gguf.Type, error) {
	fit := t
	for width%int64(fit.BlockSize()) != 0 {
		var ok bool
		if fit, ok = fit.Narrower(); !ok {
			return 0, fmt.Errorf("%w: rows of %d elements are not whole blocks of %s, and nothing replaces it", gguf.ErrUnsupported, width, t)
		}
	}
	return fit, nil
}

// needsImatrix reports whether a tensor of type t is refused when there is no
// importance matrix.
func needsImatrix(name string, t gguf.Type, ft FileType) bool {
	if c := classOf(name); c == output || c == tokenEmbd {
		return false
	}
	return t.NeedsImatrix() || t == gguf.Q2_K && ft == Q2_K_S
}
