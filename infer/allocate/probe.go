package allocate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// probe measures what the types of groups cost.
type probe struct {
	original   gguf.Source
	importance *imatrix.Matrix
	groups     []group
	chunks     [][]int32
	engine     infer.Options
	layers     int
	from       int              // the first position whose next token is scored
	base       [][]distribution // of each chunk, what the original predicts for the scored tokens
	// Steps, each a chunk through a layer: those of runs that have ended, and all.
	done, total int
}

// warmUp is which part of a chunk is not scored at least, for want of context. It is less than
// the half that is left out of perplexities: how far two models are apart depends
// less on the context than how well they predict.
const warmUp = 16

func newProbe(original gguf.Source, importance *imatrix.Matrix, groups []group, chunks [][]int32, engine infer.Options) (*probe, error) {
	arch, err := gguf.Value[string](original.Metadata(), "general.architecture")
	if err != nil {
		return nil, err
	}
	layers, err := original.Metadata().Uint(arch + ".block_count")
	if err != nil {
		return nil, err
	}
	p := &probe{original: original, importance: importance, groups: groups, chunks: chunks, engine: engine, layers: int(layers), from: len(chunks[0]) / warmUp}
	p.engine.Compute, p.engine.Input, p.engine.Router, p.engine.Residual = infer.Exact, nil, nil, nil
	p.total = p.layers + 1
	for _, g := range groups {
		p.total += (len(g.types) - 1) * (p.layers + 1 - p.start(g))
	}
	p.total *= len(chunks)
	p.engine.Progress = func(done, _ int) {
		if engine.Progress != nil {
			engine.Progress(p.done+done, p.total)
		}
	}
	return p, nil
}

// start returns the layer that a group is measured from.
func (p *probe) start(g group) int { return min(max(g.layer, 0), p.layers-1) }

// run adds what is measured to the costs of the groups.
//
// The original runs twice: once for what it predicts, and again to lead the residual streams
// from layer to layer. In front of each, the variants of its groups start with
// them.
func (p *probe) run(ctx context.Context) error {
	if err := p.remember(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	engine := p.engine
	engine.Progress = nil
	engine.Residual = func(r infer.Residual) {
		if ctx.Err() == nil {
			if err := p.layer(ctx, r); err != nil {
				cancel(err)
			}
		}
	}
	base, err := infer.New(p.original, engine)
	if err != nil {
		return err
	}
	err = base.Forward(ctx, infer.Chunks(p.chunks, infer.NoLogits), nil)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return err
}

// remember runs the original for what it predicts. If that takes more than half of the
// memory, fewer tokens of each chunk are scored. The models that run afterwards, two at a
// time, get half of the rest each.
func (p *probe) remember(ctx context.Context) error {
	base, err := infer.New(p.original, p.engine)
	if err != nil {
		return err
	}
	if p.engine.Memory <= 0 {
		p.engine.Memory = infer.DefaultMemory
	}
	token := 4 * int64(len(p.chunks)) * int64(base.Vocabulary()) // a token of each chunk
	p.from = max(p.from, len(p.chunks[0])-1-int(min(p.engine.Memory/2/token, math.MaxInt32)))
	if p.scored() < len(p.chunks[0])/warmUp {
		return fmt.Errorf("what is predicted for %d tokens of each of %d windows takes more than half of the memory, %s", len(p.chunks[0])/warmUp,
			len(p.chunks), display.Bytes(p.engine.Memory))
	}
	p.engine.Memory = (p.engine.Memory - int64(p.scored())*token) / 2
	if base, err = infer.New(p.original, p.engine); err != nil {
		return err
	}
	p.base = make([][]distribution, len(p.chunks))
	for i := range p.base {
		p.base[i] = make([]distribution, p.scored())
	}
	err = base.Forward(ctx, infer.Chunks(p.chunks, p.from), func(chunk, pos int, logits []float32) {
		if pos < len(p.chunks[chunk])-1 {
			p.base[chunk][pos-p.from] = newDistribution(logits)
		}
	})
	p.done += (p.layers + 1) * len(p.chunks)
	return err
}

// scored returns how many tokens of a chunk are scored.
func (p *probe) scored() int { return len(p.chunks[0]) - 1 - p.from }

// layer adds what a batch of chunks says of the groups that start at a layer.
func (p *probe) layer(ctx context.Context, r infer.Residual) error {
	for _, g := range p.groups {
		if p.start(g) != r.Layer {
			continue
		}
		for o, t := range g.types[1:] {
			sum, err := p.variant(ctx, r, g, t)
			if err != nil {
				return fmt.Errorf("%s as %s: %w", p.original.Tensors()[g.tensors[0]].Name, t, err)
			}
			g.costs[1+o] += sum / float64(len(p.chunks)*p.scored())
			p.done += (p.layers + 1 - r.Layer) * len(r.Chunks)
		}
	}
	return nil
}

// variant returns the sum of the divergences of a batch's tokens when a group has type
// t.
func (p *probe) variant(ctx context.Context, r infer.Residual, g group, t gguf.Type) (float64, error) {
	src, err := newVariant(p.original, p.importance, g.tensors, t)
	if err != nil {
		return 0, err
	}
	m, err := infer.New(src, p.engine)
	if err != nil {
		return 0, err
	}
	chunks := infer.Chunks(p.chunks[r.First:][:len(r.Chunks)], p.from)
	divergences := make([]float64, len(chunks)*p.scored())
	visit := func(chunk, pos int, logits []float32) {
		if pos < len(chunks[chunk].Tokens)-1 {
			divergences[chunk*p.scored()+pos-p.from] = p.base[r.First+chunk][pos-p.from].divergence(logits)
		}
	}
	if g.layer < 0 || !m.CanBegin(r.Layer) {
		err = m.Forward(ctx, chunks, visit)
	} else {
		for i := range chunks {
			chunks[i].Stream = r.Chunks[i]
		}
		err = m.ForwardFrom(ctx, r.Layer, chunks, visit)
	}
	var sum float64
	for chunk := range slices.Chunk(divergences, max(1, p.scored())) {
		var ofChunk float64
		for _, d := range chunk {
			ofChunk += d
		}
		sum += ofChunk
	}
	if err == nil && (math.IsNaN(sum) || math.IsInf(sum, 0)) {
		err = errors.New("a logit is not finite")
	}
	return sum, err
}
