package infer

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
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

// form is how the factors of a product are held. It is a matter of the weight:
// see Model.form.
type form int

const (
	float32s form = iota
	int8s
	bfloat16s
	forms int = iota
)

// bytes returns about how many bytes an element takes.
func (f form) bytes() int { return [forms]int{float32s: 4, int8s: 1, bfloat16s: 2}[f] }

// left is the packed left factor of products, in the forms that they need.
type left struct {
	floats []float32
	ints   kernel.LeftInt8
	pairs  []kernel.Pair // of bfloat16
}

// reset makes room for rows of k in form f.
func (l *left) reset(f form, rows, k int) {
	switch f {
	case float32s:
		sized(&l.floats, kernel.LeftLen(rows, k))
	case int8s:
		l.ints.Reset(rows, k)
	case bfloat16s:
		sized(&l.pairs, kernel.LeftLen(rows, kernel.Pairs(k)))
	}
}

// put packs n rows of src, of k elements each, as rows from first on, where a
// panel begins. n is at most kernel.TileRows.
func (l *left) put(w *worker, f form, first int, src []float32, n, k int) {
	switch f {
	case float32s:
		kernel.PackLeft(l.floats[first*k:], src, k, n, k)
	case int8s:
		for i := range n {
			l.ints.Put(first+i, src[i*k:])
		}
	case bfloat16s:
		width := kernel.Pairs(k)
		rows := sized(&w.pairs, n*width)
		for i := range n {
			kernel.RoundPairs(rows[i*width:], src[i*k:][:k])
		}
		kernel.PackLeft(l.pairs[first*width:], rows, width, n, width)
	}
}

// pack packs rows of k floats of src, those listed, or one for each token if
// the list is nil, for products with the given weights.
func (p *pass) pack(ctx context.Context, src []float32, k int, rows []int, weights ...matrix) error {
	n := p.tokens
	if rows != nil {
		n = len(rows)
	}
	var needed [forms]bool
	for _, w := range weights {
		if !needed[w.form] {
			needed[w.form] = true
			p.left.reset(w.form, n, k)
		}
	}
	panels := (n + kernel.TileRows - 1) / kernel.TileRows
	return parallel(ctx, p.workers, panels, func(w *worker, panel int) error {
		first := panel * kernel.TileRows
		count := min(kernel.TileRows, n-first)
		var part []float32
		if rows == nil {
			part = src[first*k:]
		} else {
			part = sized(&w.rows, count*k)
			for i, row := range rows[first:][:count] {
				copy(part[i*k:][:k], src[row*k:])
			}
		}
		for f, ok := range needed {
			if ok {
				p.left.put(w, form(f), first, part, count, k)
			}
		}
		return nil
	})
}

// slab is a packed part of a weight.
type slab struct {
	floats []float32
	ints   kernel.RightInt8
	pairs  []kernel.Pair
}

// product multiplies the rows packed in p.left with w: dst, rows x
// w.rows, becomes left·wᵀ + bias, or has it added if add is set. The rows of w
// are read, dequantized and packed once, a slab at a time.
func (p *pass) product(ctx context.Context, dst []float32, rows int, w matrix, add bool) error {
	if rows == 0 {
		return nil
	}
	slabRows := max(1, slabBytes/(kernel.RightLen(1, w.cols)*w.form.bytes())) * kernel.TileCols
	for first := 0; first < w.rows; first += slabRows {
		n := min(slabRows, w.rows-first)
		if err := p.load(ctx, w, first, n); err != nil {
			return err
		}
		across := (n + taskCols - 1) / taskCols
		down := (rows + taskRows - 1) / taskRows
		err := parallel(ctx, p.workers, across*down, func(_ *worker, task int) error {
			i, j := task/across*taskRows, task%across*taskCols
			height, width := min(taskRows, rows-i), min(taskCols, n-j)
			c := dst[i*w.rows+first+j:]
			prepare(c, w.rows, height, width, w.bias, first+j, add)
			switch w.form {
			case float32s:
				kernel.Mul(c, w.rows, p.left.floats[i*w.cols:], p.slab.floats[j*w.cols:], height, width, w.cols)
			case int8s:
				kernel.MulInt8(c, w.rows, &p.left.ints, i, height, &p.slab.ints, j, width)
			case bfloat16s:
				pairs := kernel.Pairs(w.cols)
				kernel.Mul(c, w.rows, p.left.pairs[i*pairs:], p.slab.pairs[j*pairs:], height, width, pairs)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if p.m.input != nil {
		return p.observe(ctx, rows, w)
	}
	return nil
}

// observe tells Options.Input of a product.
func (p *pass) observe(ctx context.Context, rows int, w matrix) error {
	squares := make([]float64, w.cols)
	// Sums do not depend on the number of threads, since every column is one
	// task's.
	err := blocks(ctx, p.workers, w.cols, taskCols, func(first, end int) {
		kernel.AddSquares(squares[first:end], p.left.floats, rows, w.cols, first)
	})
	if err != nil {
		return err
	}
	info := p.m.src.Tensors()[w.tensor]
	p.m.input(Input{info.Name, w.first / w.rows, int(info.Rows()) / w.rows, rows, squares})
	return nil
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

// load reads n rows of w and packs them into p.slab.
func (p *pass) load(ctx context.Context, w matrix, first, n int) error {
	pairs := kernel.Pairs(w.cols)
	switch w.form {
	case float32s:
		sized(&p.slab.floats, kernel.RightLen(n, w.cols))
	case int8s:
		p.slab.ints.Reset(n, w.cols)
	case bfloat16s:
		sized(&p.slab.pairs, kernel.RightLen(n, pairs))
	}
	panels := (n + kernel.TileCols - 1) / kernel.TileCols
	kept := p.reuse.find(p.m, w)
	return parallel(ctx, p.workers, panels, func(worker *worker, panel int) error {
		at := panel * kernel.TileCols
		count := min(kernel.TileCols, n-at)
		pack := func(raw []byte) error { return p.packSlab(worker, w, at, count, raw) }
		if kept == nil {
			return p.m.useRows(worker, w, first+at, count, pack)
		}
		raw, err := kept.panel(p.m, w, first+at, count)
		if err != nil {
			return err
		}
		return pack(raw)
	})
}

// packSlab packs count rows of w as rows of the slab, from number at on.
func (p *pass) packSlab(worker *worker, w matrix, at, count int, raw []byte) error {
	rowBytes := len(raw) / count
	switch w.form {
	case float32s:
		rows := sized(&worker.rows, count*w.cols)
		if err := p.m.dequantize(rows, w, raw); err != nil {
			return err
		}
		kernel.PackRight(p.slab.floats[at*w.cols:], rows, w.cols, count, w.cols)
	case int8s:
		// One by one, so that the floats stay in the first cache.
		row := sized(&worker.rows, w.cols)
		for i := range count {
			if err := p.m.dequantize(row, w, raw[i*rowBytes:][:rowBytes]); err != nil {
				return err
			}
			p.slab.ints.Put(at+i, row)
		}
	case bfloat16s:
		pairs := kernel.Pairs(w.cols)
		rows := sized(&worker.pairs, count*pairs)
		for i := range count {
			kernel.ReadPairs(rows[i*pairs:], raw[i*rowBytes:][:rowBytes])
		}
		kernel.PackRight(p.slab.pairs[at*pairs:], rows, pairs, count, pairs)
	}
	return nil
}

// read dequantizes n rows of w to dst.
func (m *Model) read(worker *worker, dst []float32, w matrix, first, n int) error {
	return m.useRows(worker, w, first, n, func(raw []byte) error { return m.dequantize(dst, w, raw) })
}

// dequantize dequantizes rows of w to dst.
func (m *Model) dequantize(dst []float32, w matrix, raw []byte) error {
	info := m.src.Tensors()[w.tensor]
	if err := quant.Dequantize(info.Type, dst, raw, w.cols); err != nil {
		return fmt.Errorf("tensor %q: %w", info.Name, err)
	}
	return nil
}

// useRows calls use with n rows of w as the Source stores them.
func (m *Model) useRows(worker *worker, w matrix, first, n int, use func(raw []byte) error) error {
	rowBytes := m.src.Tensors()[w.tensor].RowBytes()
	m.bytesRead.Add(int64(n) * rowBytes)
	if raw, mapped := gguf.MappedRows(m.src, w.tensor, int64(w.first+first), int64(n)); raw != nil {
		return mapped.Guard(func() error { return use(raw) })
	}
	raw := sized(&worker.raw, n*int(rowBytes))
	if err := m.src.ReadRows(raw, w.tensor, int64(w.first+first), int64(n)); err != nil {
		return err
	}
	return use(raw)
}
