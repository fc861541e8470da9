package weights

import (
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
)

// Invert says what the tensors that r is made of must be for r to be result: found is
// called with each of them and what it is, and returns whether it goes no further. So an expression that makes a GGUF tensor of
// those of a checkpoint also makes these of it: the parts of a [Stack], the rows of an
// [Interleave] in their own order, the values of a [Map]. The error wraps
// gguf.ErrUnsupported if an expression on the way cannot be undone. Nothing is read.
func Invert(r, result Rows, found func(operand, is Rows) bool) error {
	e, ok := r.(Expression)
	if found(r, result) || !ok {
		return nil
	}
	operands := e.Operands()
	if len(operands) == 0 { // it is computed of nothing
		return nil
	}
	var undo func(Rows) []Rows
	switch e := e.(type) {
	case *arranged:
		undo = e.undo
	case *computed:
		undo = e.undo
	}
	if undo == nil {
		return fmt.Errorf("%w: a tensor of shape %v that is made of %d others in a way that cannot be undone", gguf.ErrUnsupported, r.Shape(), len(operands))
	}
	for i, is := range undo(result) {
		if err := Invert(operands[i], is, found); err != nil {
			return err
		}
	}
	return nil
}

// part returns one of the tensors that are stacked in r.
func part(r Rows, number int64) Rows {
	shape := r.Shape()[1:]
	each, _ := Count(shape)
	return newArranged(shape, []Rows{r}, 1, func(first, n int64, yield func(run) bool) {
		yield(run{first: number*each + first, n: n, step: 1})
	})
}

// deinterleave is the reverse of Interleave: of a head of d rows, row j comes from 2j and
// row j + d/2 from 2j+1.
func deinterleave(r Rows, heads int64) Rows {
	shape := r.Shape()
	rows, length := Count(shape)
	if len(shape) == 1 {
		return rearranged(r, func(i int64) int64 { return deinterleaved(i, length/heads) })
	}
	d := rows / heads
	return newArranged(shape, []Rows{r}, 1, func(first, n int64, yield func(run) bool) {
		for row := first; row < first+n; row++ {
			if !yield(run{first: deinterleaved(row, d), n: 1, at: row - first, step: 1}) {
				return
			}
		}
	})
}

// deinterleaved returns where a row comes from that interleaved puts there.
func deinterleaved(row, d int64) int64 {
	i := row % d
	half := d / 2
	return row - i + i%half*2 + i/half
}
