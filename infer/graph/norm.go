package graph

import (
	"context"
	"math"
)

// Norm is a root mean square norm: weight · x / sqrt(mean(x²) + Epsilon) (arXiv
// 1910.07467). The zero value is none.
type Norm struct {
	Name    string  // of the tensor, in a layer's without "blk.N.", and without ".weight"
	Epsilon float64 `key:"attention.layer_norm_rms_epsilon"`
}

// NormOp is a Norm with its weights, nil if there is none.
type NormOp struct {
	weight  []float32
	epsilon float64
}

// Apply sets dst to the norm of x. They may be the same.
func (n *NormOp) Apply(dst, x []float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	factor := float32(1 / math.Sqrt(sum/float64(len(x))+n.epsilon))
	weight := n.weight
	dst, weight = dst[:len(x)], weight[:len(x)]
	for i, v := range x {
		dst[i] = v * factor * weight[i]
	}
}

// rows applies the norm to every row.
func (n *NormOp) rows(ctx context.Context, e Engine, dst, x []float32) error {
	width := len(n.weight)
	return e.Each(ctx, func(row, _ int) { n.Apply(dst[row*width:][:width], x[row*width:][:width]) })
}
