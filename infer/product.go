package infer

import (
	"context"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant"
)

// slabBytes bounds the packed weights that are held at a time.
const slabBytes = 32 << 20

// One task of a product: its part of the result stays within a core's cache.
const (
	taskRows = 8 * kernel.TileRows
	taskCols = 8 * kernel.TileCols
)

// form is how the factors of a product are held. It is a matter of the weight.
type form int

const (
	float32s form = iota
	int8s
	bfloat16s
	forms int = iota
)

// bytes returns how many bytes an element takes.
func (f form) bytes() int { return [forms]int{float32s: 4, int8s: 1, bfloat16s: 2}[f] }

// packed returns how many bytes so many elements take with their scales.
func (f form) packed(elements int) int64 {
	bytes := int64(elements) * int64(f.bytes())
	if f == int8s {
		bytes += 4 * int64(elements) / kernel.Int8Block
	}
	return bytes
}

// packedA is the left factor of products, packed in the forms that they need.
type packedA struct {
	floats []float32
	ints   kernel.PackedInt8A
	pairs  []kernel.Pair // of bfloat16
}

// reset makes room for rows of k in form f.
func (a *packedA) reset(f form, rows, k int) {
	switch f {
	case float32s:
		sized(&a.floats, kernel.PackedLenA(rows, k))
	case int8s:
		a.ints.Reset(rows, k)
	case bfloat16s:
		sized(&a.pairs, kernel.PackedLenA(rows, kernel.Pairs(k)))
	}
}

// put packs n rows of src, of k elements each, as rows from first on, where a
// panel begins. n is at most kernel.TileRows.
func (a *packedA) put(w *worker, f form, first int, src []float32, n, k int) {
	switch f {
	case float32s:
		kernel.PackA(a.floats[first*k:], src, k, n, k)
	case int8s:
		for i := range n {
			a.ints.Put(first+i, src[i*k:])
		}
	case bfloat16s:
		width := kernel.Pairs(k)
		rows := sized(&w.pairs, n*width)
		for i := range n {
			kernel.RoundPairs(rows[i*width:], src[i*k:][:k])
		}
		kernel.PackA(a.pairs[first*width:], rows, width, n, width)
	}
}

// pack packs n rows of src, those listed, or the first if the list is nil, for
// products with the given weights, which have rows as long. Each listed row is multiplied by its factor,
// if there are any.
func (b *batch) pack(ctx context.Context, src []float32, n int, rows []int, factors []float32, weights ...*graph.Matrix) error {
	k := weights[0].Cols
	panels, packed := b.cut(rows, n, weights...)
	var needed [forms]bool
	for _, w := range weights {
		if form := b.m.form(w); !needed[form] {
			needed[form] = true
			b.a.reset(form, packed, k)
		}
	}
	return parallel(ctx, b.workers, len(panels), func(w *worker, i int) error {
		first, count := panels[i].first, panels[i].n
		var part []float32
		if rows == nil {
			part = src[first*k:]
		} else {
			part = sized(&w.rows, count*k)
			for i, row := range rows[first:][:count] {
				copy(part[i*k:][:k], src[row*k:])
			}
			if factors != nil {
				weigh(part[:count*k], factors[first:][:count])
			}
		}
		for f, ok := range needed {
			if ok {
				b.a.put(w, form(f), panels[i].packed, part, count, k)
			}
		}
		return nil
	})
}

// piece is rows of a product that follow each other and are multiplied with the matrices of one model.
type piece struct {
	m        *Model
	first, n int
	packed   int // the first of them in packed A, where a panel begins
}

// cut finds the pieces of n rows, those listed or one for each token if the list is nil, that are multiplied with the given weights, and
// returns their panels and how many rows they take when they are packed. Each piece has panels of its own. There is one but for strands.
func (b *batch) cut(rows []int, n int, weights ...*graph.Matrix) (panels []piece, packed int) {
	b.pieces = b.pieces[:0]
	if b.owners == nil && n > 0 {
		b.pieces = append(b.pieces, piece{m: b.m, n: n})
	}
	for i := range min(n, len(b.owners)) {
		row := i
		if rows != nil {
			row = rows[i]
		}
		m := b.owners[row]
		if last := len(b.pieces) - 1; last >= 0 && b.pieces[last].m.same(m, weights) {
			b.pieces[last].n++
		} else {
			b.pieces = append(b.pieces, piece{m: m, first: i, n: 1})
		}
	}
	for i := range b.pieces {
		p := &b.pieces[i]
		p.packed = packed
		for first := 0; first < p.n; first += kernel.TileRows {
			panels = append(panels, piece{p.m, p.first + first, min(kernel.TileRows, p.n-first), packed})
			packed += kernel.TileRows
		}
	}
	return panels, packed
}

// same reports whether two forms of a model have matrices of the same types, and so the same matrices.
func (m *Model) same(other *Model, weights []*graph.Matrix) bool {
	if m == other {
		return true
	}
	for _, w := range weights {
		if m.src.Tensors()[w.Tensor].Type != other.src.Tensors()[w.Tensor].Type {
			return false
		}
	}
	return true
}

// packedB is the right factor of a product: a slab, as many rows of a weight as slabBytes
// hold.
type packedB struct {
	w      *graph.Matrix
	first  int // row of w
	floats []float32
	ints   kernel.PackedInt8B
	pairs  []kernel.Pair
}

// slabRows returns how many rows a slab has.
func slabRows(f form, w *graph.Matrix) int {
	return max(1, slabBytes/(kernel.PackedLenB(1, w.Cols)*f.bytes())) * kernel.TileCols
}

// heldWeights are slabs that stay packed while blocks of tokens are multiplied with them, one block after another.
type heldWeights struct {
	on    bool
	slabs [forms][]packedB // with room for as many as plan.held says
}

// forget makes room for others.
func (h *heldWeights) forget(on bool) {
	h.on = on
	for f := range h.slabs {
		h.slabs[f] = h.slabs[f][:0]
	}
}

// slab returns n rows of a model's w, packed, from a first one on. None are held where several models have w: see setting.whole.
func (b *batch) slab(ctx context.Context, m *Model, w *graph.Matrix, first, n int) (*packedB, error) {
	held := &b.held.slabs[b.m.form(w)]
	for i := range *held {
		if s := &(*held)[i]; s.w == w && s.first == first {
			return s, nil
		}
	}
	s := &b.b
	if len(*held) < cap(*held) && b.held.on {
		*held = (*held)[:len(*held)+1]
		s = &(*held)[len(*held)-1]
	}
	return s, b.load(ctx, s, m, w, first, n)
}

// product multiplies the rows packed in b.a with w: dst, rows x
// w.Rows, becomes a·wᵀ + bias, or has it added if add is set. The rows of w
// are read, dequantized and packed once, a slab at a time.
func (b *batch) product(ctx context.Context, dst []float32, rows int, w *graph.Matrix, add bool) error {
	if rows == 0 {
		return nil
	}
	left := slices.Clone(b.pieces)
	for len(left) > 0 {
		var now, later []piece
		for _, p := range left {
			if p.m.same(left[0].m, []*graph.Matrix{w}) {
				now = append(now, p)
			} else {
				later = append(later, p)
			}
		}
		if err := b.multiply(ctx, dst, now, w, add); err != nil {
			return err
		}
		left = later
	}
	if b.m.input != nil || b.m.sums != nil {
		return b.observe(ctx, rows, w)
	}
	return nil
}

// multiply is product for pieces whose models have the same w.
func (b *batch) multiply(ctx context.Context, dst []float32, pieces []piece, w *graph.Matrix, add bool) error {
	form := b.m.form(w)
	most := slabRows(form, w)
	var tasks []piece
	for _, p := range pieces {
		for first := 0; first < p.n; first += taskRows {
			tasks = append(tasks, piece{p.m, p.first + first, min(taskRows, p.n-first), p.packed + first})
		}
	}
	for first := 0; first < w.Rows; first += most {
		n := min(most, w.Rows-first)
		slab, err := b.slab(ctx, pieces[0].m, w, first, n)
		if err != nil {
			return err
		}
		across := (n + taskCols - 1) / taskCols
		err = parallel(ctx, b.workers, across*len(tasks), func(_ *worker, task int) error {
			p, j := tasks[task/across], task%across*taskCols
			width := min(taskCols, n-j)
			c := dst[p.first*w.Rows+first+j:]
			prepare(c, w.Rows, p.n, width, w.Bias, first+j, add)
			switch form {
			case float32s:
				kernel.Mul(c, w.Rows, b.a.floats[p.packed*w.Cols:], slab.floats[j*w.Cols:], p.n, width, w.Cols)
			case int8s:
				kernel.MulInt8(c, w.Rows, &b.a.ints, p.packed, p.n, &slab.ints, j, width)
			case bfloat16s:
				pairs := kernel.Pairs(w.Cols)
				kernel.Mul(c, w.Rows, b.a.pairs[p.packed*pairs:], slab.pairs[j*pairs:], p.n, width, pairs)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// observe tells Options.Input of a product.
func (b *batch) observe(ctx context.Context, rows int, w *graph.Matrix) error {
	whole := max(w.Rows, w.Whole)
	if w.First%whole != 0 {
		return nil // the first part of the matrix was multiplied with the same
	}
	info := b.m.src.Tensors()[w.Tensor]
	in := Input{Tensor: info.Name, Matrix: w.First / whole, Matrices: int(info.Rows()) / whole, Head: w.Head, Rows: rows, Cols: w.Cols}
	var squares []float64
	if b.m.sums == nil {
		squares = make([]float64, w.Cols)
	} else if squares = b.m.sums(in); squares == nil {
		return nil
	}
	// Sums do not depend on the number of threads, since every column is one
	// task's.
	err := stretches(ctx, b.workers, w.Cols, taskCols, func(first, end int) {
		kernel.AddSquares(squares[first:end], b.a.floats, rows, w.Cols, first)
	})
	if err == nil && b.m.sums == nil {
		in.Squares = squares
		b.m.input(in)
	}
	return err
}

// prepare gives a part of the result of a product, rows x cols with rows ld
// apart, what the product is added to.
func prepare(c []float32, ld, rows, cols int, bias []float32, first int, add bool) {
	for i := range rows {
		row := c[i*ld:][:cols]
		if !add {
			clear(row)
		}
		if bias != nil {
			for j, v := range bias[first:][:cols] {
				row[j] += v
			}
		}
	}
}

// load reads n rows of a model's w and packs them into a slab.
func (b *batch) load(ctx context.Context, slab *packedB, m *Model, w *graph.Matrix, first, n int) error {
	slab.w, slab.first = w, first
	pairs := kernel.Pairs(w.Cols)
	switch b.m.form(w) {
	case float32s:
		sized(&slab.floats, kernel.PackedLenB(n, w.Cols))
	case int8s:
		slab.ints.Reset(n, w.Cols)
	case bfloat16s:
		sized(&slab.pairs, kernel.PackedLenB(n, pairs))
	}
	panels := (n + kernel.TileCols - 1) / kernel.TileCols
	kept := b.reuse.find(m, w)
	return parallel(ctx, b.workers, panels, func(worker *worker, panel int) error {
		at := panel * kernel.TileCols
		count := min(kernel.TileCols, n-at)
		pack := func(raw []byte) error { return b.packRows(worker, slab, m, at, count, raw) }
		if kept == nil {
			return m.useRows(worker, w, first+at, count, pack)
		}
		raw, err := kept.panel(m, w, first+at, count)
		if err != nil {
			return err
		}
		return pack(raw)
	})
}

// packRows packs count rows of a model's matrix as rows of a slab, from number at on.
func (b *batch) packRows(worker *worker, slab *packedB, m *Model, at, count int, raw []byte) error {
	w := slab.w
	rowBytes := len(raw) / count
	switch m.form(w) {
	case float32s:
		rows := sized(&worker.rows, count*w.Cols)
		if err := m.dequantize(rows, w, raw); err != nil {
			return err
		}
		kernel.PackB(slab.floats[at*w.Cols:], rows, w.Cols, count, w.Cols)
	case int8s:
		// One by one, so that the floats stay in the first cache.
		row := sized(&worker.rows, w.Cols)
		for i := range count {
			if err := m.dequantize(row, w, raw[i*rowBytes:][:rowBytes]); err != nil {
				return err
			}
			slab.ints.Put(at+i, row)
		}
	case bfloat16s:
		pairs := kernel.Pairs(w.Cols)
		rows := sized(&worker.pairs, count*pairs)
		for i := range count {
			kernel.ReadPairs(rows[i*pairs:], raw[i*rowBytes:][:rowBytes])
		}
		kernel.PackB(slab.pairs[at*pairs:], rows, pairs, count, pairs)
	}
	return nil
}

// form returns how products with w are computed.
func (m *Model) form(w *graph.Matrix) form {
	if w.Exact {
		return float32s
	}
	return m.compute.form(m.src.Tensors()[w.Tensor].Type)
}

// dequantize dequantizes rows of w to dst.
func (m *Model) dequantize(dst []float32, w *graph.Matrix, raw []byte) error {
	info := m.src.Tensors()[w.Tensor]
	if err := quant.Dequantize(info.Type, dst, raw, w.Cols); err != nil {
		return fmt.Errorf("tensor %q: %w", info.Name, err)
	}
	return nil
}

// useRows calls use with n rows of w as the Source stores them.
func (m *Model) useRows(worker *worker, w *graph.Matrix, first, n int, use func(raw []byte) error) error {
	rowBytes := m.src.Tensors()[w.Tensor].RowBytes()
	m.addRead(int64(n) * rowBytes)
	if raw, mapped := gguf.MappedRows(m.src, w.Tensor, int64(w.First+first), int64(n)); raw != nil {
		return mapped.Guard(func() error { return use(raw) })
	}
	raw := sized(&worker.raw, n*int(rowBytes))
	if err := m.src.ReadRows(raw, w.Tensor, int64(w.First+first), int64(n)); err != nil {
		return err
	}
	return use(raw)
}
