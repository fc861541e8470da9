package graph

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Matrix is a weight: rows of Cols elements, within a tensor of a Source.
type Matrix struct {
	Tensor     int // index in Source.Tensors
	First      int // row of the tensor at which it starts
	Rows, Cols int
	Whole      int       // rows of the matrix that this is a part of; 0: it is none
	Bias       []float32 // per row, or nil
	Exact      bool      // products are computed in float32 whatever the others are
	Head       bool      // its tensor stacks one for each head: every token is multiplied with all of them
	Share      float64   // of an expert: the share of the tokens that a router sends to it if all are sent as many; 0: it is none
}

// Binder finds the tensors of a model and remembers the first that is missing or wrong.
type Binder struct {
	src     gguf.Source
	index   map[string]int
	used    []bool
	missing error
	err     error

	spec   Spec
	width  int
	prefix string // of the names, "blk.N." in a layer
	layer  int
	slot   int // number of the mixer in the model
	ropes  map[RopeSpec]*Rope

	attentions map[int]*AttentionOp // of each layer, the last
	shares     []share
	indexers   map[int]*IndexerOp // of each layer that has one of its own
}

func newBinder(spec Spec, src gguf.Source) *Binder {
	tensors := src.Tensors()
	b := &Binder{
		src: src, spec: spec, width: spec.Width, index: make(map[string]int, len(tensors)), used: make([]bool, len(tensors)),
		ropes: make(map[RopeSpec]*Rope), attentions: make(map[int]*AttentionOp), indexers: make(map[int]*IndexerOp),
	}
	for i, t := range tensors {
		b.index[t.Name] = i
	}
	return b
}

func (b *Binder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// find returns the tensor of the given name, after checking its shape.
// Dimensions of 1 at the end do not count.
func (b *Binder) find(name string, shape ...int) (i int, ok bool) {
	i, ok = b.index[name]
	if !ok {
		return 0, false
	}
	b.used[i] = true
	info := b.src.Tensors()[i]
	want := make([]int64, len(shape))
	for d, n := range shape {
		want[d] = int64(n)
	}
	if !info.SameShape(gguf.TensorInfo{Shape: want}) {
		b.fail(fmt.Errorf("%w: tensor %q has shape %v, not %v", gguf.ErrCorrupt, name, info.Shape, want))
	}
	if !quant.CanDequantize(info.Type) {
		b.fail(fmt.Errorf("%w: tensor %q is %s, which cannot be computed with", gguf.ErrUnsupported, name, info.Type))
	}
	return i, true
}

// skip counts the tensors of n layers as used.
func (b *Binder) skip(first, n int) {
	for i, t := range b.src.Tensors() {
		if layer, _ := gguf.SplitName(t.Name); layer >= first && layer < first+n {
			b.used[i] = true
		}
	}
}

// leave counts the tensors of the layer whose names begin so as used.
func (b *Binder) leave(name string) {
	for i, t := range b.src.Tensors() {
		if strings.HasPrefix(t.Name, b.prefix+name) {
			b.used[i] = true
		}
	}
}

func (b *Binder) need(name string) {
	if b.missing == nil {
		b.missing = fmt.Errorf("%w: tensor %q is missing", gguf.ErrCorrupt, name)
	}
}

// vector reads a tensor of a few elements, or returns nil if there is none. name is its
// whole name.
func (b *Binder) vector(name string, shape ...int) []float32 {
	i, ok := b.find(name, shape...)
	if !ok || b.err != nil {
		return nil
	}
	info := b.src.Tensors()[i]
	raw, out := make([]byte, info.Bytes()), make([]float32, info.Elements())
	if err := b.src.ReadRows(raw, i, 0, info.Rows()); err != nil {
		b.fail(err)
		return nil
	}
	if err := quant.Dequantize(info.Type, out, raw, shape[0]); err != nil {
		b.fail(fmt.Errorf("tensor %q: %w", name, err))
	}
	return out
}

// weights reads name.weight, which there must be, or the tensor that has the name alone (ffn_norm of Falcon-H1).
func (b *Binder) weights(name string, shape ...int) []float32 {
	whole := b.prefix + name + ".weight"
	if _, ok := b.index[b.prefix+name]; ok {
		whole = b.prefix + name
	}
	return b.needed(whole, shape...)
}

// needed is vector of a tensor that there must be.
func (b *Binder) needed(name string, shape ...int) []float32 {
	v := b.vector(name, shape...)
	if _, ok := b.index[name]; !ok {
		b.need(name)
	}
	return v
}

// norm reads the weights of a norm of n elements: one for each, or several stretches of them.
func (b *Binder) norm(s Norm, n int, stretches ...int) *NormOp {
	if s == (Norm{}) {
		return nil
	}
	o := &NormOp{kind: s.Kind, epsilon: s.Epsilon, length: n}
	if s.Name == "" {
		return o
	}
	shape := append([]int{n}, stretches...)
	o.weight = b.weights(s.Name, shape...)
	o.bias = b.vector(b.prefix+s.Name+".bias", shape...)
	return o
}

// matrix finds name.weight.
func (b *Binder) matrix(name string, rows, cols int) Matrix {
	name = b.prefix + name + ".weight"
	i, ok := b.find(name, cols, rows)
	if !ok {
		b.need(name)
	}
	return Matrix{Tensor: i, Rows: rows, Cols: cols}
}

// outside calls bind for tensors that are of no layer.
func (b *Binder) outside(bind func()) {
	prefix := b.prefix
	b.prefix = ""
	bind()
	b.prefix = prefix
}

// biased finds name.weight and, if there is one, name.bias.
func (b *Binder) biased(name string, rows, cols int) Matrix {
	m := b.matrix(name, rows, cols)
	m.Bias = b.vector(b.prefix+name+".bias", rows)
	return m
}

// stack finds the matrices that name.weight stacks, and the biases of name.bias, if there
// are any; none after an error: their number would be of no known tensor.
func (b *Binder) stack(name string, n, rows, cols int) []Matrix {
	whole := b.prefix + name + ".weight"
	i, ok := b.find(whole, cols, rows, n)
	if !ok {
		b.need(whole)
	}
	if !ok || b.err != nil {
		return nil
	}
	bias := b.vector(b.prefix+name+".bias", rows, n)
	stack := make([]Matrix, n)
	for e := range stack {
		stack[e] = Matrix{Tensor: i, First: e * rows, Rows: rows, Cols: cols}
		if bias != nil {
			stack[e].Bias = bias[e*rows:][:rows]
		}
	}
	return stack
}

// heads is stack, of matrices of the heads of an attention.
func (b *Binder) heads(name string, n, rows, cols int) []Matrix {
	stack := b.stack(name, n, rows, cols)
	for h := range stack {
		stack[h].Head = true
	}
	return stack
}

// part returns some rows of a matrix.
func (m Matrix) part(first, rows int) Matrix {
	p := m
	p.First, p.Rows, p.Whole = m.First+first, rows, m.Rows
	if m.Bias != nil {
		p.Bias = m.Bias[first:][:rows]
	}
	return p
}
