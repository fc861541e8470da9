package infer

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// DefaultMemory is what a run may take if Options does not say otherwise: 1 GiB.
const DefaultMemory = 1 << 30

// Options says how to run a model. The zero value is good.
type Options struct {
	// Threads is the number of cores to use; 0 means all.
	Threads int
	// Compute says what products are computed with.
	Compute Compute
	// Memory is how many bytes a run may take in all; 0 means DefaultMemory. It decides how
	// many chunks go through the layers together, and so how often the weights are
	// read. A single chunk is run even if it needs more.
	Memory int64
	// Progress, if not nil, is called from time to time during Forward, by its
	// goroutine, with the steps done and in all. A step is one chunk through
	// one layer.
	Progress func(done, total int)
	// Input, if not nil, is called during Forward, by its goroutine, after
	// every product with a weight matrix. It needs exact compute.
	Input func(Input)
	// Residual, if not nil, is called during Forward, by its goroutine, before
	// every layer.
	Residual func(Residual)
	// Router, if not nil, is called during Forward, by its goroutine, when the
	// router of a layer has chosen.
	Router func(Routing)
}

// Residual is the residual stream of a batch of chunks on its way into a layer. It
// may be used only during the call.
type Residual struct {
	Layer  int
	First  int         // number of the first of the chunks
	Chunks [][]float32 // of each chunk: tokens x width
}

// Routing is what the router of a layer makes of a batch of tokens. It may be
// used only during the call.
type Routing struct {
	Layer, Tokens, Experts int
	Logits                 []float32 // Tokens x Experts
	Chosen                 []int32   // Tokens x experts per token, the best first
}

// Input is what a matrix of a tensor was multiplied with.
type Input struct {
	Tensor           string
	Matrix, Matrices int // which matrix of how many: the experts of the tensor
	Rows             int // tokens
	// Squares has for each column the sum of the squares of the rows' values. It
	// may be used only during the call.
	Squares []float64
}

// Model is a model ready to run. It holds the norms and biases, not the large weights.
// It is safe for concurrent use if its Source is.
type Model struct {
	hyper
	src       gguf.Source
	compute   Compute
	threads   int
	memory    int64
	report    func(done, total int)
	residual  func(Residual) // or nil
	input     func(Input)    // or nil
	router    func(Routing)  // or nil
	bytesRead atomic.Int64

	embedding   matrix // vocabulary x width
	layers      []layer
	outputNorm  []float32 // width
	output      matrix    // vocabulary x width
	ropeFactors []float32 // divisors of the keyLen/2 frequencies, or nil
}

// layer is one transformer block.
type layer struct {
	index        int
	attnNorm     []float32 // width
	q, k, v      matrix    // heads x head length rows of width
	qNorm, kNorm []float32 // head length, or nil
	attnOutput   matrix    // width rows of heads x value length
	ffnNorm      []float32 // width
	router       matrix    // experts x width; without rows in a dense layer
	experts      []network // that the router chooses from
	always       network   // of every token: a dense layer's only one, or the shared expert; without rows if there is none
	alwaysGate   matrix    // 1 x width: the sigmoid of the product is the weight of always; without rows if that is 1
}

// network is a feed-forward network: hidden rows of width, hidden rows of width,
// width rows of hidden.
type network struct{ gate, up, down matrix }

// prefetch has the matrices of the layer read ahead, if the Source can.
func (l *layer) prefetch(src gguf.Source) {
	for _, w := range l.matrices() {
		gguf.Prefetch(src, w.tensor, int64(w.first), int64(w.rows))
	}
}

// matrices returns the large weights of the layer: all but the router.
func (l *layer) matrices() []matrix {
	all := []matrix{l.q, l.k, l.v, l.attnOutput}
	for _, n := range append([]network{l.always}, l.experts...) {
		all = append(all, n.gate, n.up, n.down)
	}
	return slices.DeleteFunc(all, func(w matrix) bool { return w.rows == 0 })
}

// matrix is a weight: rows of cols elements, within a tensor of the Source.
type matrix struct {
	tensor     int // index in Source.Tensors
	first      int // row of the tensor at which it starts
	rows, cols int
	form       form
	bias       []float32 // per row, or nil
}

// New checks that src is a model that can be run, in all but the values of the
// weights, and reads its norms and biases. The error wraps gguf.ErrUnsupported
// or gguf.ErrCorrupt and names the key or tensor at fault.
func New(src gguf.Source, opts Options) (*Model, error) {
	h, err := readHyper(src.Metadata())
	if err != nil {
		return nil, err
	}
	m := &Model{hyper: h, src: src, compute: opts.Compute, threads: opts.Threads, memory: opts.Memory, report: opts.Progress, residual: opts.Residual, input: opts.Input, router: opts.Router}
	if m.input != nil && m.compute != Exact {
		return nil, errors.New("infer: Options.Input needs exact compute")
	}
	if m.threads <= 0 {
		m.threads = runtime.GOMAXPROCS(0)
	}
	if m.memory <= 0 {
		m.memory = DefaultMemory
	}
	if m.report == nil {
		m.report = func(int, int) {}
	}
	if err := m.bind(); err != nil {
		return nil, err
	}
	return m, nil
}

// BytesRead returns how much has been read of the weights so far, each time they
// were.
func (m *Model) BytesRead() int64 { return m.bytesRead.Load() }

// Vocabulary returns the number of token ids, and of logits per position.
func (m *Model) Vocabulary() int { return m.embedding.rows }

// binder finds tensors and remembers the first that is missing or wrong.
type binder struct {
	src     gguf.Source
	compute Compute
	index   map[string]int
	used    []bool
	missing error
	err     error
}

func (b *binder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// find returns the tensor of the given name, after checking its shape.
// Dimensions of 1 at the end do not count.
func (b *binder) find(name string, shape ...int) (i int, ok bool) {
	i, ok = b.index[name]
	if !ok {
		return 0, false
	}
	b.used[i] = true
	info := b.src.Tensors()[i]
	trim := func(shape []int64) []int64 {
		for len(shape) > 1 && shape[len(shape)-1] == 1 {
			shape = shape[:len(shape)-1]
		}
		return shape
	}
	want := make([]int64, len(shape))
	for d, n := range shape {
		want[d] = int64(n)
	}
	if !slices.Equal(trim(info.Shape), trim(want)) {
		b.fail(fmt.Errorf("%w: tensor %q has shape %v, not %v", gguf.ErrCorrupt, name, info.Shape, want))
	}
	if !quant.CanDequantize(info.Type) {
		b.fail(fmt.Errorf("%w: tensor %q is %s, which cannot be computed with", gguf.ErrUnsupported, name, info.Type))
	}
	return i, true
}

func (b *binder) need(name string) {
	if b.missing == nil {
		b.missing = fmt.Errorf("%w: tensor %q is missing", gguf.ErrCorrupt, name)
	}
}

// vector reads a tensor of n elements, or returns nil if there is none.
func (b *binder) vector(name string, n int) []float32 {
	i, ok := b.find(name, n)
	if !ok || b.err != nil {
		return nil
	}
	info := b.src.Tensors()[i]
	raw := make([]byte, info.Bytes())
	if err := b.src.ReadRows(raw, i, 0, 1); err != nil {
		b.fail(err)
		return nil
	}
	out := make([]float32, n)
	if err := quant.Dequantize(info.Type, out, raw, len(out)); err != nil {
		b.fail(fmt.Errorf("tensor %q: %w", name, err))
	}
	return out
}

func (b *binder) norm(name string, n int) []float32 {
	v := b.vector(name, n)
	if _, ok := b.index[name]; !ok {
		b.need(name)
	}
	return v
}

// matrix finds name.weight.
func (b *binder) matrix(name string, rows, cols int) matrix {
	i, ok := b.find(name+".weight", cols, rows)
	if !ok {
		b.need(name + ".weight")
	}
	return matrix{tensor: i, rows: rows, cols: cols, form: b.compute.form(b.src.Tensors()[i].Type)}
}

// biased finds name.weight and, if there is one, name.bias.
func (b *binder) biased(name string, rows, cols int) matrix {
	m := b.matrix(name, rows, cols)
	m.bias = b.vector(name+".bias", rows)
	return m
}

// stack finds the matrices that name.weight stacks, none after an error: their
// number would be of no known tensor.
func (b *binder) stack(name string, n, rows, cols int) []matrix {
	i, ok := b.find(name+".weight", cols, rows, n)
	if !ok {
		b.need(name + ".weight")
	}
	if !ok || b.err != nil {
		return nil
	}
	stack := make([]matrix, n)
	for e := range stack {
		stack[e] = matrix{tensor: i, first: e * rows, rows: rows, cols: cols, form: b.compute.form(b.src.Tensors()[i].Type)}
	}
	return stack
}

// network finds the matrices of a network whose names end in suffix.
func (b *binder) network(prefix, suffix string, width, hidden int) network {
	return network{
		gate: b.biased(prefix+"ffn_gate"+suffix, hidden, width),
		up:   b.biased(prefix+"ffn_up"+suffix, hidden, width),
		down: b.biased(prefix+"ffn_down"+suffix, width, hidden),
	}
}

// experts finds the networks that three tensors stack.
func (b *binder) experts(prefix string, n, width, hidden int) []network {
	gate := b.stack(prefix+"ffn_gate_exps", n, hidden, width)
	up := b.stack(prefix+"ffn_up_exps", n, hidden, width)
	down := b.stack(prefix+"ffn_down_exps", n, width, hidden)
	if gate == nil || up == nil || down == nil {
		return nil
	}
	networks := make([]network, n)
	for e := range networks {
		networks[e] = network{gate[e], up[e], down[e]}
	}
	return networks
}

// bind finds every tensor of the graph and demands that there are no others: a
// tensor without a place means that the model is not what it is taken for.
func (m *Model) bind() error {
	tensors := m.src.Tensors()
	b := &binder{src: m.src, compute: m.compute, index: make(map[string]int, len(tensors)), used: make([]bool, len(tensors))}
	for i, t := range tensors {
		b.index[t.Name] = i
	}
	// Each block has at least nine tensors. Without this check a wrong block
	// count would cost time and memory.
	if m.blocks > len(tensors)/9 {
		return fmt.Errorf("%w: %d tensors are not enough for %d blocks", gguf.ErrCorrupt, len(tensors), m.blocks)
	}

	vocabulary := 1
	if i, ok := b.index["token_embd.weight"]; ok {
		vocabulary = int(tensors[i].Rows())
	}
	m.embedding = b.matrix("token_embd", vocabulary, m.width)
	m.output = m.embedding
	if _, ok := b.index["output.weight"]; ok {
		m.output = b.matrix("output", vocabulary, m.width)
	}
	m.outputNorm = b.norm("output_norm.weight", m.width)
	m.ropeFactors = b.vector("rope_freqs.weight", m.keyLen/2)
	m.layers = make([]layer, m.blocks)
	for i := range m.layers {
		m.layers[i] = m.bindLayer(b, i)
	}

	if b.err != nil {
		return b.err
	}
	if i := slices.Index(b.used, false); i >= 0 {
		return fmt.Errorf("%w: tensor %q has no place in the graph of a %s model", gguf.ErrUnsupported, tensors[i].Name, m.name)
	}
	return b.missing
}

func (m *Model) bindLayer(b *binder, index int) layer {
	prefix := fmt.Sprintf("blk.%d.", index)
	l := layer{
		index:      index,
		attnNorm:   b.norm(prefix+"attn_norm.weight", m.width),
		q:          b.biased(prefix+"attn_q", m.heads*m.keyLen, m.width),
		k:          b.biased(prefix+"attn_k", m.kvHeads*m.keyLen, m.width),
		v:          b.biased(prefix+"attn_v", m.kvHeads*m.valueLen, m.width),
		attnOutput: b.biased(prefix+"attn_output", m.width, m.heads*m.valueLen),
		ffnNorm:    b.norm(prefix+"ffn_norm.weight", m.width),
	}
	if m.headNorm {
		l.qNorm = b.norm(prefix+"attn_q_norm.weight", m.keyLen)
		l.kNorm = b.norm(prefix+"attn_k_norm.weight", m.keyLen)
	}
	if m.experts == 0 || index < m.denseBlocks {
		l.always = b.network(prefix, "", m.width, m.hidden)
		return l
	}
	l.router = b.matrix(prefix+"ffn_gate_inp", m.experts, m.width)
	l.router.form = float32s // a rounding could choose another expert
	l.experts = b.experts(prefix, m.experts, m.width, m.expertHidden)
	if m.shared != noExpert {
		l.always = b.network(prefix, "_shexp", m.width, m.sharedHidden)
	}
	if m.shared == gatedExpert {
		l.alwaysGate = b.matrix(prefix+"ffn_gate_inp_shexp", 1, m.width)
		l.alwaysGate.form = float32s
	}
	return l
}
