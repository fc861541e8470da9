package infer

import (
	"context"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// Strand is a text on its way through the layers of a model.
type Strand struct {
	Model  *Model
	Tokens []int32
	Stream []float32 // its residual stream: tokens x Spec.Stream
}

// Form returns the model with some of its large matrices in other types: a form of it. Of two forms that have a tensor in the same type, it
// is the same. Beside types, src has the tensors of the model's own Source, in their order.
func (m *Model) Form(src gguf.Source) (*Model, error) {
	if !slices.EqualFunc(m.src.Tensors(), src.Tensors(), func(a, b gguf.TensorInfo) bool { return a.Name == b.Name && a.SameShape(b) }) {
		return nil, fmt.Errorf("%w: it is no form of the model: it has other tensors", gguf.ErrUnsupported)
	}
	return &Model{
		graph: m.graph, src: src, compute: m.compute, threads: m.threads, memory: m.memory, report: m.report, widest: m.widest, allRead: m.allRead,
	}, nil
}

// Strands are texts that go through the layers of forms of one model together, and may wait between them. A matrix that several
// have is read once for the strands of all of them, or once for each batch of strands that fits in Options.Memory of the first model. So a change of one tensor costs
// the rows of its strands and the reading of that tensor, not a run of the model.
//
// Threads and memory are those of the first model; the streams, which are the caller's, are not counted. Every model
// computes Exact. What comes out is what Forward of each model says, to the last bit.
type Strands []Strand

// Enter sets the streams to what enters the first layer.
func (s Strands) Enter(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	for i, strand := range s {
		l := newLockstep([]*Model{strand.Model}, Observer{})
		l.end = 0
		l.observer.Residual = func(Streams) { copy(strand.Stream, l.x) }
		if err := s[i:i+1].run(ctx, l, NoLogits); err != nil {
			return fmt.Errorf("strand %d: %w", i, err)
		}
	}
	return nil
}

// Advance takes the streams from before layer first to before layer end. The error wraps gguf.ErrUnsupported if the model cannot begin or
// stop there: see Model.CanBegin.
func (s Strands) Advance(ctx context.Context, first, end int) error {
	if err := s.check(); err != nil || len(s) == 0 {
		return err
	}
	m := s[0].Model
	if first < 0 || end < first || end > len(m.graph.Layers) {
		return fmt.Errorf("there are no layers %d to %d among %d", first, end, len(m.graph.Layers))
	}
	for _, layer := range []int{first, end} {
		if !m.CanBegin(layer) {
			return fmt.Errorf("%w: to begin with layer %d, behind keys and values that are shared", gguf.ErrUnsupported, layer)
		}
	}
	l := newLockstep([]*Model{m}, Observer{})
	l.strands, l.layer, l.end = s, first, end
	l.observer.Residual = func(streams Streams) {
		if streams.Layer == end {
			for c, stream := range l.residuals() {
				copy(s[streams.First+c].Stream, stream)
			}
		}
	}
	return s.run(ctx, l, NoLogits)
}

// Logits calls visit, as Forward does, with the logits of each strand from a position on. The streams are those behind the last layer;
// they are not changed.
func (s Strands) Logits(ctx context.Context, from int, visit func(strand, pos int, logits []float32)) error {
	if err := s.check(); err != nil || len(s) == 0 {
		return err
	}
	m := s[0].Model
	l := newLockstep([]*Model{m}, Observer{Logits: func(_, strand, pos int, logits, _ []float32) { visit(strand, pos, logits) }})
	l.strands, l.layer = s, len(m.graph.Layers)
	return s.run(ctx, l, from)
}

// check reports models that are no forms of one, and streams that are not theirs.
func (s Strands) check() error {
	for i, strand := range s {
		if strand.Model.compute != Exact {
			return fmt.Errorf("%w: strands are computed exactly", gguf.ErrUnsupported)
		}
		if strand.Model.graph != s[0].Model.graph {
			return fmt.Errorf("the model of strand %d is no form of that of the first", i)
		}
		if n := strand.Model.graph.Stream(); len(strand.Stream) != len(strand.Tokens)*n {
			return fmt.Errorf("the residual stream of strand %d has %d elements, not %d x %d", i, len(strand.Stream), len(strand.Tokens), n)
		}
	}
	return nil
}

// run takes the texts through what is left of the model.
func (s Strands) run(ctx context.Context, l *lockstep, from int) error {
	chunks := make([]Chunk, len(s))
	for i, strand := range s {
		chunks[i] = Chunk{Tokens: strand.Tokens, From: from}
	}
	return alone(l.run(ctx, chunks))
}

// own sets the residual streams to those of strands, and says whose matrices the tokens are multiplied with.
func (l *lockstep) own() {
	l.owners = l.owners[:0]
	for _, c := range l.chunks {
		strand := l.strands[c.number]
		copy(l.x[c.start*l.m.graph.Stream():], strand.Stream)
		for range c.Tokens {
			l.owners = append(l.owners, strand.Model)
		}
	}
}

// CanBegin reports whether Strands can wait before a layer: from there on, no layer has the keys and values, nor what an indexer chose,
// of one before.
func (m *Model) CanBegin(layer int) bool { return m.graph.CanBegin(layer) }
