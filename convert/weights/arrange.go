package weights

import (
	"fmt"
	"iter"
	"slices"
)

// Stack returns a tensor with one more dimension in front, of tensors that have the
// same shape: the experts of a layer, for example. It is of their type, or of F32
// if they have several.
func Stack(parts ...Rows) Rows {
	shape := parts[0].Shape()
	for _, p := range parts {
		if !slices.Equal(p.Shape(), shape) {
			panic(fmt.Sprintf("weights: a stack of shapes %v and %v", shape, p.Shape()))
		}
	}
	each, _ := Count(shape)
	a := newArranged(append([]int64{int64(len(parts))}, shape...), parts, 1, func(first, n int64, yield func(run) bool) {
		for row := first; row < first+n; {
			r := run{part: row / each, first: row % each, at: row - first, step: 1}
			r.n = min(each-r.first, first+n-row)
			if !yield(r) {
				return
			}
			row += r.n
		}
	})
	a.undo = func(result Rows) []Rows {
		apart := make([]Rows, len(parts))
		for i := range parts {
			apart[i] = part(result, int64(i))
		}
		return apart
	}
	return a
}

// Slice returns the rows [first, first+n) of every matrix of a tensor: of the one
// that it is, or, if it has more dimensions, of each of them.
func Slice(r Rows, first, n int64) Rows {
	shape := slices.Clone(r.Shape())
	last := len(shape) - 2
	each := shape[last]
	if first < 0 || n < 0 || first > each-n {
		panic(fmt.Sprintf("weights: rows [%d, %d) of shape %v", first, first+n, shape))
	}
	shape[last] = n
	return &slice{newArranged(shape, []Rows{r}, 1, func(from, count int64, yield func(run) bool) {
		for row := from; row < from+count; {
			part := run{first: row/n*each + first + row%n, at: row - from, step: 1}
			part.n = min(n-row%n, from+count-row)
			if !yield(part) {
				return
			}
			row += part.n
		}
	}), first}
}

// slice is what Slice returns, from row first on.
type slice struct {
	*arranged
	first int64
}

// Concat returns a tensor whose matrices have the rows of those of several, one after the
// other: the reverse of Slice.
func Concat(parts ...Rows) Rows {
	ends := make([]int64, len(parts)) // in each matrix
	each := int64(0)
	for i, p := range parts {
		each += matrixRows(p)
		ends[i] = each
	}
	shape := slices.Clone(parts[0].Shape())
	shape[len(shape)-2] = each
	return newArranged(shape, parts, 1, func(first, n int64, yield func(run) bool) {
		for row := first; row < first+n; {
			matrix, y := row/each, row%each
			i := slices.IndexFunc(ends, func(end int64) bool { return y < end })
			has := matrixRows(parts[i])
			r := run{part: int64(i), first: matrix*has + y - (ends[i] - has), n: min(ends[i]-y, first+n-row), at: row - first, step: 1}
			if !yield(r) {
				return
			}
			row += r.n
		}
	})
}

// Interleave returns the rows of so many attention heads (the elements, of a vector)
// with the halves of each head interleaved: of a head of d rows, row 2j comes from j
// and row 2j+1 from j + d/2. Hugging Face rotates the elements i and i + d/2 of a head
// together, and llama.cpp, for some architectures, neighbours.
func Interleave(r Rows, heads int64) Rows {
	shape := r.Shape()
	rows, length := Count(shape)
	undo := func(result Rows) []Rows { return []Rows{Deinterleave(result, heads)} }
	if len(shape) == 1 {
		c := rearranged(r, func(i int64) int64 { return interleaved(i, length/heads) })
		c.undo = undo
		return c
	}
	d := rows / heads
	const pair = 2
	a := newArranged(shape, []Rows{r}, pair, func(first, n int64, yield func(run) bool) {
		for row := first; row < first+n; {
			next := min((row/d+1)*d, first+n) // the rows up to here are of the same head
			for half := range min(2, next-row) {
				from := row + half
				if !yield(run{first: interleaved(from, d), n: (next - from + 1) / 2, at: from - first, step: 2}) {
					return
				}
			}
			row = next
		}
	})
	a.undo = undo
	return a
}

// rearranged returns the elements of a vector, each from where the function says.
func rearranged(r Rows, from func(i int64) int64) *computed {
	_, length := Count(r.Shape())
	return compute(r.Shape(), r.Dtype(), 1, func(dst []float32, first, n int64) error {
		buf := floats.get(length)
		defer floats.put(buf)
		if err := r.ReadRows(*buf, first, n); err != nil {
			return err
		}
		for i := range dst {
			dst[i] = (*buf)[from(int64(i))]
		}
		return nil
	}, r)
}

// interleaved returns where a row of a tensor with heads of d rows comes from.
func interleaved(row, d int64) int64 {
	i := row % d
	return row - i + i%2*(d/2) + i/2
}

// Reorder returns a tensor with its rows (the elements, of a vector) in another order: they
// are blocks of one size, and block i comes from block from[i], each of them once.
func Reorder(r Rows, from []int64) Rows {
	rows, length := Count(r.Shape())
	if len(r.Shape()) == 1 {
		rows = length
	}
	size := rows / int64(len(from))
	if size*int64(len(from)) != rows {
		panic(fmt.Sprintf("weights: %d blocks of shape %v", len(from), r.Shape()))
	}
	undo := func(result Rows) []Rows { return []Rows{Reorder(result, back(from))} }
	if len(r.Shape()) == 1 {
		c := rearranged(r, func(i int64) int64 { return from[i/size]*size + i%size })
		c.undo = undo
		return c
	}
	a := newArranged(r.Shape(), []Rows{r}, 1, func(first, n int64, yield func(run) bool) {
		for row := first; row < first+n; {
			next := min((row/size+1)*size, first+n) // the rows up to here are of the same block
			if !yield(run{first: from[row/size]*size + row%size, n: next - row, at: row - first, step: 1}) {
				return
			}
			row = next
		}
	})
	a.undo = undo
	return a
}

// Transpose returns the matrices of a tensor transposed: of the one that it is, or, if it
// has more dimensions, of each of them. That of a transposed tensor is the tensor itself.
// Where only rows can be read, all of a matrix is read for so many of its columns as Grain says.
func Transpose(r Rows) Rows {
	if t, ok := r.(*transposed); ok {
		return t.of
	}
	if n, ok := r.(Named); ok {
		if t, ok := n.Unnamed().(*transposed); ok {
			return &transposed{t.of, r}
		}
	}
	const columns = 256
	shape := slices.Clone(r.Shape())
	last := len(shape) - 1
	height, width := shape[last-1], shape[last]
	shape[last-1], shape[last] = width, height
	return &transposed{Compute(shape, r.Dtype(), columns, func(dst []float32, first, n int64) error {
		for n > 0 {
			matrix, column := first/width, first%width
			some := min(n, width-column)
			if err := readColumns(r, dst[:some*height], matrix*height, height, column, some); err != nil {
				return err
			}
			dst, first, n = dst[some*height:], first+some, n-some
		}
		return nil
	}, r), r}
}

// Named is a tensor that is another one, with something to tell of it.
type Named interface {
	Expression
	// Unnamed returns the other one.
	Unnamed() Rows
}

type transposed struct {
	Rows
	of Rows
}

func (t *transposed) Operands() []Rows         { return []Rows{t.of} }
func (t *transposed) Blocks() (*Blocks, error) { return BlocksOf(t.Rows) }

// readColumns fills dst with n columns from column on, one after the other, of so many
// rows from row first on.
func readColumns(r Rows, dst []float32, first, rows, column, n int64) error {
	_, length := Count(r.Shape())
	some := max(r.Grain(), 16)
	from, width := column, length // of the rows that are read together
	read := r.ReadRows
	if named, ok := r.(Named); ok {
		r = named.Unnamed()
	}
	if e, ok := r.(Elements); ok {
		from, width = 0, n
		read = func(dst []float32, first, rows int64) error {
			return readParts(e, dst, first*length+column, rows, length)
		}
	}
	buf := floats.get(some * width)
	defer floats.put(buf)
	for y := int64(0); y < rows; y += some {
		part := (*buf)[:min(some, rows-y)*width]
		if err := read(part, first+y, min(some, rows-y)); err != nil {
			return err
		}
		for i := range min(some, rows-y) {
			for x, v := range part[i*width+from:][:n] {
				dst[int64(x)*rows+y+i] = v
			}
		}
	}
	return nil
}

// readParts fills dst with as many elements of each of so many rows, the first of them from
// element first on, the others length behind each other.
func readParts(r Elements, dst []float32, first, rows, length int64) error {
	n := int64(len(dst)) / rows
	buf := raw.get(n * int64(r.Dtype().Size()))
	defer raw.put(buf)
	for i := range rows {
		if err := r.ReadElements(*buf, first+i*length); err != nil {
			return err
		}
		r.Dtype().Float32(dst[i*n:][:n], *buf)
	}
	return nil
}

// arranged has rows of other tensors in another order.
type arranged struct {
	shape  []int64
	dtype  Dtype
	grain  int64
	mixed  bool // the operands are of several types
	length int64
	parts  []Rows
	runs   func(first, n int64, yield func(run) bool)
	undo   func(result Rows) []Rows // what parts are, if this is result; nil if that cannot be told
}

// run is n rows of one of the parts, from row first on, skip of them left out between two,
// that are the rows at, at + step and so on of what is read.
type run struct {
	part           int64
	first, n, skip int64
	at, step       int64
}

func newArranged(shape []int64, parts []Rows, grain int64, runs func(first, n int64, yield func(run) bool)) *arranged {
	a := &arranged{shape: shape, dtype: parts[0].Dtype(), grain: grain, parts: parts, runs: runs}
	_, a.length = Count(shape)
	for _, p := range parts {
		a.grain = max(a.grain, p.Grain())
		a.mixed = a.mixed || p.Dtype() != a.dtype
	}
	if a.mixed {
		a.dtype = F32
	}
	return a
}

func (a *arranged) Shape() []int64   { return a.shape }
func (a *arranged) Dtype() Dtype     { return a.dtype }
func (a *arranged) Grain() int64     { return a.grain }
func (a *arranged) Operands() []Rows { return a.parts }

func (a *arranged) ReadRows(dst []float32, first, n int64) error {
	return arrange(dst, a.length, a.between(first, n), func(part int64, dst []float32, first, n int64) error {
		return a.parts[part].ReadRows(dst, first, n)
	}, &floats)
}

func (a *arranged) ReadRaw(dst []byte, first, n int64) error {
	if a.mixed {
		return encodeRows(a, dst, first, n)
	}
	return arrange(dst, a.length*int64(a.dtype.Size()), a.between(first, n), func(part int64, dst []byte, first, n int64) error {
		return a.parts[part].ReadRaw(dst, first, n)
	}, &raw)
}

func (a *arranged) between(first, n int64) iter.Seq[run] {
	return func(yield func(run) bool) { a.runs(first, n, yield) }
}

// arrange reads runs into dst, where a row takes so many values.
func arrange[T any](dst []T, length int64, runs iter.Seq[run], read func(part int64, dst []T, first, n int64) error, s *scratch[T]) error {
	for r := range runs {
		if r.step == 1 && r.skip == 0 {
			if err := read(r.part, dst[r.at*length:][:r.n*length], r.first, r.n); err != nil {
				return err
			}
			continue
		}
		every := 1 + r.skip
		rows := (r.n-1)*every + 1
		buf := s.get(rows * length)
		err := read(r.part, *buf, r.first, rows)
		for i := range r.n {
			copy(dst[(r.at+i*r.step)*length:][:length], (*buf)[i*every*length:])
		}
		s.put(buf)
		if err != nil {
			return err
		}
	}
	return nil
}
