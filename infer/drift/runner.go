package drift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
)

// runner runs models in lock-step and gathers what they do.
type runner struct {
	what    string // the word for what is kept of it
	opts    Options
	models  []model
	parts   []part
	texts   []Text
	starts  []int // scored tokens before each part, and of all
	done    int   // parts that are known
	base    []reference
	tallies []*tally // of every model

	store *results.Store // or nil

	// Of what is under way: the parts that are run now, and how many were before; the part of each token of the batch and of those to come; and what the
	// router of the base has chosen in the layer.
	running []int
	before  int
	partOf  []int
	chosen  []int32

	cancel context.CancelFunc
	mu     sync.Mutex
	err    error // the first
}

// model is what runs in lock-step.
type model struct {
	Candidate
	compute infer.Compute
}

// tally is what is known of one model.
type tally struct {
	tokens  []token // every scored token, part after part
	parts   []layerSums
	elapsed time.Duration
}

// layerSums has sums over all tokens of a part, or of several, for each layer. Those of several are sums of those of each, in the
// order of the text, so that they are the same to the last digit however the parts were run.
type layerSums struct {
	tokens  int64
	hidden  []float64 // of squared relative errors
	routed  []int64   // tokens that a router has seen
	experts []int64   // tokens with the same experts
	first   []int64   // tokens with the same first expert
}

// fewest is how many chunks are run at least before Options.UntilSeparated looks at what they
// say, and how many of each text: one has no interval.
const fewest, fewestOfText = 4, 2

// What a scored token takes: a reference, and for each model a token.
const referenceBytes, tokenBytes = 32, 32

// What a model takes that is quantized as it is read: metadata and norms, and
// what quant.View converts in, for each thread.
const modelBytes, viewBytes = 2 << 20, 1 << 20

func newRunner(what string, models []model, parts []part, texts []Text, opts Options) *runner {
	r := &runner{what: what, opts: opts, models: models, parts: parts, texts: texts, starts: []int{0}}
	for i, p := range parts {
		r.starts = append(r.starts, r.starts[i]+len(p.Scored))
	}
	r.base = make([]reference, r.starts[len(parts)])
	return r
}

// run compares models with the first of them.
func (r *runner) run(ctx context.Context) ([]Result, error) {
	ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	engines, err := r.engines()
	if err != nil {
		return nil, err
	}
	if r.store != nil {
		err = r.keep(ctx, engines)
	} else {
		err = r.pieces(ctx, engines)
	}
	if err != nil {
		return nil, err
	}
	measured := make([]Result, len(r.models))
	for i, m := range r.models {
		measured[i] = r.result(r.tallies[i])
		measured[i].Name = m.Name
	}
	return measured, nil
}

// pieces runs all parts, or as many as are needed for Options.UntilSeparated.
func (r *runner) pieces(ctx context.Context, engines []*infer.Model) error {
	piece := len(r.parts)
	if r.opts.UntilSeparated {
		piece = r.firstPiece()
	}
	for piece > 0 {
		r.before, r.running = r.done, r.running[:0]
		for i := range piece {
			r.running = append(r.running, r.done+i)
		}
		if err := r.runParts(ctx, engines, nil); err != nil {
			return err
		}
		r.done += piece
		piece = min(r.done, len(r.parts)-r.done)
		if piece > 0 && r.separated() {
			break
		}
	}
	return nil
}

// runParts runs the parts that are to be run now. Batch, if not nil, is told of each batch of them.
func (r *runner) runParts(ctx context.Context, engines []*infer.Model, batch func(parts []int, elapsed []time.Duration) error) error {
	observer := infer.Observer{Residual: r.residual, Logits: r.logits, Batch: func(first, n int, elapsed []time.Duration) error {
		for i, t := range r.tallies {
			t.elapsed += elapsed[i]
		}
		if batch == nil || r.failed() {
			return nil
		}
		return batch(r.running[first:][:n], elapsed)
	}}
	_, err := infer.Lockstep(ctx, engines, r.chunks(), observer)
	if r.err != nil {
		err = r.err // what Lockstep returns is only that it was cancelled
	}
	if failed := (*infer.ModelError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%s: %w", r.models[failed.Model].Name, failed.Err)
	}
	return err
}

// chunks returns the parts that are to be run now.
func (r *runner) chunks() []infer.Chunk {
	windows := make([]perplexity.Window, len(r.running))
	for i, p := range r.running {
		windows[i] = r.parts[p].Window
	}
	return perplexity.InferChunks(windows)
}

func (r *runner) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil
}

// engines makes the models ready to run.
func (r *runner) engines() ([]*infer.Model, error) {
	engine := r.opts.Engine
	engine.Residual, engine.Input, engine.Sums = nil, nil, nil
	if engine.Memory == 0 {
		engine.Memory = infer.DefaultMemory
	}
	engine.Memory = max(1, engine.Memory-r.bytes())
	if r.store != nil {
		engine.BatchTokens = results.BatchTokens
	}
	if progress, all := engine.Progress, r.toRun(); progress != nil {
		engine.Progress = func(done, total int) {
			steps := total / len(r.running) // for each part
			progress(r.before*steps+done, all*steps)
		}
	}
	var engines []*infer.Model
	for i, m := range r.models {
		r.tallies = append(r.tallies, &tally{tokens: make([]token, len(r.base)), parts: make([]layerSums, len(r.parts))})
		engine.Router = func(routing infer.Routing) { r.route(i, routing) }
		engine.Compute = m.compute
		model, err := infer.New(m.Source, engine)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		engines = append(engines, model)
	}
	return engines, nil
}

// bytes is what the run takes beside that of Lockstep.
func (r *runner) bytes() int64 {
	return int64(len(r.base)*(referenceBytes+len(r.models)*tokenBytes) + len(r.models)*(modelBytes+r.threads()*viewBytes))
}

// residual compares the residual streams of the models with the first.
func (r *runner) residual(s infer.Streams) {
	if s.Layer == 0 && s.Row == 0 {
		r.partOf = r.partOf[:0]
		for _, p := range r.running[s.First:] {
			r.partOf = append(r.partOf, slices.Repeat([]int{p}, len(r.parts[p].Tokens))...)
		}
	}
	width := len(s.Models[0]) / s.Tokens
	var g errgroup.Group
	g.SetLimit(r.threads())
	for model, t := range r.tallies {
		g.Go(func() error {
			for i := range s.Tokens {
				sums := &t.parts[r.partOf[s.Row+i]]
				if s.Layer == 0 {
					sums.tokens++
				}
				*at(&sums.hidden, s.Layer) += relativeSquare(s.Models[model][i*width:][:width], s.Models[0][i*width:][:width])
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
}

func (r *runner) threads() int {
	if n := r.opts.Engine.Threads; n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// relativeSquare returns |x - base|² / |base|², 0 if the base is 0.
func relativeSquare(x, base []float32) float64 {
	var difference, square float64
	for i, b := range base {
		d := float64(x[i]) - float64(b)
		difference += float64(d * d)
		square += float64(float64(b) * float64(b))
	}
	if square == 0 {
		return 0
	}
	return difference / square
}

// route compares what a router has chosen with what the base's has.
func (r *runner) route(model int, routing infer.Routing) {
	if model == 0 {
		r.chosen = append(r.chosen[:0], routing.Chosen...)
	}
	used := len(routing.Chosen) / routing.Tokens
	for i := range routing.Tokens {
		sums := &r.tallies[model].parts[r.partOf[i]]
		ours, base := routing.Chosen[i*used:][:used], r.chosen[i*used:][:used]
		experts, first := at(&sums.experts, routing.Layer), at(&sums.first, routing.Layer)
		*at(&sums.routed, routing.Layer)++
		if ours[0] == base[0] {
			*first++
		}
		if !slices.ContainsFunc(ours, func(e int32) bool { return !slices.Contains(base, e) }) {
			*experts++
		}
	}
}

// at returns a pointer to element i of a slice, which is made longer for it.
func at[T any](s *[]T, i int) *T {
	for len(*s) <= i {
		*s = append(*s, *new(T))
	}
	return &(*s)[i]
}

// logits scores the token after position pos of a chunk.
func (r *runner) logits(model, chunk, pos int, logits, base []float32) {
	part := r.running[chunk]
	p := r.parts[part]
	at, ok := slices.BinarySearch(p.Scored, pos)
	if !ok {
		return
	}
	next, i := p.Tokens[pos+1], r.starts[part]+at
	var err error
	if model == 0 {
		r.base[i], err = newReference(logits, next)
		r.tallies[0].tokens[i] = token{nll: r.base[i].nll, sameTop: true}
		if err == nil && r.opts.Save != nil {
			err = r.opts.Save.put(part, at, logits)
		}
	} else {
		r.tallies[model].tokens[i], err = compare(base, r.base[i], logits, next)
	}
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = &infer.ModelError{Model: model, Err: fmt.Errorf("chunk %d, position %d: %w", part, pos, err)}
		r.cancel()
	}
}

// separated reports whether it is clear in which order the models are by divergence.
func (r *runner) separated() bool {
	looks := 0
	for done := r.firstPiece(); done < len(r.parts); done *= 2 {
		looks++
	}
	level := 1 - (1-interval.Level)/float64(looks*(len(r.tallies)-1))
	var models []Result
	for _, t := range r.tallies {
		var m Result
		m.KLD, m.Scored = r.kld(t)
		models = append(models, m)
	}
	mean := func(m Result) float64 { return m.Divergence().Value }
	slices.SortFunc(models, func(a, b Result) int { return cmp.Compare(mean(a), mean(b)) })
	for i, next := range models[1:] {
		difference, err := Difference(next, models[i])
		if err != nil {
			panic(err) // all have run the same
		}
		if !difference.Positive(level) {
			return false
		}
	}
	return true
}

// firstPiece returns how many parts are run before it is looked at what they say.
func (r *runner) firstPiece() int { return min(len(r.parts), max(fewest, fewestOfText*len(r.texts))) }

// text returns what the base and a model make of a text.
func (r *runner) text(t *tally, i int) (text text) {
	for p, part := range r.parts[:r.done] {
		if part.text == i {
			text.base = append(text.base, r.base[r.starts[p]:r.starts[p+1]]...)
			text.tokens = append(text.tokens, t.tokens[r.starts[p]:r.starts[p+1]]...)
			text.scored = append(text.scored, len(part.Scored))
		}
	}
	return text
}

// kld returns the mean divergence of each window of each text, and of how many tokens if those differ.
func (r *runner) kld(t *tally) (kld [][]float64, scored [][]int) {
	for i := range r.texts {
		text := r.text(t, i)
		kld, scored = append(kld, text.windows(divergence)), append(scored, text.scored)
	}
	return kld, interval.Unequal(scored)
}

// result sums up what is known of a model, text after text, so that it does not
// depend on the order in which the parts were run.
func (r *runner) result(t *tally) Result {
	result := Result{Elapsed: t.elapsed}
	result.KLD, result.Scored = r.kld(t)
	var texts []text
	var all layerSums
	for i := range r.texts {
		text := r.text(t, i)
		var sums layerSums
		for p, part := range r.parts[:r.done] {
			if part.text == i {
				sums.add(t.parts[p])
			}
		}
		texts = append(texts, text)
		all.add(sums)
		measures := sums.measures(newStats(text))
		measures.Text = r.texts[i].Name
		result.Texts = append(result.Texts, measures)
	}
	result.Overall = all.measures(newStats(texts...))
	return result
}

// add adds other sums.
func (s *layerSums) add(other layerSums) {
	s.tokens += other.tokens
	for i, v := range other.hidden {
		*at(&s.hidden, i) += v
	}
	for i := range other.routed {
		*at(&s.routed, i) += other.routed[i]
		*at(&s.experts, i) += other.experts[i]
		*at(&s.first, i) += other.first[i]
	}
}

// measures turns the sums into means.
func (s *layerSums) measures(of Stats) Measures {
	m := Measures{Stats: of}
	n := float64(s.tokens)
	for _, sum := range s.hidden {
		m.Hidden = append(m.Hidden, math.Sqrt(sum/n))
	}
	for i, n := range s.routed {
		m.Routing = append(m.Routing, Agreement{float64(s.experts[i]) / float64(n), float64(s.first[i]) / float64(n)})
	}
	return m
}
