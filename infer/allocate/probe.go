package allocate

import (
	"cmp"
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

// probe measures what the types of parts cost.
type probe struct {
	original   gguf.Source
	importance *imatrix.Matrix
	parts      []part
	groups     []group // in the order of their layers
	chunks     [][]int32
	sample     []int // chunks that single groups are measured on
	prefix     int   // and how many of their tokens
	engine     infer.Options
	model      *infer.Model     // the original
	layers     int              // of it
	from       int              // the first position whose next token is scored
	base       [][]distribution // of each chunk, what the original predicts for the scored tokens
	all        float64          // mean divergence with all groups swapped
	swapped    []float64        // of each group, the sum of the divergences with it swapped
	progress   func(done, total int)
	// Steps, each a token through a layer or the output: those that are done, and all.
	done, total int
}

// warmUp is which part of a chunk is not scored at least, for want of context. It is less than
// the half that is left out of perplexities: how far two models are apart depends
// less on the context than how well they predict.
const warmUp = 16

// swapRuns is how many runs of the model on all chunks the swaps of single groups take, about.
const swapRuns = 5.

func newProbe(original gguf.Source, importance *imatrix.Matrix, parts []part, chunks [][]int32, engine infer.Options) (*probe, error) {
	p := &probe{original: original, importance: importance, parts: parts, chunks: chunks, engine: engine, progress: engine.Progress, from: len(chunks[0]) / warmUp}
	if p.progress == nil {
		p.progress = func(int, int) {}
	}
	p.engine.Compute, p.engine.Input, p.engine.Sums, p.engine.Router, p.engine.Residual, p.engine.Progress = infer.Exact, nil, nil, nil, nil, nil
	var err error
	if p.model, err = infer.New(original, p.engine); err != nil {
		return nil, err
	}
	p.layers = len(p.model.Spec().Layers)
	p.groups = findGroups(original.Tensors(), parts, min(maxGroups, 2*swapRuns*len(chunks)))
	for i := range p.groups {
		p.groups[i].layer = p.start(p.groups[i].layer)
	}
	slices.SortStableFunc(p.groups, func(a, b group) int { return cmp.Compare(a.layer, b.layer) })
	p.swapped = make([]float64, len(p.groups))
	p.choose(swapRuns * float64(len(chunks)*(p.layers+1)) / float64(p.steps(p.groups)))
	return p, p.limit()
}

// steps returns how many steps a token takes for some groups.
func (p *probe) steps(groups []group) (steps int) {
	for _, g := range groups {
		steps += p.layers + 1 - g.layer
	}
	return steps
}

// step reports that so many tokens went through so many layers.
func (p *probe) step(tokens, layers int) {
	p.done += tokens * layers
	p.progress(p.done, p.total)
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

// start returns the layer that a group is measured from that has its first part in a layer: the last before which texts can wait.
func (p *probe) start(layer int) int {
	layer = min(max(layer, 0), p.layers)
	for !p.model.CanBegin(layer) {
		layer--
	}
	return layer
}

// measure measures units: what all parts cost together, number 0, and groups, from number 1 on. It calls keep with the numbers of those that are done.
func (p *probe) measure(ctx context.Context, units []int, keep func(units ...int) error) error {
	if len(units) == 0 {
		return nil
	}
	run := len(p.chunks) * len(p.chunks[0]) * (p.layers + 1)
	p.total = run
	together := units[0] == 0
	if together {
		p.total += run
		units = units[1:]
	}
	if len(units) > 0 {
		groups := p.groupsOf(units)
		p.total += len(p.sample) * p.prefix * (p.steps(groups) + groups[len(groups)-1].layer)
	}
	if err := p.remember(ctx, together); err != nil {
		return err
	}
	if together {
		if err := p.swapAll(ctx); err != nil {
			return err
		}
		if err := keep(0); err != nil {
			return err
		}
	}
	return p.swapEach(ctx, units, keep)
}

func (p *probe) groupsOf(units []int) []group {
	groups := make([]group, len(units))
	for i, n := range units {
		groups[i] = p.groups[n-1]
	}
	return groups
}

// limit makes room for what is predicted: if that takes more than half of the memory, fewer tokens of each chunk are scored.
func (p *probe) limit() error {
	if p.engine.Memory <= 0 {
		p.engine.Memory = infer.DefaultMemory
	}
	token := 4 * int64(len(p.chunks)) * int64(p.model.Vocabulary()) // a token of each chunk
	p.from = max(p.from, len(p.chunks[0])-1-int(min(p.engine.Memory/2/token, math.MaxInt32)))
	if p.scored() < len(p.chunks[0])/warmUp {
		return fmt.Errorf("what is predicted for %d tokens of each of %d windows takes more than half of the memory, %s", len(p.chunks[0])/warmUp,
			len(p.chunks), display.Bytes(p.engine.Memory))
	}
	p.prefix = max(p.prefix, p.from+1+len(p.chunks[0])/warmUp)
	p.engine.Memory -= int64(p.scored()) * token
	return nil
}

// remember runs the original for what it predicts. On the way, if that is wanted, it has measured what types change of
// the outputs of matrices.
func (p *probe) remember(ctx context.Context, measured bool) error {
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
	engine := p.running()
	if measured {
		engine.Input = meter.see
		engine.Residual = func(infer.Residual) {
			if err := meter.flush(ctx); err != nil {
				cancel(err)
			}
		}
	}
	base, err := infer.New(p.original, engine)
	if err != nil {
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
	p.done += len(p.chunks) * len(p.chunks[0]) * (p.layers + 1)
	if !measured {
		return nil
	}
	return meter.finish(ctx, base.Vocabulary())
}

// running returns the options of a run of a model on all chunks.
func (p *probe) running() infer.Options {
	engine := p.engine
	engine.Progress = func(done, _ int) { p.progress(p.done+done*len(p.chunks[0]), p.total) }
	return engine
}

// scored returns how many tokens of a chunk are scored.
func (p *probe) scored() int { return len(p.chunks[0]) - 1 - p.from }

// swapAll measures the model with all parts swapped.
func (p *probe) swapAll(ctx context.Context) error {
	everything := group{}
	for i := range p.parts {
		everything.parts = append(everything.parts, i)
	}
	src, err := p.variant(everything)
	if err != nil {
		return err
	}
	m, err := infer.New(src, p.running())
	if err != nil {
		return err
	}
	divergences := make([][]float64, len(p.chunks))
	for i := range divergences {
		divergences[i] = make([]float64, p.scored())
	}
	err = m.Forward(ctx, infer.Chunks(p.chunks, p.from), func(chunk, pos int, logits []float32) {
		if pos < len(p.chunks[chunk])-1 {
			divergences[chunk][pos-p.from] = p.base[chunk][pos-p.from].divergence(logits)
		}
	})
	if err != nil {
		return err
	}
	for _, chunk := range divergences {
		p.all += sum(chunk) / float64(len(p.chunks)*p.scored())
	}
	p.done += len(p.chunks) * len(p.chunks[0]) * (p.layers + 1)
	return finite(p.all)
}

// variant returns the original with the parts of a group swapped.
func (p *probe) variant(g group) (gguf.Source, error) {
	changed := make(map[int]gguf.Type)
	for _, i := range g.parts {
		changed[p.parts[i].tensor] = p.parts[i].swap
	}
	return newVariant(p.original, p.importance, changed)
}

// streamsShare is which part of the memory residual streams may take.
const streamsShare = 4

// mostTogether is how many groups go through the layers together at most, so that what is known of them can be kept.
const mostTogether = 32

// swapEach measures the model with each of some groups swapped, on the sample. The streams of the original lead: in front of its layer,
// those of a group branch off. As many groups as there is memory for the streams of run together, so that all of them
// take what few runs take to read the weights, and read those of the group.
func (p *probe) swapEach(ctx context.Context, units []int, keep func(units ...int) error) (err error) {
	if len(units) == 0 {
		return nil
	}
	room := p.engine.Memory / streamsShare
	engine := p.engine
	engine.Memory -= room
	if p.model, err = infer.New(p.original, engine); err != nil {
		return err
	}
	lead := p.strands(p.model)
	if err := lead.Enter(ctx); err != nil {
		return err
	}
	at := 0 // the layer before which it is
	together := min(mostTogether, max(1, int(room/int64(4*len(p.sample)*p.prefix*p.model.Spec().Stream()))))
	for now := range slices.Chunk(units, together) {
		groups := p.groupsOf(now)
		divergences, err := p.branches(ctx, lead, at, groups)
		if err != nil {
			return err
		}
		at = groups[len(groups)-1].layer
		for i, n := range now {
			p.swapped[n-1] = divergences[i]
		}
		if err := keep(now...); err != nil {
			return err
		}
	}
	return nil
}

// strands returns the texts of the sample as they go through a model.
func (p *probe) strands(m *infer.Model) infer.Strands {
	var strands infer.Strands
	for _, number := range p.sample {
		tokens := p.chunks[number][:p.prefix]
		strands = append(strands, infer.Strand{Model: m, Tokens: tokens, Stream: make([]float32, len(tokens)*m.Spec().Stream())})
	}
	return strands
}

// branches returns the sum of the divergences with each of some groups swapped. The streams of the original, lead, are before a layer,
// and are left before that of the last group.
func (p *probe) branches(ctx context.Context, lead infer.Strands, layer int, groups []group) ([]float64, error) {
	var branches infer.Strands
	left, until := groups, groups[len(groups)-1].layer
	for {
		for ; len(left) > 0 && left[0].layer == layer; left = left[1:] {
			strands, err := p.branch(ctx, lead, left[0])
			if err != nil {
				return nil, err
			}
			branches = append(branches, strands...)
		}
		if layer == p.layers {
			break
		}
		end := layer + 1
		for !p.model.CanBegin(end) {
			end++
		}
		all := branches
		if layer < until {
			all = slices.Concat(lead, branches)
		}
		if err := all.Advance(ctx, layer, end); err != nil {
			return nil, err
		}
		p.step(len(all)*p.prefix, end-layer)
		layer = end
	}
	divergences := make([]float64, len(groups))
	each := make([][]float64, len(branches))
	for i := range each {
		each[i] = make([]float64, p.prefix-1-p.from)
	}
	err := branches.Logits(ctx, p.from, func(strand, pos int, logits []float32) {
		if pos < p.prefix-1 {
			each[strand][pos-p.from] = p.base[p.sample[strand%len(p.sample)]][pos-p.from].divergence(logits)
		}
	})
	if err != nil {
		return nil, err
	}
	p.step(len(branches)*p.prefix, 1)
	for i, of := range each {
		divergences[i/len(p.sample)] += sum(of)
	}
	for i, g := range groups {
		if err := finite(divergences[i]); err != nil {
			part := p.parts[g.parts[0]]
			return nil, fmt.Errorf("%s as %s: %w", p.original.Tensors()[part.tensor].Name, part.swap, err)
		}
	}
	return divergences, nil
}

// branch returns strands with a group swapped, which are where the lead is.
func (p *probe) branch(ctx context.Context, lead infer.Strands, g group) (infer.Strands, error) {
	src, err := p.variant(g)
	if err != nil {
		return nil, err
	}
	m, err := p.model.Form(src)
	if err != nil {
		return nil, err
	}
	strands := p.strands(m)
	if g.entrance {
		return strands, strands.Enter(ctx)
	}
	for i := range strands {
		copy(strands[i].Stream, lead[i].Stream)
	}
	return strands, nil
}

// finite reports a divergence that is no number.
func finite(divergence float64) error {
	if math.IsNaN(divergence) || math.IsInf(divergence, 0) {
		return errors.New("a logit is not finite")
	}
	return nil
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
	var total float64
	for i := range p.groups {
		p.swapped[i] = max(0, p.swapped[i]) // rounding may have made it less
		total += p.swapped[i]
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
				p.parts[n].costs[o] = p.all * p.swapped[i] / total * e / swapErrors
			}
		}
	}
}
