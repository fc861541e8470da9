package graph

import (
	"context"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Norm is a norm: of x, times weights, plus biases if there are any. The zero value
// is none at all; a norm without a name is one without weights.
type Norm struct {
	Name    string // of the tensor, in a layer's without "blk.N.", and without ".weight"
	Kind    NormKind
	Epsilon float64 `key:"attention.layer_norm_rms_epsilon"`
}

// NormKind is what a norm does to x.
type NormKind int

// Kinds of norms.
const (
	RMSNorm   NormKind = iota // x / sqrt(mean(x²) + Epsilon) (arXiv 1910.07467)
	LayerNorm                 // (x - mean(x)) / sqrt(variance(x) + Epsilon) (arXiv 1607.06450)
)

// NormOp is a Norm with its weights, nil if there is none.
type NormOp struct {
	kind         NormKind
	epsilon      float64
	length       int       // of what is normalised together
	weight, bias []float32 // of one or of several such stretches, or nil
}

// Apply sets dst to the norm of each stretch of x. They may be the same.
func (n *NormOp) Apply(dst, x []float32) {
	for at := 0; at < len(x); at += n.length {
		d, part := dst[at:][:n.length], x[at:][:n.length]
		if n.weight == nil {
			n.scale(d, part)
			continue
		}
		from := at % len(n.weight)
		weight := n.weight[from:][:n.length]
		if n.kind == RMSNorm && n.bias == nil {
			factor := float32(1 / math.Sqrt(meanSquare(part, 0)+n.epsilon))
			for i, v := range part {
				d[i] = v * factor * weight[i]
			}
			continue
		}
		n.scale(d, part)
		for i, w := range weight {
			d[i] *= w
		}
		if n.bias != nil {
			for i, b := range n.bias[from:][:n.length] {
				d[i] += b
			}
		}
	}
}

// scale sets dst to the norm of x without weights.
func (n *NormOp) scale(dst, x []float32) {
	var mean float64
	if n.kind == LayerNorm {
		for _, v := range x {
			mean += float64(v)
		}
		mean /= float64(len(x))
	}
	factor := float32(1 / math.Sqrt(meanSquare(x, mean)+n.epsilon))
	for i, v := range x {
		dst[i] = (v - float32(mean)) * factor
	}
}

// meanSquare returns the mean of (x - from)².
func meanSquare(x []float32, from float64) float64 {
	var sum float64
	for _, v := range x {
		d := float64(v) - from
		sum += float64(d * d) // not fused: all machines give the same bits
	}
	return sum / float64(len(x))
}

// rowOf applies the norm, if there is one, to a row.
func (n *NormOp) rowOf(x []float32) {
	if n != nil {
		n.Apply(x, x)
	}
}

// rows applies the norm to every row.
func (n *NormOp) rows(ctx context.Context, e Engine, dst, x []float32) error {
	width := n.length
	return e.Each(ctx, func(row, _ int) { n.Apply(dst[row*width:][:width], x[row*width:][:width]) })
}

// seen returns the norm of x in the engine's room for it, or x where there is none.
func (n *NormOp) seen(ctx context.Context, e Engine, x []float32) ([]float32, error) {
	if n == nil {
		return x, nil
	}
	return e.Normed(), n.rows(ctx, e, e.Normed(), x)
}

// Normed is a mixer that has norms of its own, where those of a sub-layer do not share
// one: of what it sees (GPT-NeoX) and of what it adds (Gemma 4). Each may be missing.
type Normed struct {
	Norm Norm
	Mixer
	PostNorm Norm
}

// normedOp is a Normed with its weights.
type normedOp struct {
	norm, postNorm *NormOp
	Op
}

// Bind implements Mixer.
func (n Normed) Bind(b *Binder) Op {
	return normedOp{b.norm(n.Norm, b.width), b.norm(n.PostNorm, b.width), n.Mixer.Bind(b)}
}

// Run implements Op.
func (n normedOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	seen, err := n.norm.seen(ctx, e, x)
	if err != nil {
		return err
	}
	if n.postNorm == nil {
		return n.Op.Run(ctx, e, out, seen)
	}
	aside, width := e.Aside(), n.postNorm.length
	clear(aside)
	if err := n.Op.Run(ctx, e, aside, seen); err != nil {
		return err
	}
	return e.Each(ctx, func(row, _ int) {
		part := aside[row*width:][:width]
		n.postNorm.Apply(part, part)
		kernel.AddScaled(out[row*width:][:width], part, 1)
	})
}
