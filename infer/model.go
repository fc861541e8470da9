package infer

import (
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/arch"
	"github.com/ggufkit/ggufkit/infer/graph"
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
	// BatchTokens is how many tokens go through the layers together at most, or those of one chunk if it has more; 0 means as many as fit.
	BatchTokens int
	// Progress, if not nil, is called from time to time during Forward, by its
	// goroutine, with the steps done and in all. A step is one chunk through
	// one layer.
	Progress func(done, total int)
	// Read, if not nil, is increased by what is read of weights, each time they are: rows that are made as they are read, as those of a
	// quant.View, count as what is made. It may be that of several models.
	Read *atomic.Int64
	// Input, if not nil, is called during Forward, by its goroutine, after
	// every product with a weight matrix. It needs exact compute.
	Input func(Input)
	// Sums, if not nil, is called instead: it returns what the squares of an Input are added to, a number for each column, or nil if nobody
	// wants them. Rows are added one after the other, in the order of the tokens, so that the sums do not depend on how many
	// chunks are run together. Squares of the Input is nil. It needs Exact compute too.
	Sums func(Input) []float64
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
	Chunks [][]float32 // of each chunk: tokens x Spec.Stream
}

// Routing is what the router of a layer makes of a batch of tokens.
type Routing = graph.Routing

// Input is what a matrix of a tensor was multiplied with.
type Input struct {
	Tensor           string
	Matrix, Matrices int  // which matrix of how many: the experts of the tensor, or its heads
	Head             bool // the matrices are those of heads, all of which see every token
	Rows, Cols       int  // tokens, and columns of the matrix
	// Squares has for each column the sum of the squares of the rows' values. It
	// may be used only during the call.
	Squares []float64
}

// Model is a model ready to run. It holds the norms and biases, not the large weights.
// It is safe for concurrent use if its Source is.
type Model struct {
	graph     *graph.Model
	src       gguf.Source
	compute   Compute
	threads   int
	memory    int64
	together  int // tokens; 0: as many as fit
	report    func(done, total int)
	residual  func(Residual)        // or nil
	input     func(Input)           // or nil
	sums      func(Input) []float64 // or nil
	router    func(Routing)         // or nil
	bytesRead atomic.Int64
	allRead   *atomic.Int64 // Options.Read, or nil
	widest    int           // elements of a row of the widest matrix
}

// New checks that src is a model that can be run, in all but the values of the
// weights, and reads its norms and biases. The error wraps gguf.ErrUnsupported
// or gguf.ErrCorrupt and names the key or tensor at fault.
func New(src gguf.Source, opts Options) (*Model, error) {
	spec, err := arch.Read(src)
	if err != nil {
		return nil, err
	}
	return newModel(spec, src, opts)
}

func newModel(spec graph.Spec, src gguf.Source, opts Options) (*Model, error) {
	if (opts.Input != nil || opts.Sums != nil) && opts.Compute != Exact {
		return nil, errors.New("infer: Options.Input and Options.Sums need exact compute")
	}
	bound, err := graph.Bind(spec, src)
	if err != nil {
		return nil, err
	}
	m := &Model{
		graph: bound, src: src, compute: opts.Compute, threads: opts.Threads, memory: opts.Memory, together: opts.BatchTokens,
		report: opts.Progress, residual: opts.Residual, input: opts.Input, sums: opts.Sums, router: opts.Router, widest: spec.Width,
		allRead: opts.Read,
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
	for i := range bound.Layers {
		for _, w := range bound.Weights(i) {
			m.widest = max(m.widest, w.Cols)
		}
	}
	return m, nil
}

// Spec returns what the model computes.
func (m *Model) Spec() *graph.Spec { return &m.graph.Spec }

// BytesRead returns how much has been read of the weights so far, each time they
// were.
func (m *Model) BytesRead() int64 { return m.bytesRead.Load() }

func (m *Model) addRead(bytes int64) {
	m.bytesRead.Add(bytes)
	if m.allRead != nil {
		m.allRead.Add(bytes)
	}
}

// Vocabulary returns the number of token ids, and of logits per position.
func (m *Model) Vocabulary() int { return m.graph.Vocabulary }

// prefetch has the matrices of a layer read ahead, if the Source can.
func (m *Model) prefetch(layer int) {
	for _, w := range m.graph.Weights(layer) {
		gguf.Prefetch(m.src, w.Tensor, int64(w.First), int64(w.Rows))
	}
}
