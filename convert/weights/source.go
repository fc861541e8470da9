package weights

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// FromSource returns a tensor of a GGUF model, in a shape that has its rows: of dimensions that
// are 1, GGUF files do without those behind the last that is not. Its type is that of the model's if it is
// F32, F16 or BF16; one that is quantized is what its blocks stand for, in F32. The error
// wraps gguf.ErrUnsupported for types that are not of weights.
func FromSource(src gguf.Source, tensor int, shape []int64) (Rows, error) {
	info := src.Tensors()[tensor]
	s := &sourced{src: src, tensor: tensor, info: info, shape: shape, dtype: F32}
	for _, d := range []Dtype{F16, BF16} {
		if t, _ := d.GGUF(); t == info.Type {
			s.dtype = d
		}
	}
	if !quant.CanDequantize(info.Type) {
		return nil, fmt.Errorf("%w: tensor %.200q is of type %s, which is not read", gguf.ErrUnsupported, info.Name, info.Type)
	}
	return s, nil
}

// sourced is a tensor of a GGUF model.
type sourced struct {
	src    gguf.Source
	tensor int
	info   gguf.TensorInfo
	shape  []int64
	dtype  Dtype
}

func (s *sourced) Shape() []int64 { return s.shape }
func (s *sourced) Dtype() Dtype   { return s.dtype }
func (s *sourced) Grain() int64   { return 1 }

func (s *sourced) ReadRows(dst []float32, first, n int64) error {
	blocks := raw.get(n * s.info.RowBytes())
	defer raw.put(blocks)
	if err := s.src.ReadRows(*blocks, s.tensor, first, n); err != nil {
		return err
	}
	if err := quant.Dequantize(s.info.Type, dst, *blocks, int(s.info.RowLen())); err != nil {
		return fmt.Errorf("tensor %.200q: %w", s.info.Name, err)
	}
	return nil
}

func (s *sourced) ReadRaw(dst []byte, first, n int64) error {
	if t, _ := s.dtype.GGUF(); t == s.info.Type {
		return s.src.ReadRows(dst, s.tensor, first, n)
	}
	return encodeRows(s, dst, first, n)
}

// IsQuantized reports whether a tensor is made of one of a GGUF model that is quantized.
func IsQuantized(r Rows) bool {
	switch r := r.(type) {
	case *sourced:
		return r.info.Type.BlockSize() > 1
	case Expression:
		return slices.ContainsFunc(r.Operands(), IsQuantized)
	}
	return false
}
