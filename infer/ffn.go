package infer

import (
	"context"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// normalize sets p.normed to the RMS norm of the residual stream.
func (p *pass) normalize(ctx context.Context, weight []float32) error {
	width := p.m.width
	return blocks(ctx, p.workers, p.tokens, taskRows, func(first, end int) {
		for at := first * width; at < end*width; at += width {
			rmsNorm(p.normed[at:][:width], p.x[at:][:width], weight, p.m.epsilon)
		}
	})
}

// rmsNorm sets dst to weight · x / sqrt(mean(x²) + epsilon) (arXiv 1910.07467).
func rmsNorm(dst, x, weight []float32, epsilon float64) {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	factor := float32(1 / math.Sqrt(sum/float64(len(x))+epsilon))
	dst, weight = dst[:len(x)], weight[:len(x)]
	for i, v := range x {
		dst[i] = v * factor * weight[i]
	}
}

// feedForward adds the dense feed-forward network of layer l to the residual
// stream.
func (p *pass) feedForward(ctx context.Context, l *layer) error {
	if err := p.normalize(ctx, l.ffnNorm); err != nil {
		return err
	}
	if err := p.pack(ctx, p.normed, p.m.width, nil, l.gate[0], l.up[0]); err != nil {
		return err
	}
	if err := p.swiGLU(ctx, p.tokens, l.gate[0], l.up[0], l.down[0].form); err != nil {
		return err
	}
	return p.product(ctx, p.x, p.tokens, l.down[0], true)
}

// swiGLU replaces the rows packed in p.left by silu(gate·row) · (up·row), in
// form f (arXiv 2002.05202).
func (p *pass) swiGLU(ctx context.Context, rows int, gate, up matrix, f form) error {
	hidden := gate.rows
	g, u := p.scratch[:rows*hidden], p.scratch[rows*hidden:][:rows*hidden]
	if err := p.product(ctx, g, rows, gate, false); err != nil {
		return err
	}
	if err := p.product(ctx, u, rows, up, false); err != nil {
		return err
	}
	p.left.reset(f, rows, hidden)
	panels := (rows + kernel.TileRows - 1) / kernel.TileRows
	return parallel(ctx, p.workers, panels, func(w *worker, panel int) error {
		first := panel * kernel.TileRows
		n := min(kernel.TileRows, rows-first)
		part := g[first*hidden:][:n*hidden]
		kernel.SiLUMul(part, u[first*hidden:])
		p.left.put(w, f, first, part, n, hidden)
		return nil
	})
}
