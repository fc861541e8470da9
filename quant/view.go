package quant

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// ErrRequantize means that tensors are quantized already, and that it was not
// allowed to quantize them again.
var ErrRequantize = errors.New("requantizing has to be allowed")

// ViewOptions says how NewView deviates from the file type, and what it may do.
// The zero value is llama-quantize without flags.
type ViewOptions struct {
	// Recipe chooses the tensors' types. NewView sets its field Imatrix.
	Recipe recipe.Options
	// Importance, if set and not empty, tells which weights matter. The view
	// reads it as long as it is read itself.
	Importance *imatrix.Matrix
	// AllowRequantize permits tensors that are quantized in the source to be
	// quantized again to another type, which loses more than quantizing the
	// original would.
	AllowRequantize bool
	// KeepQuantized leaves tensors that are quantized in the source as they are. If they
	// are most of what is quantized, general.file_type is their type.
	KeepQuantized bool
	// Metadata are set after those of the source, and are what the recipe sees:
	// see ParseOverrideKV.
	Metadata []gguf.KV
	// PruneLayers takes layers out of the model. Those after them move down.
	PruneLayers []int
	// DryRun makes a view that can be looked at but not read. Types that need
	// an importance matrix, a codec, or leave to requantize are shown without.
	DryRun bool
}

// View is a model quantized as it is read: a gguf.Source over another one. It
// holds no tensor data.
type View struct {
	src        gguf.Source
	meta       *gguf.Metadata
	tensors    []gguf.TensorInfo
	origin     []int // index of each tensor in src
	importance *imatrix.Matrix
	weighted   []bool // whether there is importance for each tensor
	notes      []string
	dryRun     bool
	scratch    sync.Pool
}

// scratch is what one ReadRows call works in: rows of the source, the same as
// float32, and the importance of their columns.
type scratch struct {
	raw        []byte
	values     []float32
	importance []float32
	// of is what importance is of, so that it is not read again for each piece of a large
	// matrix.
	of importanceOf
}

// importanceOf is a matrix of a tensor of the source.
type importanceOf struct {
	importance *imatrix.Matrix
	tensor     int
	matrix     int64
}

// scratchElements is how many elements ReadRows converts at a time, unless one
// row has more. Each concurrent call takes at most eight bytes for each, beside
// its dst, and four for each column.
const scratchElements = 64 << 10

// NewView returns src quantized to file type ft, as llama-quantize would write
// it: the metadata are those of src without split.* keys, followed by
// general.quantization_version, general.file_type, ViewOptions.Metadata, the
// quantize.imatrix.* keys, and the number of layers if some were pruned; the
// tensors are in recipe.Order, or as they are in src with
// recipe.Options.KeepOrder, and of the types recipe.Plan gives. A tensor that
// has its type already is copied.
//
// The error is that of recipe.Plan, recipe.CheckImatrix or recipe.Prune, or it
// wraps gguf.ErrUnsupported if a tensor needs a type without codec or is
// quantized in src and may not be requantized, or gguf.ErrCorrupt if the
// importance is of another size than a tensor.
func NewView(src gguf.Source, ft recipe.FileType, opts ViewOptions) (*View, error) {
	v := &View{src: src, dryRun: opts.DryRun}
	ft, opts.Recipe = ft.Spell(opts.Recipe)
	v.scratch.New = func() any { return &scratch{} }
	if opts.Importance != nil && len(opts.Importance.Tensors()) > 0 {
		v.importance = opts.Importance
		opts.Recipe.Imatrix = true
	}
	v.meta = viewMetadata(src.Metadata(), ft, opts.Metadata, v.importance)

	tensors := src.Tensors()
	origin := func(i int) int { return i }
	layers := 0
	if len(opts.PruneLayers) > 0 {
		pruned, err := recipe.Prune(tensors, opts.PruneLayers)
		if err != nil {
			return nil, err
		}
		tensors, layers = pruned.Tensors, pruned.Layers
		origin = func(i int) int { return pruned.Origin[i] }
		for _, layer := range pruned.Absent {
			v.notes = append(v.notes, fmt.Sprintf("there is no layer %d to prune", layer))
		}
	}
	// The rules count layers as they were before pruning.
	types, err := recipe.Plan(v.meta, tensors, ft, opts.Recipe)
	if err != nil {
		return nil, err
	}
	if opts.KeepQuantized {
		var kept, all []gguf.TensorInfo
		for i, t := range tensors {
			if t.Type.Quantized() {
				types[i], kept = t.Type, append(kept, t)
			}
			t.Type = types[i]
			all = append(all, t)
		}
		if ft, ok := recipe.Mostly(kept, all); ok {
			v.meta.Set(keyFileType, uint32(ft))
		}
	}
	if layers > 0 {
		arch, err := gguf.Value[string](v.meta, "general.architecture")
		if err != nil {
			return nil, err
		}
		v.meta.Set(arch+".block_count", uint32(layers))
	}
	v.notes = append(v.notes, recipe.Lint(tensors, ft, opts.Recipe)...)

	order := recipe.Order(tensors)
	if opts.Recipe.KeepOrder {
		slices.Sort(order)
	}
	covered := make(map[string]bool)
	for _, i := range order {
		from, to := tensors[i], tensors[i]
		to.Type = types[i]
		to.Shape = to.Shape[:to.Dims()] // llama-quantize drops dimensions of size 1
		if err := to.Check(); err != nil {
			return nil, err
		}
		weighted := false
		if from.Type != to.Type {
			if weighted, err = v.hasImportance(src.Tensors()[origin(i)]); err != nil {
				return nil, err
			}
			covered[from.Name] = weighted
			if err := opts.allow(from, to, weighted); err != nil {
				return nil, err
			}
		}
		v.tensors = append(v.tensors, to)
		v.origin = append(v.origin, origin(i))
		v.weighted = append(v.weighted, weighted)
	}
	err = recipe.CheckImatrix(tensors, types, ft, func(tensor string) bool { return covered[tensor] })
	switch {
	case err != nil && !opts.DryRun:
		return nil, err
	case err != nil:
		v.notes = append(v.notes, err.Error())
	}
	if v.importance != nil {
		v.notes = append(v.notes, v.importanceNotes(covered)...)
	}
	return v, nil
}

// allow returns why a tensor cannot be converted.
func (o *ViewOptions) allow(from, to gguf.TensorInfo, weighted bool) error {
	switch {
	case o.DryRun:
	case from.Type.Quantized() && !o.AllowRequantize:
		return fmt.Errorf("%w: tensor %q is %s already and would become %s: %w", gguf.ErrUnsupported, from.Name, from.Type, to.Type, ErrRequantize)
	case !CanDequantize(from.Type):
		return fmt.Errorf("%w: tensor %q is %s, which cannot be read", gguf.ErrUnsupported, from.Name, from.Type)
	case !CanQuantize(to.Type):
		return fmt.Errorf("%w: tensor %q would have to be %s, which cannot be written", gguf.ErrUnsupported, to.Name, to.Type)
	case NeedsImportance(to.Type) && !weighted:
		return fmt.Errorf("tensor %q: %s %w", to.Name, to.Type, recipe.ErrNeedsImatrix)
	}
	return nil
}

// Notes returns what the user should know about the view, a sentence each:
// options that have no effect, and tensors and experts without importance.
func (v *View) Notes() []string { return v.notes }

// Metadata implements gguf.Source.
func (v *View) Metadata() *gguf.Metadata { return v.meta }

// Tensors implements gguf.Source.
func (v *View) Tensors() []gguf.TensorInfo { return v.tensors }

// Origin returns the index in the source's Tensors of a tensor of the view.
func (v *View) Origin(tensor int) int { return v.origin[tensor] }

// Unwrap implements gguf.Wrapper.
func (v *View) Unwrap(tensor int, first, n int64) gguf.Origin {
	origin := v.origin[tensor]
	return gguf.Origin{Source: v.src, Tensor: origin, First: first, N: n, Same: v.src.Tensors()[origin].Type == v.tensors[tensor].Type}
}

// RowsID implements gguf.Identifier: it returns what the rows of a tensor are quantized
// from, and how, and nil for a tensor whose rows are those of the source.
func (v *View) RowsID(tensor int) any {
	type rows struct {
		from       any // a RowsID, or the source
		tensor     int // of the source
		to         gguf.Type
		importance *imatrix.Matrix
	}
	if v.Unwrap(tensor, 0, 1).Same {
		return nil
	}
	id := rows{to: v.tensors[tensor].Type}
	if v.weighted[tensor] {
		id.importance = v.importance
	}
	if id.from = gguf.RowsID(v.src, v.origin[tensor]); id.from != nil {
		return id
	}
	var src gguf.Source
	if src, id.tensor = gguf.Unwrap(v.src, v.origin[tensor]); !reflect.ValueOf(src).Comparable() {
		return nil
	}
	id.from = src
	return id
}

// Inputs implements gguf.FileSource: the files of the source, and that of the
// importance matrix.
func (v *View) Inputs() []*files.File {
	inputs := gguf.Inputs(v.src)
	if v.importance != nil {
		inputs = append(slices.Clone(inputs), v.importance.Inputs()...)
	}
	return inputs
}

// Original returns the tensors of the view as they are in its source: in the
// order and with the names that they have in the view.
func (v *View) Original() gguf.Source { return v.Arrange(v.src) }

// Arrange returns the tensors of src, which has those of the view's source, perhaps in
// other types, in the order and with the names that they have in the view.
func (v *View) Arrange(src gguf.Source) gguf.Source {
	o := &original{v: v, src: src, tensors: slices.Clone(v.tensors)}
	for i := range o.tensors {
		o.tensors[i].Type = src.Tensors()[v.origin[i]].Type
	}
	return o
}

type original struct {
	v       *View
	src     gguf.Source
	tensors []gguf.TensorInfo
}

func (o *original) Metadata() *gguf.Metadata   { return o.src.Metadata() }
func (o *original) Tensors() []gguf.TensorInfo { return o.tensors }
func (o *original) ReadRows(dst []byte, tensor int, first, n int64) error {
	return o.src.ReadRows(dst, o.v.origin[tensor], first, n)
}

func (o *original) Unwrap(tensor int, first, n int64) gguf.Origin {
	return gguf.Origin{Source: o.src, Tensor: o.v.origin[tensor], First: first, N: n, Same: true}
}

// ReadRows implements gguf.Source. A NaN or an infinity in a row, before or
// after quantizing, is an error that names tensor and row; in the source it
// wraps gguf.ErrCorrupt.
func (v *View) ReadRows(dst []byte, tensor int, first, n int64) error {
	return v.ReadTogether([]gguf.Read{{Source: v, Tensor: tensor, Dst: dst}}, first, n)
}

// ReadTogether implements gguf.Combiner. Rows of the source are read and made numbers once, and quantized once
// for all tensors that have the same type and the same importance.
func (v *View) ReadTogether(reads []gguf.Read, first, n int64) error {
	t, err := v.together(reads, first, n)
	if err != nil {
		return err
	}
	from := v.src.Tensors()[t.origin]
	if len(t.made) == 0 {
		if err := v.src.ReadRows(t.copied, t.origin, first, n); err != nil {
			return err
		}
		if err := validateRows(from, t.copied, first); err != nil {
			return err
		}
		t.share()
		return nil
	}
	s := v.scratch.Get().(*scratch)
	defer v.scratch.Put(s)
	step := max(1, scratchElements/max(1, from.RowLen()))
	for done := int64(0); done < n; {
		rows := min(n-done, step)
		if t.weighted {
			perMatrix, _ := matrices(from)
			rows = min(rows, perMatrix-(first+done)%perMatrix)
		}
		if err := v.makeRows(s, t, first, done, rows); err != nil {
			return err
		}
		done += rows
	}
	t.share()
	return nil
}

// together is what is read of the views of one source.
type together struct {
	origin   int     // the tensor of the source
	copied   []byte  // gets the rows as they are, nil if nobody wants them
	made     []*made // of each kind one
	weighted bool    // whether there is importance for any
	shared   [][2][]byte
}

// made are rows in a type that the source has them not in.
type made struct {
	to         gguf.TensorInfo
	importance *imatrix.Matrix // or nil
	dst        []byte
}

// share copies what was made for one tensor to the others that want the same.
func (t *together) share() {
	for _, pair := range t.shared {
		copy(pair[0], pair[1])
	}
}

// together sorts out which reads want the same, and checks them.
func (v *View) together(reads []gguf.Read, first, n int64) (*together, error) {
	t := &together{}
	for i, r := range reads {
		view, ok := r.Source.(*View)
		if !ok || view.src != v.src || i > 0 && view.origin[r.Tensor] != t.origin {
			return nil, fmt.Errorf("tensor %q is not made of the same rows as others that are read with it", r.Source.Tensors()[r.Tensor].Name)
		}
		to := view.tensors[r.Tensor]
		if err := to.CheckRows(r.Dst, first, n); err != nil {
			return nil, err
		}
		t.origin = view.origin[r.Tensor]
		if v.src.Tensors()[t.origin].Type == to.Type {
			if t.copied == nil {
				t.copied = r.Dst
			} else {
				t.shared = append(t.shared, [2][]byte{r.Dst, t.copied})
			}
			continue
		}
		if view.dryRun {
			return nil, fmt.Errorf("tensor %q: the view is a dry run", to.Name)
		}
		var importance *imatrix.Matrix
		if view.weighted[r.Tensor] {
			importance, t.weighted = view.importance, true
		}
		same := func(m *made) bool { return m.to.Type == to.Type && m.importance == importance }
		if at := slices.IndexFunc(t.made, same); at >= 0 {
			t.shared = append(t.shared, [2][]byte{r.Dst, t.made[at].dst})
			continue
		}
		t.made = append(t.made, &made{to, importance, r.Dst})
	}
	return t, nil
}

// makeRows makes some of the rows that are read together: rows from first+done on, which in the places that they go to
// are rows from done on.
func (v *View) makeRows(s *scratch, t *together, first, done, rows int64) error {
	from := v.src.Tensors()[t.origin]
	first += done
	place := func(dst []byte, rowBytes int64) []byte { return dst[done*rowBytes:][:rows*rowBytes] }
	var raw []byte
	if t.copied != nil {
		raw = place(t.copied, from.RowBytes())
	} else {
		s.raw = resize(s.raw, rows*from.RowBytes())
		raw = s.raw
	}
	if err := v.src.ReadRows(raw, t.origin, first, rows); err != nil {
		return err
	}
	if err := validateRows(from, raw, first); err != nil {
		return err
	}
	s.values = resize(s.values, rows*from.RowLen())
	if err := Dequantize(from.Type, s.values, raw, int(from.RowLen())); err != nil {
		return fmt.Errorf("tensor %q: %w", from.Name, err)
	}
	for _, m := range t.made {
		var importance []float32
		if m.importance != nil {
			perMatrix, _ := matrices(from)
			var err error
			if importance, err = v.readImportance(s, importanceOf{m.importance, t.origin, first / perMatrix}); err != nil {
				return err
			}
		}
		part := place(m.dst, m.to.RowBytes())
		if err := Quantize(m.to.Type, part, s.values, int(m.to.RowLen()), importance); err != nil {
			return fmt.Errorf("tensor %q: %w", m.to.Name, err)
		}
		if row, err := firstInvalid(m.to, part); err != nil {
			return fmt.Errorf("tensor %q, row %d, does not fit into %s: %w", m.to.Name, first+row, m.to.Type, err)
		}
	}
	return nil
}

// validateRows checks rows of the source that start at row first. Types without
// codec are trusted.
func validateRows(t gguf.TensorInfo, data []byte, first int64) error {
	if !CanDequantize(t.Type) {
		return nil
	}
	if row, err := firstInvalid(t, data); err != nil {
		return fmt.Errorf("%w: tensor %q, row %d: %w", gguf.ErrCorrupt, t.Name, first+row, err)
	}
	return nil
}

// firstInvalid returns the first of the rows in data that Validate rejects.
func firstInvalid(t gguf.TensorInfo, data []byte) (int64, error) {
	rowBytes := t.RowBytes()
	for row := int64(0); len(data) > 0; row++ {
		if err := Validate(t.Type, data[:rowBytes], int(t.RowLen())); err != nil {
			return row, err
		}
		data = data[rowBytes:]
	}
	return 0, nil
}

// resize returns a slice of n elements, s itself if it is large enough.
func resize[T any](s []T, n int64) []T {
	if int64(cap(s)) < n {
		return make([]T, n)
	}
	return s[:n]
}

// Shards returns how many tensors of the view each file of its source has, for gguf.WriteOptions. Files but the first
// that lost all of theirs are left out.
func (v *View) Shards(source *gguf.File) []int {
	shards := make([]int, len(source.Paths()))
	for i := range v.tensors {
		shards[source.Shard(v.Origin(i))]++
	}
	return append(shards[:1], slices.DeleteFunc(shards[1:], func(n int) bool { return n == 0 })...)
}
