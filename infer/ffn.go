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

// feedForward adds the network of layer l that every token goes through to the
// residual stream.
func (p *pass) feedForward(ctx context.Context, l *layer) error {
	if l.alwaysGate.rows == 0 {
		if err := p.swiGLU(ctx, nil, l.always); err != nil {
			return err
		}
		return p.product(ctx, p.x, p.tokens, l.always.down, true)
	}

	weights := make([]float32, p.tokens)
	if err := p.pack(ctx, p.normed, p.m.width, nil, l.alwaysGate); err != nil {
		return err
	}
	if err := p.product(ctx, weights, p.tokens, l.alwaysGate, false); err != nil {
		return err
	}
	if err := p.swiGLU(ctx, nil, l.always); err != nil {
		return err
	}
	width := p.m.width
	out := p.scratch[:p.tokens*width]
	if err := p.product(ctx, out, p.tokens, l.always.down, false); err != nil {
		return err
	}
	return blocks(ctx, p.workers, p.tokens, taskRows, func(first, end int) {
		for i := first; i < end; i++ {
			kernel.AddScaled(p.x[i*width:][:width], out[i*width:][:width], sigmoid(weights[i]))
		}
	})
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// swiGLU leaves silu(gate·row) · (up·row) (arXiv 2002.05202) packed in p.left for
// the down projection of n, for the rows of p.normed that are listed, or one for
// each token if the list is nil.
func (p *pass) swiGLU(ctx context.Context, list []int, n network) error {
	rows, hidden := p.tokens, n.gate.rows
	if list != nil {
		rows = len(list)
	}
	if err := p.pack(ctx, p.normed, p.m.width, list, n.gate, n.up); err != nil {
		return err
	}
	g, u := p.scratch[:rows*hidden], p.scratch[rows*hidden:][:rows*hidden]
	if err := p.product(ctx, g, rows, n.gate, false); err != nil {
		return err
	}
	if err := p.product(ctx, u, rows, n.up, false); err != nil {
		return err
	}
	p.left.reset(n.down.form, rows, hidden)
	panels := (rows + kernel.TileRows - 1) / kernel.TileRows
	return parallel(ctx, p.workers, panels, func(w *worker, panel int) error {
		first := panel * kernel.TileRows
		count := min(kernel.TileRows, rows-first)
		part := g[first*hidden:][:count*hidden]
		kernel.SiLUMul(part, u[first*hidden:])
		p.left.put(w, n.down.form, first, part, count, hidden)
		return nil
	})
}
