package weights

import "fmt"

// Reshape returns the elements of a tensor, in their order, as one of another shape.
func Reshape(r Rows, shape ...int64) Rows {
	old, length := Count(r.Shape())
	rows, width := Count(shape)
	if rows*width != old*length {
		panic(fmt.Sprintf("weights: shape %v as %v", r.Shape(), shape))
	}
	undo := func(result Rows) []Rows { return []Rows{Reshape(result, r.Shape()...)} }
	if width == length {
		a := newArranged(shape, []Rows{r}, 1, func(first, n int64, yield func(run) bool) { yield(run{first: first, n: n, step: 1}) })
		a.undo = undo
		return a
	}
	c := compute(shape, r.Dtype(), 1, func(dst []float32, first, n int64) error {
		start := first * width
		from := start / length
		to := (start + n*width + length - 1) / length
		buf := floats.get((to - from) * length)
		defer floats.put(buf)
		err := r.ReadRows(*buf, from, to-from)
		copy(dst, (*buf)[start-from*length:])
		return err
	}, r)
	c.undo = undo
	return c
}
