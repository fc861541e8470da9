package infer

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Multiply sets dst, m x n, to the product of x, m x k, and the transpose of n rows of k
// weights, in blocks of type t, as Forward computes it: on a number of threads, and
// with the weights dequantized and packed first. The error wraps
// gguf.ErrUnsupported if t cannot be dequantized. Multiply panics if the
// lengths do not match or are 0.
func (c Compute) Multiply(ctx context.Context, dst, x []float32, t gguf.Type, weights []byte, k, threads int) error {
	if !quant.CanDequantize(t) {
		return fmt.Errorf("%w: %s cannot be computed with", gguf.ErrUnsupported, t)
	}
	rows, n := len(x)/k, len(weights)/int(t.RowBytes(int64(k)))
	if len(x) != rows*k || len(dst) != rows*n || len(weights) != n*int(t.RowBytes(int64(k))) {
		panic(fmt.Sprintf("infer: product of %d activations and %d bytes of %s weights in rows of %d is not %d long", len(x), len(weights), t, k, len(dst)))
	}
	src := weightSource{info: gguf.TensorInfo{Type: t, Shape: []int64{int64(k), int64(n)}}, data: weights}
	p := &pass{m: &Model{src: src}, workers: make([]worker, threads), tokens: rows}
	w := matrix{rows: n, cols: k, form: c.form(t)}
	if err := p.pack(ctx, x, k, nil, w); err != nil {
		return err
	}
	return p.product(ctx, dst, rows, w, false)
}

// weightSource is a single weight in memory.
type weightSource struct {
	info gguf.TensorInfo
	data []byte
}

func (s weightSource) Metadata() *gguf.Metadata   { return nil }
func (s weightSource) Tensors() []gguf.TensorInfo { return []gguf.TensorInfo{s.info} }

func (s weightSource) ReadRows(dst []byte, _ int, first, _ int64) error {
	copy(dst, s.data[first*s.info.RowBytes():])
	return nil
}
