package quant

import (
	"fmt"
	"sync"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// ViewOptions says what NewView may do. The zero value is llama-quantize
// without flags.
type ViewOptions struct {
	// AllowRequantize permits tensors that are quantized in the source to be
	// quantized again to another type, which loses more than quantizing the
	// original would.
	AllowRequantize bool
}

// View is a model quantized as it is read: a gguf.Source over another one. It
// holds no tensor data.
type View struct {
	src     gguf.Source
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	origin  []int // index of each tensor in src
	scratch sync.Pool
}

// scratch is what one ReadRows call works in: rows of the source, and the same
// as float32.
type scratch struct {
	raw    []byte
	values []float32
}

// scratchElements is how many elements ReadRows converts at a time, unless one
// row has more. Each concurrent call takes at most eight bytes for each, beside
// its dst.
const scratchElements = 64 << 10

// NewView returns src quantized to file type ft, as llama-quantize would write
// it: the metadata are those of src without split.* keys, followed by
// general.quantization_version and general.file_type; the tensors are in
// recipe.Order and of the types recipe.Plan gives. A tensor that has its type
// already is copied.
//
// The error is that of recipe.Plan, or it wraps gguf.ErrUnsupported if a tensor
// needs a type without codec or is quantized in src and may not be requantized.
func NewView(src gguf.Source, ft recipe.FileType, opts ViewOptions) (*View, error) {
	tensors := src.Tensors()
	types, err := recipe.Plan(src.Metadata(), tensors, ft, recipe.Options{})
	if err != nil {
		return nil, err
	}
	v := &View{src: src, meta: viewMetadata(src.Metadata(), ft), origin: recipe.Order(tensors)}
	v.scratch.New = func() any { return new(scratch) }
	for _, i := range v.origin {
		from, to := tensors[i], tensors[i]
		to.Type = types[i]
		switch {
		case from.Type == to.Type:
		case from.Type.Quantized() && !opts.AllowRequantize:
			return nil, fmt.Errorf("%w: tensor %q is %s already, requantizing it to %s has to be allowed", gguf.ErrUnsupported, from.Name, from.Type, to.Type)
		case !CanDequantize(from.Type):
			return nil, fmt.Errorf("%w: tensor %q is %s, which cannot be read", gguf.ErrUnsupported, from.Name, from.Type)
		case !CanQuantize(to.Type):
			return nil, fmt.Errorf("%w: tensor %q would have to be %s, which cannot be written", gguf.ErrUnsupported, to.Name, to.Type)
		}
		if err := to.Check(); err != nil {
			return nil, err
		}
		v.tensors = append(v.tensors, to)
	}
	return v, nil
}

func viewMetadata(src *gguf.Metadata, ft recipe.FileType) *gguf.Metadata {
	const quantizationVersion = 2 // GGML_QNT_VERSION
	m := src.Clone()
	m.Set("general.quantization_version", uint32(quantizationVersion))
	m.Set("general.file_type", uint32(ft))
	for _, key := range []string{"split.no", "split.count", "split.tensors.count"} {
		m.Delete(key)
	}
	return m
}

// Metadata implements gguf.Source.
func (v *View) Metadata() *gguf.Metadata { return v.meta }

// Tensors implements gguf.Source.
func (v *View) Tensors() []gguf.TensorInfo { return v.tensors }

// ReadRows implements gguf.Source. A NaN or an infinity in a row, before or
// after quantizing, is an error that names tensor and row; in the source it
// wraps gguf.ErrCorrupt.
func (v *View) ReadRows(dst []byte, tensor int, first, n int64) error {
	to := v.tensors[tensor]
	if err := to.CheckRows(dst, first, n); err != nil {
		return err
	}
	origin := v.origin[tensor]
	from := v.src.Tensors()[origin]
	if from.Type == to.Type {
		if err := v.src.ReadRows(dst, origin, first, n); err != nil {
			return err
		}
		return validateRows(from, dst, first)
	}

	s := v.scratch.Get().(*scratch)
	defer v.scratch.Put(s)
	step := max(1, scratchElements/max(1, to.RowLen()))
	for n > 0 {
		rows := min(n, step)
		s.raw = resize(s.raw, rows*from.RowBytes())
		s.values = resize(s.values, rows*from.RowLen())
		if err := v.src.ReadRows(s.raw, origin, first, rows); err != nil {
			return err
		}
		if err := validateRows(from, s.raw, first); err != nil {
			return err
		}
		if err := Dequantize(from.Type, s.values, s.raw); err != nil {
			return fmt.Errorf("tensor %q: %w", from.Name, err)
		}
		part := dst[:rows*to.RowBytes()]
		if err := Quantize(to.Type, part, s.values); err != nil {
			return fmt.Errorf("tensor %q: %w", to.Name, err)
		}
		if row, err := firstInvalid(to, part); err != nil {
			return fmt.Errorf("tensor %q, row %d, does not fit into %s: %w", to.Name, first+row, to.Type, err)
		}
		dst, first, n = dst[len(part):], first+rows, n-rows
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
		if err := Validate(t.Type, data[:rowBytes]); err != nil {
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
