package allocate

import (
	"maps"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// variant is the base with some of its tensors in another type. Those are
// quantized as they are read.
type variant struct {
	base    gguf.Source
	tensors []gguf.TensorInfo
	view    *quant.View
	// inView has where the other tensors are in the view, -1 for those of the base.
	inView []int
}

// newVariant returns the base with some tensors in other types.
func newVariant(base gguf.Source, importance *imatrix.Matrix, changed map[int]gguf.Type) (*variant, error) {
	v := &variant{base: base, tensors: slices.Clone(base.Tensors()), inView: make([]int, len(base.Tensors()))}
	opts := quant.ViewOptions{Importance: importance}
	for _, i := range slices.Sorted(maps.Keys(changed)) {
		v.tensors[i].Type = changed[i]
		o, err := recipe.OverrideOf(v.tensors[i])
		if err != nil {
			return nil, err
		}
		opts.Recipe.Overrides = append(opts.Recipe.Overrides, o)
	}
	var err error
	// The others are never read as this file type has them.
	if v.view, err = quant.NewView(base, recipe.Q8_0, opts); err != nil {
		return nil, err
	}
	for i := range v.view.Tensors() {
		origin := v.view.Origin(i)
		v.inView[origin] = -1
		if _, ok := changed[origin]; ok {
			v.inView[origin] = i
		}
	}
	return v, nil
}

// Metadata implements gguf.Source.
func (v *variant) Metadata() *gguf.Metadata { return v.base.Metadata() }

// Tensors implements gguf.Source.
func (v *variant) Tensors() []gguf.TensorInfo { return v.tensors }

// ReadRows implements gguf.Source.
func (v *variant) ReadRows(dst []byte, tensor int, first, n int64) error {
	o := v.Unwrap(tensor, first, n)
	return o.Source.ReadRows(dst, o.Tensor, o.First, o.N)
}

// Unwrap implements gguf.Wrapper.
func (v *variant) Unwrap(tensor int, first, n int64) gguf.Origin {
	if i := v.inView[tensor]; i >= 0 {
		return gguf.Origin{Source: v.view, Tensor: i, First: first, N: n, Same: true}
	}
	return gguf.Origin{Source: v.base, Tensor: tensor, First: first, N: n, Same: true}
}
