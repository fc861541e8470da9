package weights

import (
	"fmt"
	"slices"
)

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

// ReorderColumns is [Reorder] for the elements of each row.
func ReorderColumns(r Rows, from []int64) Rows {
	_, length := Count(r.Shape())
	size := length / int64(len(from))
	if size*int64(len(from)) != length {
		panic(fmt.Sprintf("weights: %d blocks of columns of shape %v", len(from), r.Shape()))
	}
	c := compute(slices.Clone(r.Shape()), r.Dtype(), r.Grain(), func(dst []float32, first, n int64) error {
		buf := floats.get(n * length)
		defer floats.put(buf)
		if err := r.ReadRows(*buf, first, n); err != nil {
			return err
		}
		for row := range n {
			for to, block := range from {
				copy(dst[row*length+int64(to)*size:][:size], (*buf)[row*length+block*size:][:size])
			}
		}
		return nil
	}, r)
	c.undo = func(result Rows) []Rows { return []Rows{ReorderColumns(result, back(from))} }
	return c
}
