package graph

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// ShortConv is the gated convolution of LFM2: of its input it makes B, C and x, of which B ⊙ x goes through a
// convolution, and C ⊙ the result through a matrix.
type ShortConv struct {
	Inputs int `key:"shortconv.l_cache"` // of each sum
	Width  int `key:"embedding_length"`
}

// shortConvOp is a ShortConv with its weights.
type shortConvOp struct {
	ShortConv
	in, out     Matrix
	convolution *convolution
}

// Bind implements Mixer.
func (s ShortConv) Bind(b *Binder) Op {
	return &shortConvOp{
		ShortConv:   s,
		in:          b.biased("shortconv.in_proj", 3*s.Width, b.width),
		convolution: b.convolution("shortconv.conv", s.Inputs, s.Width, false),
		out:         b.biased("shortconv.out_proj", b.width, s.Width),
	}
}

// Size implements Mixer.
func (s ShortConv) Size() Size {
	return Size{Scratch: 4 * s.Width, Inner: 3 * s.Width, Recurrent: convolutionRoom(s.Inputs)}
}

// State implements Mixer.
func (s ShortConv) State() State { return State{Recurrent: (s.Inputs - 1) * s.Width} }

// Weights implements Op.
func (s *shortConvOp) Weights() []*Matrix { return []*Matrix{&s.in, &s.out} }

// Run implements Op.
func (s *shortConvOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	n := s.Width
	room := e.Scratch(3*n, n)
	projected, y := room[0], room[1]
	if err := e.Multiply(ctx, x, Product{projected, &s.in}); err != nil {
		return err
	}
	err := e.Each(ctx, func(row, _ int) {
		parts, product := projected[row*3*n:][:3*n], y[row*n:][:n]
		clear(product)
		kernel.MulAdd(product, parts[:n], parts[2*n:])
	})
	if err != nil {
		return err
	}
	if err := s.convolution.run(ctx, e, y, n, 0); err != nil {
		return err
	}
	err = e.Each(ctx, func(row, _ int) {
		gated, c := y[row*n:][:n], projected[row*3*n+n:][:n]
		for i, v := range c {
			gated[i] *= v
		}
	})
	if err != nil {
		return err
	}
	return e.Add(ctx, out, y, &s.out)
}
