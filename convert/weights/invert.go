package weights

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// Inverse says what the tensors that expressions are made of must be for the expressions to
// be certain results. So what makes GGUF tensors of those of a checkpoint also makes these of
// them: the parts of a [Stack], the rows of an [Interleave] in their own order, the values of a
// [Map], the matrices of a [Transpose], what was cut up by [Slice].
type Inverse struct {
	found  func(operand, is Rows) bool
	slices map[Rows][]piece // by what they are of, in order
}

// piece is what a slice of a tensor is to be, from a row of each matrix on.
type piece struct {
	first int64
	is    Rows
}

// NewInverse returns an Inverse that calls found with each of the tensors and what it is,
// which returns whether it goes no further.
func NewInverse(found func(operand, is Rows) bool) *Inverse {
	return &Inverse{found, make(map[Rows][]piece)}
}

// Add adds that r is to be result. What r is a slice of is found with the last of its slices.
// The error wraps gguf.ErrUnsupported if an expression on the way cannot be undone. Nothing is
// read.
func (v *Inverse) Add(r, result Rows) error {
	e, ok := r.(Expression)
	if v.found(r, result) || !ok {
		return nil
	}
	operands := e.Operands()
	if len(operands) == 0 { // it is computed of nothing
		return nil
	}
	var undo func(Rows) []Rows
	switch e := e.(type) {
	case *slice:
		return v.addSlice(operands[0], piece{e.first, result})
	case *transposed:
		undo = func(result Rows) []Rows { return []Rows{Transpose(result)} }
	case *arranged:
		undo = e.undo
	case *computed:
		undo = e.undo
	}
	if undo == nil {
		return fmt.Errorf("%w: a tensor of shape %v that is made of %d others in a way that cannot be undone", gguf.ErrUnsupported, r.Shape(), len(operands))
	}
	for i, is := range undo(result) {
		if err := v.Add(operands[i], is); err != nil {
			return err
		}
	}
	return nil
}

// addSlice adds that a piece of a tensor is to be something.
func (v *Inverse) addSlice(of Rows, p piece) error {
	all := append(v.slices[of], p)
	slices.SortFunc(all, func(a, b piece) int { return cmp.Compare(a.first, b.first) })
	v.slices[of] = all
	parts := make([]Rows, len(all))
	next := int64(0)
	for i, p := range all {
		if p.first != next {
			return nil
		}
		parts[i], next = p.is, next+matrixRows(p.is)
	}
	if next < matrixRows(of) {
		return nil
	}
	return v.Add(of, Concat(parts...))
}

// matrixRows returns how many rows each matrix of a tensor has.
func matrixRows(r Rows) int64 { return r.Shape()[len(r.Shape())-2] }

// part returns one of the tensors that are stacked in r.
func part(r Rows, number int64) Rows {
	shape := r.Shape()[1:]
	each, _ := Count(shape)
	return newArranged(shape, []Rows{r}, 1, func(first, n int64, yield func(run) bool) {
		yield(run{first: number*each + first, n: n, step: 1})
	})
}

// Deinterleave is the reverse of [Interleave]: of a head of d rows, row j comes from 2j and
// row j + d/2 from 2j+1.
func Deinterleave(r Rows, heads int64) Rows {
	shape := r.Shape()
	rows, length := Count(shape)
	undo := func(result Rows) []Rows { return []Rows{Interleave(result, heads)} }
	if len(shape) == 1 {
		c := rearranged(r, func(i int64) int64 { return deinterleaved(i, length/heads) })
		c.undo = undo
		return c
	}
	d := rows / heads
	a := newArranged(shape, []Rows{r}, 1, func(first, n int64, yield func(run) bool) {
		for row := first; row < first+n; {
			next := min((row/(d/2)+1)*(d/2), first+n) // the rows up to here are of the same half of a head
			if !yield(run{first: deinterleaved(row, d), n: next - row, skip: 1, at: row - first, step: 1}) {
				return
			}
			row = next
		}
	})
	a.undo = undo
	return a
}

// deinterleaved returns where a row comes from that interleaved puts there.
func deinterleaved(row, d int64) int64 {
	i := row % d
	half := d / 2
	return row - i + i%half*2 + i/half
}

// back returns the order that undoes one.
func back(from []int64) []int64 {
	order := make([]int64, len(from))
	for i, block := range from {
		order[block] = int64(i)
	}
	return order
}
