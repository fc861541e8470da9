package graph

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Laurel is a learned augmented residual layer of low rank (arXiv 2411.07501): x + norm(r·l·x).
type Laurel struct {
	Rank int
	Norm Norm
}

// laurelOp is a Laurel with its weights.
type laurelOp struct {
	Laurel
	left, right Matrix // Rank rows of width, width rows of Rank
	norm        *NormOp
}

// Bind implements Mixer.
func (l Laurel) Bind(b *Binder) Op {
	return &laurelOp{l, b.matrix("laurel_l", l.Rank, b.width), b.matrix("laurel_r", b.width, l.Rank), b.norm(l.Norm, b.width)}
}

// Size implements Mixer.
func (l Laurel) Size() Size { return Size{Scratch: l.Rank, Inner: l.Rank} }

// State implements Mixer.
func (l Laurel) State() State { return State{} }

// Weights implements Op.
func (l *laurelOp) Weights() []*Matrix { return []*Matrix{&l.left, &l.right} }

// Run implements Op.
func (l *laurelOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	inner, made, width := e.Scratch(l.Rank)[0], e.Aside(), l.right.Rows
	if err := e.Multiply(ctx, x, Product{inner, &l.left}); err != nil {
		return err
	}
	if err := e.Multiply(ctx, inner, Product{made, &l.right}); err != nil {
		return err
	}
	return e.Each(ctx, func(row, _ int) {
		part, sum := made[row*width:][:width], out[row*width:][:width]
		l.norm.rowOf(part)
		kernel.AddScaled(sum, part, 1)
		kernel.AddScaled(sum, x[row*width:][:width], 1)
	})
}
