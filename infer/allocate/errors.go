package allocate

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// Rows of a tensor of which the errors are measured: so many of all its matrices, but so many
// of each at least. Rows are quantized one by one, so that theirs are those that they have in a file.
const (
	rowsOfTensor = 128
	rowsOfMatrix = 16
)

// What bounds the rows beside that: quantizing them to all types is to take no more than half of what the products with their
// matrix take in a run. Times are in those that it takes to get a weight ready for products.
const (
	quantizeTime = 30      // of the slowest types
	productTime  = 1. / 32 // of a weight with one token
)

// rowsToMeasure returns of how many rows of a matrix the errors are measured, if its tensor has so many matrices, it was multiplied with so many
// tokens, and so many types are tried.
func rowsToMeasure(rows int64, matrices, tokens, types int) int64 {
	most := int64(float64(rows) * (1 + float64(tokens)*productTime) / float64(2*quantizeTime*types))
	return max(1, min(int64(max(rowsOfMatrix, rowsOfTensor/matrices)), most))
}

// meter measures what types change of the outputs of matrices.
//
// The output of a row w is w·x, and that of the quantized row differs by Δ·x. Over the inputs of a text
// the squares of that sum up to Σ Δⱼ²·Σ xⱼ², since the errors of columns are independent, or
// nearly. So all that has to be known of the inputs are their sums of squares, of which package infer tells
// layer by layer, and one pass serves all types.
type meter struct {
	base    gguf.Source
	parts   []part
	views   map[gguf.Type]gguf.Source // the base with all parts that can be of a type in it
	swapped gguf.Source               // the base with all parts swapped
	tokens  map[int32]int             // of the text, and how often each is there
	threads int
	index   map[string]int   // of parts, by name
	seen    map[int][]inputs // by part and matrix
	met     []bool           // parts that were seen
	sums    []errorSums      // of each part
}

// inputs are what a matrix was multiplied with.
type inputs struct {
	tokens  int
	squares []float64 // sum of them, of each column
}

// errorSums are sums of squares of outputs, and of what types change of them: all but the part's own, and behind them the swap.
type errorSums struct {
	output  float64
	changes []float64
}

func (s *errorSums) add(other errorSums) {
	s.output += other.output
	for i, change := range other.changes {
		s.changes[i] += change
	}
}

func newMeter(base gguf.Source, importance *imatrix.Matrix, parts []part, chunks [][]int32, threads int) (*meter, error) {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	m := &meter{
		base: base, parts: parts, threads: threads, views: make(map[gguf.Type]gguf.Source), tokens: make(map[int32]int), index: make(map[string]int),
		seen: make(map[int][]inputs), met: make([]bool, len(parts)), sums: make([]errorSums, len(parts)),
	}
	changes, swapped := make(map[gguf.Type]map[int]gguf.Type), make(map[int]gguf.Type)
	for i, p := range parts {
		m.index[base.Tensors()[p.tensor].Name] = i
		m.sums[i].changes = make([]float64, len(p.types))
		swapped[p.tensor] = p.swap
		for _, t := range p.types[1:] {
			if changes[t] == nil {
				changes[t] = make(map[int]gguf.Type)
			}
			changes[t][p.tensor] = t
		}
	}
	var err error
	if m.swapped, err = newVariant(base, importance, swapped); err != nil {
		return nil, err
	}
	for t, of := range changes {
		if m.views[t], err = newVariant(base, importance, of); err != nil {
			return nil, err
		}
	}
	for _, chunk := range chunks {
		for _, id := range chunk {
			m.tokens[id]++
		}
	}
	return m, nil
}

// see takes down what a matrix was multiplied with: infer.Options.Input.
func (m *meter) see(in infer.Input) {
	i, ok := m.index[in.Tensor]
	if !ok {
		return
	}
	m.met[i] = true
	if m.seen[i] == nil {
		m.seen[i] = make([]inputs, in.Matrices)
	}
	of := &m.seen[i][in.Matrix]
	of.tokens += in.Rows
	if of.squares == nil {
		of.squares = slices.Clone(in.Squares)
		return
	}
	for j, v := range in.Squares {
		of.squares[j] += v
	}
}

// sample is rows of a part to measure, and how much the columns and the rows count.
type sample struct {
	part    int
	columns []float64 // nil: all the same
	rows    []int64
	weights []float64 // of the rows; nil: all the same
}

// flush measures what was seen since the last time.
func (m *meter) flush(ctx context.Context) error {
	var samples []sample
	for _, i := range slices.Sorted(maps.Keys(m.seen)) {
		matrices := m.seen[i]
		each := m.base.Tensors()[m.parts[i].tensor].Rows() / int64(len(matrices))
		for number, in := range matrices {
			if in.squares != nil {
				rows := spread(each, rowsToMeasure(each, len(matrices), in.tokens, len(m.parts[i].types)))
				for r := range rows {
					rows[r] += int64(number) * each
				}
				samples = append(samples, sample{part: i, columns: in.squares, rows: rows})
			}
		}
	}
	clear(m.seen)
	return m.measure(ctx, samples)
}

// finish measures parts that were multiplied with nothing: rows of tokens are looked up in them.
func (m *meter) finish(ctx context.Context, vocabulary int) error {
	if err := m.flush(ctx); err != nil {
		return err
	}
	var samples []sample
	for i, p := range m.parts {
		rows := m.base.Tensors()[p.tensor].Rows()
		switch {
		case m.met[i]:
		case rows == int64(vocabulary):
			s := sample{part: i}
			ids := slices.Sorted(maps.Keys(m.tokens))
			for _, at := range spread(int64(len(ids)), 4*rowsOfTensor) {
				s.rows = append(s.rows, int64(ids[at]))
				s.weights = append(s.weights, float64(m.tokens[ids[at]]))
			}
			samples = append(samples, s)
		default:
			samples = append(samples, sample{part: i, rows: spread(rows, rowsOfTensor)})
		}
	}
	if err := m.measure(ctx, samples); err != nil {
		return err
	}
	for i := range m.parts {
		p, sums := &m.parts[i], m.sums[i]
		if sums.output == 0 {
			continue // nothing goes through it
		}
		for o := range p.types[1:] {
			p.errors[1+o] = sums.changes[o] / sums.output
		}
		p.swapError = sums.changes[len(p.types)-1] / sums.output
	}
	return nil
}

// spread returns most numbers below n, or all of them, evenly spread.
func spread(n, most int64) []int64 {
	most = min(n, most)
	numbers := make([]int64, most)
	for i := range most {
		numbers[i] = i * n / most
	}
	return numbers
}

// measure adds what is measured in samples to the sums of their parts.
func (m *meter) measure(ctx context.Context, samples []sample) error {
	sums := make([]errorSums, len(samples))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(m.threads)
	for n, s := range samples {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if sums[n], err = m.errorsOf(s); err != nil {
				return fmt.Errorf("%s: %w", m.base.Tensors()[m.parts[s.part].tensor].Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for n, s := range samples {
		m.sums[s.part].add(sums[n])
	}
	return nil
}

// errorsOf measures a sample.
func (m *meter) errorsOf(s sample) (errorSums, error) {
	p := m.parts[s.part]
	sums := errorSums{changes: make([]float64, len(p.types))}
	original, err := newRowReader(m.base, p.tensor)
	if err != nil {
		return sums, err
	}
	readers := make([]*rowReader, len(p.types))
	for o := range readers {
		view := m.swapped
		if o+1 < len(p.types) {
			view = m.views[p.types[o+1]]
		}
		if readers[o], err = newRowReader(view, p.tensor); err != nil {
			return sums, err
		}
	}
	for r, row := range s.rows {
		weight := 1.0
		if s.weights != nil {
			weight = s.weights[r]
		}
		values, err := original.read(row)
		if err != nil {
			return sums, err
		}
		sums.output += weight * weighted(values, nil, s.columns)
		for o, reader := range readers {
			quantized, err := reader.read(row)
			if err != nil {
				return sums, err
			}
			sums.changes[o] += weight * weighted(values, quantized, s.columns)
		}
	}
	return sums, nil
}

// weighted returns the sum of the squares of a, or of a - b, each times what its column counts.
func weighted(a, b []float32, columns []float64) (sum float64) {
	for j, v := range a {
		d := float64(v)
		if b != nil {
			d -= float64(b[j])
		}
		d *= d
		if columns != nil {
			d *= columns[j]
		}
		sum += d
	}
	return sum
}

// rowReader reads rows of a tensor as numbers.
type rowReader struct {
	src    gguf.Source
	tensor int
	info   gguf.TensorInfo
	raw    []byte
	values []float32
}

func newRowReader(src gguf.Source, tensor int) (*rowReader, error) {
	info := src.Tensors()[tensor]
	if !quant.CanDequantize(info.Type) {
		return nil, fmt.Errorf("%w: %s cannot be read", gguf.ErrUnsupported, info.Type)
	}
	return &rowReader{src, tensor, info, make([]byte, info.RowBytes()), make([]float32, info.RowLen())}, nil
}

// read returns a row, until the next call.
func (r *rowReader) read(row int64) ([]float32, error) {
	if err := r.src.ReadRows(r.raw, r.tensor, row, 1); err != nil {
		return nil, err
	}
	return r.values, quant.Dequantize(r.info.Type, r.values, r.raw, len(r.values))
}
