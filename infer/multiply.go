package infer

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/quant"
)

// Product is a product with weights in memory, as Forward computes it.
type Product struct {
	Type    gguf.Type
	Weights []byte // rows of blocks
	Cols    int    // elements of a row
	Compute Compute
	Threads int

	batch *batch // with what it needs to compute
}

// Multiply sets dst, m x n, to the product of x, m x Cols, and the transpose of the n rows of
// Weights, which are dequantized and packed first. The error wraps
// gguf.ErrUnsupported if Type cannot be dequantized. Multiply panics if the
// lengths do not match or are 0. Its buffers stay for the next call, so that there may be one at a time.
func (p *Product) Multiply(ctx context.Context, dst, x []float32) error {
	if !quant.CanDequantize(p.Type) {
		return fmt.Errorf("%w: %s cannot be computed with", gguf.ErrUnsupported, p.Type)
	}
	rowBytes := int(p.Type.RowBytes(int64(p.Cols)))
	rows, n := len(x)/p.Cols, len(p.Weights)/rowBytes
	if len(x) != rows*p.Cols || len(dst) != rows*n || len(p.Weights) != n*rowBytes {
		panic(fmt.Sprintf("infer: product of %d activations and %d bytes of %s weights in rows of %d is not %d long", len(x), len(p.Weights), p.Type, p.Cols,
			len(dst)))
	}
	src := weightSource{info: gguf.TensorInfo{Type: p.Type, Shape: []int64{int64(p.Cols), int64(n)}}, data: p.Weights}
	if p.batch == nil {
		p.batch = &batch{workers: make([]worker, p.Threads)}
	}
	p.batch.m, p.batch.tokens, p.batch.together = &Model{src: src, compute: p.Compute}, rows, rows
	return p.batch.Multiply(ctx, x, graph.Product{Dst: dst, W: &graph.Matrix{Rows: n, Cols: p.Cols}})
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
