package allocate

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// probe measures what the types of parts cost.
type probe struct {
	original   gguf.Source
	importance *imatrix.Matrix
	parts      []part
	groups     []group
	chunks     [][]int32
	sample     []int // chunks that single groups are measured on
	prefix     int   // and how many of their tokens
	engine     infer.Options
	layers     int
	from       int              // the first position whose next token is scored
	base       [][]distribution // of each chunk, what the original predicts for the scored tokens
	all        [][]float64      // of each chunk, the divergences of the model with all groups swapped
	swapped    []float64        // of each group, the sum of the divergences with it swapped
	// Steps, each a chunk through a layer: those of runs that have ended, and all.
	done, total int
}

// warmUp is which part of a chunk is not scored at least, for want of context. It is less than
// the half that is left out of perplexities: how far two models are apart depends
// less on the context than how well they predict.
const warmUp = 16

// swapRuns is how many runs of the model on all chunks the swaps of single groups take, about. With
// two runs of the original, one with everything swapped, and what the errors of types take, it
// is less than ten, unless there is so little text that a run is mostly reading weights.
const swapRuns = 5.

func newProbe(original gguf.Source, importance *imatrix.Matrix, parts []part, chunks [][]int32, engine infer.Options) (*probe, error) {
	arch, err := gguf.Value[string](original.Metadata(), "general.architecture")
	if err != nil {
		return nil, err
	}
	layers, err := original.Metadata().Uint(arch + ".block_count")
	if err != nil {
		return nil, err
	}
	p := &probe{
		original: original, importance: importance, parts: parts, chunks: chunks, engine: engine, layers: int(layers), from: len(chunks[0]) / warmUp,
		groups: findGroups(original.Tensors(), parts, min(maxGroups, 2*swapRuns*len(chunks))),
	}
	p.swapped = make([]float64, len(p.groups))
	p.engine.Compute, p.engine.Input, p.engine.Sums, p.engine.Router, p.engine.Residual = infer.Exact, nil, nil, nil, nil
	steps := 0 // of a chunk, for all groups
	for _, g := range p.groups {
		steps += p.layers + 1 - p.start(g)
	}
	p.choose(swapRuns * float64(len(chunks)*(p.layers+1)) / float64(steps))
	p.total = 2*(p.layers+1)*len(chunks) + steps*len(p.sample)
	p.engine.Progress = func(done, _ int) {
		if engine.Progress != nil {
			engine.Progress(p.done+done, p.total)
		}
	}
	return p, nil
}

// choose finds the chunks to measure single groups on, so many in all: more of them, and not all of each, since chunks differ
// more than parts of one, evenly spread, since texts do. All groups have the same, which makes them comparable.
func (p *probe) choose(chunks float64) {
	const part = 0.75
	n := max(1, min(len(p.chunks), int(math.Ceil(chunks/part))))
	for i := range n {
		p.sample = append(p.sample, i*len(p.chunks)/n)
	}
	p.prefix = min(len(p.chunks[0]), max(len(p.chunks[0])/2, int(chunks/float64(n)*float64(len(p.chunks[0])))))
}

// start returns the layer that a group is measured from.
func (p *probe) start(g group) int { return min(max(g.layer, 0), p.layers-1) }

// run fills in the costs of the parts.
//
// The original runs twice: once for what it predicts and what goes into its matrices, and again to lead the residual
// streams from layer to layer. In front of each, the swaps of its groups start with
// them.
func (p *probe) run(ctx context.Context) error {
	if err := p.remember(ctx); err != nil {
		return err
	}
	if err := p.swapAll(ctx); err != nil {
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
	if err != nil {
		return err
	}
	p.calibrate()
	return nil
}

// remember runs the original for what it predicts. If that takes more than half of the
// memory, fewer tokens of each chunk are scored. The models that run afterwards, two at a
// time, get half of the rest each. On the way, it has measured what types change of
// the outputs of matrices.
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
	p.prefix = max(p.prefix, p.from+1+len(p.chunks[0])/warmUp)
	p.engine.Memory = (p.engine.Memory - int64(p.scored())*token) / 2
	p.base = make([][]distribution, len(p.chunks))
	for i := range p.base {
		p.base[i] = make([]distribution, p.scored())
	}
	meter, err := newMeter(p.original, p.importance, p.parts, p.chunks, p.engine.Threads)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	engine := p.engine
	engine.Input = meter.see
	engine.Residual = func(infer.Residual) {
		if err := meter.flush(ctx); err != nil {
			cancel(err)
		}
	}
	if base, err = infer.New(p.original, engine); err != nil {
		return err
	}
	err = base.Forward(ctx, infer.Chunks(p.chunks, p.from), func(chunk, pos int, logits []float32) {
		if pos < len(p.chunks[chunk])-1 {
			p.base[chunk][pos-p.from] = newDistribution(logits)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		return err
	}
	p.done += (p.layers + 1) * len(p.chunks)
	return meter.finish(ctx, base.Vocabulary())
}

// scored returns how many tokens of a chunk are scored.
func (p *probe) scored() int { return len(p.chunks[0]) - 1 - p.from }

// swapAll measures the model with all parts swapped.
func (p *probe) swapAll(ctx context.Context) error {
	everything := group{layer: -1}
	chunks := make([]int, len(p.chunks))
	for i := range p.parts {
		everything.parts = append(everything.parts, i)
	}
	for i := range chunks {
		chunks[i] = i
	}
	var err error
	p.all, err = p.swap(ctx, everything, chunks, len(p.chunks[0]), infer.Residual{})
	p.done += (p.layers + 1) * len(p.chunks)
	return err
}

// layer measures the groups that start at a layer, on those of a batch's chunks that are in the
// sample.
func (p *probe) layer(ctx context.Context, r infer.Residual) error {
	var chunks []int
	for _, c := range p.sample {
		if c >= r.First && c < r.First+len(r.Chunks) {
			chunks = append(chunks, c)
		}
	}
	if chunks == nil {
		return nil
	}
	for i, g := range p.groups {
		if p.start(g) != r.Layer {
			continue
		}
		divergences, err := p.swap(ctx, g, chunks, p.prefix, r)
		if err != nil {
			return err
		}
		for _, chunk := range divergences {
			p.swapped[i] += sum(chunk)
		}
		p.done += (p.layers + 1 - r.Layer) * len(chunks)
	}
	return nil
}

// swap returns the divergences of the tokens of some chunks, up to some length, with a group swapped. r has
// streams that they enter a layer with, unless the group is before it.
func (p *probe) swap(ctx context.Context, g group, numbers []int, length int, r infer.Residual) ([][]float64, error) {
	changed := make(map[int]gguf.Type)
	for _, i := range g.parts {
		changed[p.parts[i].tensor] = p.parts[i].swap
	}
	src, err := newVariant(p.original, p.importance, changed)
	if err != nil {
		return nil, err
	}
	m, err := infer.New(src, p.engine)
	if err != nil {
		return nil, err
	}
	chunks := make([]infer.Chunk, len(numbers))
	divergences := make([][]float64, len(numbers))
	for i, number := range numbers {
		chunks[i] = infer.Chunk{Tokens: p.chunks[number][:length], From: p.from}
		divergences[i] = make([]float64, length-1-p.from)
	}
	visit := func(chunk, pos int, logits []float32) {
		if pos < length-1 {
			divergences[chunk][pos-p.from] = p.base[numbers[chunk]][pos-p.from].divergence(logits)
		}
	}
	if g.layer < 0 || !m.CanBegin(r.Layer) {
		err = m.Forward(ctx, chunks, visit)
	} else {
		for i, number := range numbers {
			chunks[i].Stream = r.Chunks[number-r.First][:length*m.Spec().Stream()]
		}
		err = m.ForwardFrom(ctx, r.Layer, chunks, visit)
	}
	for _, chunk := range divergences {
		if s := sum(chunk); err == nil && (math.IsNaN(s) || math.IsInf(s, 0)) {
			err = errors.New("a logit is not finite")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s as %s: %w", p.original.Tensors()[p.parts[g.parts[0]].tensor].Name, p.parts[g.parts[0]].swap, err)
	}
	return divergences, nil
}

// sum adds numbers up.
func sum(numbers []float64) (s float64) {
	for _, x := range numbers {
		s += x
	}
	return s
}

// calibrate makes costs of the errors: in proportion to them, and so that those of the swaps of a group are together its
// part of the divergence with everything swapped. The parts were measured on the sample, the whole on all chunks.
func (p *probe) calibrate() {
	var total, all float64
	for i := range p.groups {
		p.swapped[i] = max(0, p.swapped[i]) // rounding may have made it less
		total += p.swapped[i]
	}
	for _, chunk := range p.all {
		all += sum(chunk) / float64(len(p.all)*len(chunk))
	}
	for i, g := range p.groups {
		var swapErrors float64
		for _, n := range g.parts {
			swapErrors += p.parts[n].swapError
		}
		if swapErrors == 0 || total == 0 {
			continue
		}
		for _, n := range g.parts {
			for o, e := range p.parts[n].errors {
				p.parts[n].costs[o] = all * p.swapped[i] / total * e / swapErrors
			}
		}
	}
}
