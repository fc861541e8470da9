package quant

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// DiffStatus says in what way a tensor of one model is another than that of the same name of another.
type DiffStatus string

// The ways, the worst first.
const (
	DiffOnlyA DiffStatus = "only in A"
	DiffOnlyB DiffStatus = "only in B"
	DiffShape DiffStatus = "shape" // so that no values can be compared
	DiffType  DiffStatus = "type"  // and perhaps the values
	DiffBytes DiffStatus = "bytes" // of one type, and perhaps the values
	DiffSame  DiffStatus = "same"  // type, shape and bytes
)

// TensorDiff is a tensor of two models, compared.
type TensorDiff struct {
	Name   string
	Status DiffStatus
	A, B   *gguf.TensorInfo // nil if there is none
	// Values is nil if they were not compared: if they are the same bytes, or cannot be read as numbers.
	Values *ValueDiff
}

// ValueDiff says how far the values of a tensor of B are from those of A. Elements of which one
// is NaN or infinite are left out of all but the counts.
type ValueDiff struct {
	// NMSE is the sum of squared differences divided by that of squared elements of A: 0 if both
	// are 0, and infinite if A alone is.
	NMSE float64
	// Cosine is that of the angle between the tensors, NaN if one is 0.
	Cosine    float64
	RMSE, Max float64 // of the differences
	// NonFiniteA and NonFiniteB are how many elements are NaN or infinite.
	NonFiniteA, NonFiniteB int64
	// Compared is how many elements are finite in both.
	Compared int64
}

// Diff compares the tensors of two models by their names, and returns them with the worst first: those
// that only one has, others in shape, and then by NMSE, the largest first. Progress, if not nil, is called with
// the elements done and in all, possibly by several goroutines at the same time.
func Diff(ctx context.Context, a, b gguf.Source, progress func(done, total int64)) ([]TensorDiff, error) {
	index := byName(b.Tensors())
	var total int64
	var all []TensorDiff
	type both struct{ diff, a, b int }
	var pairs []both
	for i, t := range a.Tensors() {
		j, ok := index[t.Name]
		delete(index, t.Name)
		d := TensorDiff{Name: t.Name, Status: DiffOnlyA, A: &a.Tensors()[i]}
		switch {
		case !ok:
		case !t.SameShape(b.Tensors()[j]):
			d.Status, d.B = DiffShape, &b.Tensors()[j]
		default:
			d.B = &b.Tensors()[j]
			pairs = append(pairs, both{len(all), i, j})
			total += t.Elements()
		}
		all = append(all, d)
	}
	for i, t := range b.Tensors() {
		if _, only := index[t.Name]; only {
			all = append(all, TensorDiff{Name: t.Name, Status: DiffOnlyB, B: &b.Tensors()[i]})
		}
	}
	step := counter(total, progress)
	for _, p := range pairs {
		var err error
		d := &all[p.diff]
		if d.Status, d.Values, err = diffTensor(ctx, a, p.a, b, p.b, step); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(x, y TensorDiff) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(y.badness(), x.badness()))
	})
	return all, nil
}

// rank is what tensors are sorted by first.
func (d TensorDiff) rank() int {
	switch d.Status {
	case DiffOnlyA:
		return 0
	case DiffOnlyB:
		return 1
	case DiffShape:
		return 2
	case DiffSame:
		return 4
	}
	return 3
}

// badness is what tensors of the same rank are sorted by. What cannot be measured comes first.
func (d TensorDiff) badness() float64 {
	if d.Values == nil || d.Values.NonFiniteA != d.Values.NonFiniteB {
		return math.Inf(1)
	}
	return d.Values.NMSE
}

// diffTensor compares a tensor of a with one of b of the same shape.
func diffTensor(ctx context.Context, a gguf.Source, ai int, b gguf.Source, bi int, step func(elements int64)) (DiffStatus, *ValueDiff, error) {
	ta, tb := a.Tensors()[ai], b.Tensors()[bi]
	numbers := CanDequantize(ta.Type) && CanDequantize(tb.Type)
	// What is the same bytes is made numbers only if other rows are not.
	type chunk struct {
		same bool
		tally
	}
	look := func(v *pair, first, n int64, again bool) (c chunk, err error) {
		same, err := v.sameBytes(a, ai, b, bi, first, n)
		if err != nil {
			return c, err
		}
		c.same = same && ta.Type == tb.Type
		if !numbers || c.same && !again {
			return c, nil
		}
		if err := v[0].dequantize(ta); err != nil {
			return c, err
		}
		if err := v[1].dequantize(tb); err != nil {
			return c, err
		}
		c.tally = tallyOf(v[0].x, v[1].x)
		return c, nil
	}
	chunks, err := inChunks(ctx, ta, func(v *pair, first, n int64) (chunk, error) {
		defer step(n * ta.RowLen())
		return look(v, first, n, false)
	})
	if err != nil {
		return "", nil, err
	}
	status := DiffBytes
	switch {
	case ta.Type != tb.Type:
		status = DiffType
	case !slices.ContainsFunc(chunks, func(c chunk) bool { return !c.same }):
		return DiffSame, nil, nil
	}
	if !numbers {
		return status, nil, nil
	}
	if slices.ContainsFunc(chunks, func(c chunk) bool { return c.same }) {
		rows := chunkRows(ta)
		again, err := inChunks(ctx, ta, func(v *pair, first, n int64) (chunk, error) {
			if c := chunks[first/rows]; !c.same {
				return c, nil
			}
			return look(v, first, n, true)
		})
		if err != nil {
			return "", nil, err
		}
		chunks = again
	}
	var sum tally
	for _, c := range chunks {
		sum.add(c.tally)
	}
	return status, sum.values(), nil
}

// tally are sums over the elements of two tensors.
type tally struct {
	squares, a, b, dot, max float64
	nonFiniteA, nonFiniteB  int64
	compared                int64
}

func (t *tally) add(u tally) {
	t.squares += u.squares
	t.a += u.a
	t.b += u.b
	t.dot += u.dot
	t.max = max(t.max, u.max)
	t.nonFiniteA += u.nonFiniteA
	t.nonFiniteB += u.nonFiniteB
	t.compared += u.compared
}

func (t *tally) values() *ValueDiff {
	v := &ValueDiff{Max: t.max, NonFiniteA: t.nonFiniteA, NonFiniteB: t.nonFiniteB, Compared: t.compared, Cosine: math.NaN()}
	if t.squares > 0 {
		v.NMSE = t.squares / t.a
		v.RMSE = math.Sqrt(t.squares / float64(t.compared))
	}
	if t.a > 0 && t.b > 0 {
		// Rounding must not make an angle of less than 0.
		v.Cosine = max(-1, min(1, t.dot/math.Sqrt(t.a)/math.Sqrt(t.b)))
	}
	return v
}

func tallyOf(a, b []float32) tally {
	var squares, aa, bb, dot, largest float64 // variables of their own stay in registers
	b = b[:len(a)]
	for i, v := range a {
		x, y := float64(v), float64(b[i])
		d := math.Abs(x - y)
		squares += float64(d * d)
		aa += float64(x * x)
		bb += float64(y * y)
		dot += float64(x * y)
		if d > largest {
			largest = d
		}
	}
	if sum := squares + aa + bb; !math.IsNaN(sum) && !math.IsInf(sum, 0) { // the squares of float32 are far below the largest float64
		return tally{squares: squares, a: aa, b: bb, dot: dot, max: largest, compared: int64(len(a))}
	}
	var t tally
	for i, v := range a {
		x, y := float64(v), float64(b[i])
		badA, badB := math.IsNaN(x) || math.IsInf(x, 0), math.IsNaN(y) || math.IsInf(y, 0)
		if badA {
			t.nonFiniteA++
		}
		if badB {
			t.nonFiniteB++
		}
		if badA || badB {
			continue
		}
		d := x - y
		t.add(tally{squares: float64(d * d), a: float64(x * x), b: float64(y * y), dot: float64(x * y), max: math.Abs(d), compared: 1})
	}
	return t
}
