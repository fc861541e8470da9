package weights

import "slices"

// Padded returns a matrix or a vector that may have rows, and elements of each row, that
// its model has not, behind the others: as many as make a multiple of the given numbers.
func Padded(r Rows, rows, length int64) Rows { return &padded{r, rows, length} }

type padded struct {
	Rows
	rows, length int64
}

func (p *padded) Operands() []Rows         { return []Rows{p.Rows} }
func (p *padded) Blocks() (*Blocks, error) { return BlocksOf(p.Rows) }

// IsPadded reports whether a tensor is one that Padded returned.
func IsPadded(r Rows) bool {
	_, ok := r.(*padded)
	return ok
}

// Unpad returns the tensor without what it was padded by, if it is one that Padded
// returned and has the given shape then. Else it returns the tensor itself.
func Unpad(r Rows, shape []int64) Rows {
	p, ok := r.(*padded)
	if !ok || len(shape) != len(p.Shape()) || len(shape) > 2 || slices.Equal(shape, p.Shape()) {
		return r
	}
	rows, length := Count(shape)
	all, full := Count(p.Shape())
	if rows > all || length > full || all-rows >= p.rows || full-length >= p.length {
		return r
	}
	if length == full {
		return Slice(p.Rows, 0, rows)
	}
	return Compute(shape, p.Dtype(), p.Grain(), func(dst []float32, first, n int64) error {
		values := floats.get(n * full)
		defer floats.put(values)
		err := p.ReadRows(*values, first, n)
		for i := range n {
			copy(dst[i*length:][:length], (*values)[i*full:])
		}
		return err
	}, p.Rows)
}
