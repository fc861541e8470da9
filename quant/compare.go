package quant

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
)

// Difference says how far a tensor is from the original.
type Difference struct {
	Name string
	// Type is the tensor's own, not the original's.
	Type gguf.Type
	// RMSE is the root of the mean squared difference of the elements.
	RMSE float64
	// NMSE is the sum of squared differences divided by that of the original's
	// elements; 0 if both are 0.
	NMSE float64
	// Max is the largest difference of an element.
	Max float64
	// Squares is the sum of squared differences, and Original that of squared elements of
	// the original.
	Squares, Original float64
}

// TotalNMSE returns the NMSE of all elements of several tensors.
func TotalNMSE(differences []Difference) float64 {
	var all sums
	for _, d := range differences {
		all.squares += d.Squares
		all.original += d.Original
	}
	return all.nmse()
}

// compareElements is how many elements are compared at a time by each thread,
// unless one row has more. Each takes 16 bytes.
const compareElements = 256 << 10

// Compare reads every tensor of src and of the original of the same name, and
// returns the differences in the order of src. It is an error if a tensor of src
// has no original of the same shape, or if a block of either is not valid: see
// Validate. What has a type without codec, such as I32, cannot be compared but with the
// same bytes. Progress, if not nil, is called with the elements done and in all,
// possibly by several goroutines at the same time.
func Compare(ctx context.Context, src, original gguf.Source, progress func(done, total int64)) ([]Difference, error) {
	index := byName(original.Tensors())
	var total int64
	for _, t := range src.Tensors() {
		i, ok := index[t.Name]
		if !ok {
			return nil, fmt.Errorf("tensor %q has no original", t.Name)
		}
		o := original.Tensors()[i]
		if o.RowLen() != t.RowLen() || o.Rows() != t.Rows() {
			return nil, fmt.Errorf("tensor %q has shape %v, the original %v", t.Name, t.Shape, o.Shape)
		}
		total += t.Elements()
	}
	step := counter(total, progress)
	differences := make([]Difference, len(src.Tensors()))
	for i, t := range src.Tensors() {
		sums, err := compareTensor(ctx, src, i, original, index[t.Name], step)
		if err != nil {
			return nil, err
		}
		rmse := math.Sqrt(sums.squares / float64(t.Elements()))
		differences[i] = Difference{Name: t.Name, Type: t.Type, RMSE: rmse, NMSE: sums.nmse(), Max: sums.max, Squares: sums.squares, Original: sums.original}
	}
	return differences, nil
}

// byName returns the index of each tensor.
func byName(tensors []gguf.TensorInfo) map[string]int {
	index := make(map[string]int, len(tensors))
	for i, t := range tensors {
		index[t.Name] = i
	}
	return index
}

// counter returns what counts n more of total as done, and tells progress, if that is not nil: one call at a time.
func counter(total int64, progress func(done, total int64)) func(n int64) {
	var mu sync.Mutex
	var done int64
	return func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		if progress != nil {
			progress(done, total)
		}
	}
}

// sums are of squared differences and of squared elements of the original.
type sums struct{ squares, original, max float64 }

func (s sums) nmse() float64 {
	if s.squares == 0 {
		return 0
	}
	return s.squares / s.original
}

// sum returns the sums of a compared with b, which are finite.
func sum(a, b []float32) sums {
	var squares, original, largest float64 // variables of their own stay in registers
	b = b[:len(a)]
	for i, v := range a {
		o := float64(b[i])
		d := math.Abs(float64(v) - o)
		squares += float64(d * d)
		original += float64(o * o)
		if d > largest {
			largest = d
		}
	}
	return sums{squares, original, largest}
}

// compareTensor compares chunks of rows in parallel and adds up their sums in
// order, so that threads do not change the result.
func compareTensor(ctx context.Context, a gguf.Source, ai int, b gguf.Source, bi int, step func(elements int64)) (sums, error) {
	t := a.Tensors()[ai]
	chunks, err := inChunks(ctx, t, func(v *pair, first, n int64) (sums, error) {
		defer step(n * t.RowLen())
		if !CanDequantize(t.Type) && b.Tensors()[bi].Type == t.Type {
			return v.same(a, ai, b, bi, first, n)
		}
		return v.compare(a, ai, b, bi, first, n)
	})
	if err != nil {
		return sums{}, err
	}
	var all sums
	for _, c := range chunks {
		all.squares += c.squares
		all.original += c.original
		all.max = max(all.max, c.max)
	}
	return all, nil
}

// chunkRows returns how many rows of a tensor are compared at a time.
func chunkRows(t gguf.TensorInfo) int64 { return max(1, compareElements/t.RowLen()) }

// inChunks returns what look makes of each chunk of the rows of a tensor, in order, several at a time.
func inChunks[Result any](ctx context.Context, t gguf.TensorInfo, look func(v *pair, first, n int64) (Result, error)) ([]Result, error) {
	rows := chunkRows(t)
	chunks := make([]Result, (t.Rows()+rows-1)/rows)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	pool := sync.Pool{New: func() any { return new(pair) }}
	for c := range chunks {
		group.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			first := int64(c) * rows
			v := pool.Get().(*pair)
			defer pool.Put(v)
			chunks[c], err = look(v, first, min(rows, t.Rows()-first))
			return err
		})
	}
	return chunks, group.Wait()
}

// pair are the rows that are compared.
type pair [2]values

// compare returns the sums of n rows of a compared with those of b.
func (p *pair) compare(a gguf.Source, ai int, b gguf.Source, bi int, first, n int64) (sums, error) {
	if err := p[0].read(a, ai, first, n); err != nil {
		return sums{}, err
	}
	if err := p[1].read(b, bi, first, n); err != nil {
		return sums{}, err
	}
	return sum(p[0].x, p[1].x), nil
}

// same returns an error if n rows of a and b are not the same bytes.
func (p *pair) same(a gguf.Source, ai int, b gguf.Source, bi int, first, n int64) (sums, error) {
	t := a.Tensors()[ai]
	same, err := p.sameBytes(a, ai, b, bi, first, n)
	if err != nil {
		return sums{}, err
	}
	if !same {
		return sums{}, fmt.Errorf("%w: tensor %q: rows %d to %d are not those of the original", gguf.ErrCorrupt, t.Name, first, first+n-1)
	}
	return sums{}, nil
}

// sameBytes reads n rows of a and b, and reports whether they are the same bytes.
func (p *pair) sameBytes(a gguf.Source, ai int, b gguf.Source, bi int, first, n int64) (bool, error) {
	if err := p[0].fetch(a, ai, first, n); err != nil {
		return false, err
	}
	if err := p[1].fetch(b, bi, first, n); err != nil {
		return false, err
	}
	return bytes.Equal(p[0].raw, p[1].raw), nil
}

// values are rows of a tensor, as they are and as float32.
type values struct {
	raw []byte
	x   []float32
}

// read reads n rows, and checks their blocks.
func (v *values) read(src gguf.Source, tensor int, first, n int64) error {
	if err := v.fetch(src, tensor, first, n); err != nil {
		return err
	}
	t := src.Tensors()[tensor]
	if err := validateRows(t, v.raw, first); err != nil {
		return err
	}
	return v.dequantize(t)
}

// fetch reads n rows as they are.
func (v *values) fetch(src gguf.Source, tensor int, first, n int64) error {
	v.raw = resize(v.raw, n*src.Tensors()[tensor].RowBytes())
	return src.ReadRows(v.raw, tensor, first, n)
}

// dequantize makes floats of the rows of a tensor that fetch has read.
func (v *values) dequantize(t gguf.TensorInfo) error {
	v.x = resize(v.x, int64(len(v.raw))/t.RowBytes()*t.RowLen())
	if err := Dequantize(t.Type, v.x, v.raw, int(t.RowLen())); err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return nil
}
