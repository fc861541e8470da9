package infer

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant"
)

// slabFloats bounds the weights that are held in float32 at a time: 32 MiB.
const slabFloats = 8 << 20

// One task of a product: its part of the result stays within a core's cache.
const (
	taskRows = 8 * kernel.TileRows
	taskCols = 8 * kernel.TileCols
)

// product multiplies the packed rows x w.cols matrix left with w: dst, rows x
// w.rows, becomes left·wᵀ + bias, or has it added if add is set. The rows of w
// are read, dequantized and packed once, a slab at a time.
func (p *pass) product(ctx context.Context, dst, left []float32, rows int, w matrix, add bool) error {
	if rows == 0 {
		return nil
	}
	slabRows := max(1, slabFloats/kernel.RightLen(1, w.cols)) * kernel.TileCols
	for first := 0; first < w.rows; first += slabRows {
		n := min(slabRows, w.rows-first)
		slab := sized(&p.slab, kernel.RightLen(n, w.cols))
		panels := (n + kernel.TileCols - 1) / kernel.TileCols
		err := parallel(ctx, p.workers, panels, func(worker *worker, panel int) error {
			at := panel * kernel.TileCols
			return p.m.load(worker, slab[at*w.cols:], w, first+at, min(kernel.TileCols, n-at))
		})
		if err != nil {
			return err
		}
		across := (n + taskCols - 1) / taskCols
		down := (rows + taskRows - 1) / taskRows
		err = parallel(ctx, p.workers, across*down, func(_ *worker, task int) error {
			i, j := task/across*taskRows, task%across*taskCols
			height, width := min(taskRows, rows-i), min(taskCols, n-j)
			c := dst[i*w.rows+first+j:]
			prepare(c, w.rows, height, width, w.bias, first+j, add)
			kernel.Mul(c, w.rows, left[i*w.cols:], slab[j*w.cols:], height, width, w.cols)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if p.m.input != nil {
		return p.observe(ctx, left, rows, w)
	}
	return nil
}

// observe tells Options.Input of a product.
func (p *pass) observe(ctx context.Context, left []float32, rows int, w matrix) error {
	squares := make([]float64, w.cols)
	// Sums do not depend on the number of threads, since every column is one
	// task's.
	err := blocks(ctx, p.workers, w.cols, taskCols, func(first, end int) {
		kernel.AddSquares(squares[first:end], left, rows, w.cols, first)
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

// load reads n rows of w, at most kernel.TileCols, and packs them.
func (m *Model) load(worker *worker, dst []float32, w matrix, first, n int) error {
	rows := sized(&worker.rows, n*w.cols)
	if err := m.read(worker, rows, w, first, n); err != nil {
		return err
	}
	kernel.PackRight(dst, rows, w.cols, n, w.cols)
	return nil
}

// read dequantizes n rows of w to dst.
func (m *Model) read(worker *worker, dst []float32, w matrix, first, n int) error {
	info := m.src.Tensors()[w.tensor]
	raw, err := m.rows(worker, w, first, n)
	if err != nil {
		return err
	}
	if err := quant.Dequantize(info.Type, dst, raw); err != nil {
		return fmt.Errorf("tensor %q: %w", info.Name, err)
	}
	return nil
}

// rows returns n rows of w as the Source stores them, until the worker's next
// call.
func (m *Model) rows(worker *worker, w matrix, first, n int) ([]byte, error) {
	if f, ok := m.src.(mapped); ok {
		if raw := f.Rows(w.tensor, int64(w.first+first), int64(n)); raw != nil {
			return raw, nil
		}
	}
	raw := sized(&worker.raw, n*int(m.src.Tensors()[w.tensor].RowBytes()))
	return raw, m.src.ReadRows(raw, w.tensor, int64(w.first+first), int64(n))
}
