package infer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Observer is told what happens to models in lock-step. What it is given may be
// used only during the call. Residual is called by the goroutine of Lockstep, Logits
// for different positions at the same time.
type Observer struct {
	// Residual, if not nil, is called before every layer, and after the last as if
	// there were one more.
	Residual func(Streams)
	// Logits is called with the logits that a model has for the token after a
	// position, and with those of the first model for the same token. At a
	// position, the first model comes first.
	Logits func(model, chunk, pos int, logits, reference []float32)
}

// Streams are the residual streams of a batch of chunks on their way into a layer.
type Streams struct {
	Layer  int
	First  int         // number of the first of the chunks
	Tokens int         // of all chunks
	Models [][]float32 // of each model: Tokens x width
}

// ModelError is an error of one of the models in lock-step.
type ModelError struct {
	Model int // index of the model
	Err   error
}

func (e *ModelError) Error() string { return fmt.Sprintf("model %d: %v", e.Model, e.Err) }
func (e *ModelError) Unwrap() error { return e.Err }

// Lockstep runs models of one shape, whatever they compute with, side by side, layer by layer: all chunks pass a
// layer of the first model, then the same layer of the second, and so on.
// The logits are those of [Model.Forward], to the last bit. Options.Router and Options.Input of the models are called too,
// within a layer in the order of the models; Options.Residual is not.
//
// Threads, memory and progress are those of the first model. Beside what
// Forward counts, the memory holds a residual stream for each model and the
// logits of one; each weight is read once for each batch of chunks, but those of
// the output once for each group of positions whose logits fit.
//
// A Source that makes rows as they are read can say which tensors are made of
// the same: see gguf.Identifier. What several models
// have in a layer, or as the output, is then made once and kept until the last has
// used it, in what the chunks leave of the memory, or at least an eighth of it.
//
// Lockstep returns how long each model has computed, with the time it took to read
// its weights, unless an earlier one had, and to look at its logits. The error wraps a
// *ModelError if it is that of one model.
func Lockstep(ctx context.Context, models []*Model, chunks []Chunk, o Observer) ([]time.Duration, error) {
	first := models[0]
	for i, m := range models {
		if err := first.comparable(m); err != nil {
			return nil, &ModelError{i, err}
		}
	}
	if err := first.checkTokens(chunks); err != nil {
		return nil, err
	}
	_, left, scratch := first.sizes()
	needy := slices.MaxFunc(models, func(a, b *Model) int { return cmp.Compare(a.fixedBytes(), b.fixedBytes()) })
	_, most, _ := needy.sizes()
	s := &lockstep{
		pass: pass{m: first, workers: make([]worker, first.threads), beside: beside{
			fixed:    4*minHeadRows*int64(first.Vocabulary()) + needy.fixedBytes() - first.fixedBytes(),
			perToken: (len(models)-1)*first.width + scratch + most - left,
		}},
		models:   models,
		streams:  make([][]float32, len(models)),
		elapsed:  make([]time.Duration, len(models)),
		observer: o,
	}
	s.share(chunks)
	total := len(models) * len(chunks) * (first.blocks + 1)
	done := 0
	step := func(n int) {
		done += n
		first.report(done, total)
	}
	for n := 0; n < len(chunks); n += len(s.chunks) {
		if err := s.batch(ctx, chunks, n, step); err != nil {
			return nil, err
		}
	}
	return s.elapsed, nil
}

// share makes room for the rows that models share: all that the chunks leave of the
// memory, but at least an eighth of it.
func (s *lockstep) share(chunks []Chunk) {
	if len(chunks) == 0 {
		return
	}
	tokens := 0
	for _, chunk := range chunks {
		tokens += len(chunk.Tokens)
	}
	stages := []func(*Model) []matrix{outputMatrix}
	for l := range s.m.layers {
		stages = append(stages, layerMatrices(l))
	}
	left := s.room(len(chunks[0].Tokens)) - int64(tokens)*s.perToken()
	s.reuse = newReuse(s.models, stages, max(left, s.m.memory/8))
	s.beside.fixed += int64(len(s.reuse.arena))
}

// layerMatrices lists the matrices of layer l of a model.
func layerMatrices(l int) func(*Model) []matrix {
	return func(m *Model) []matrix { return m.layers[l].matrices() }
}

// outputMatrix lists the matrix of the output of a model.
func outputMatrix(m *Model) []matrix { return []matrix{m.output} }

// comparable returns why m cannot run beside another model.
func (m *Model) comparable(other *Model) error {
	switch {
	case m.hyper != other.hyper:
		return m.difference(other.hyper)
	case !slices.Equal(m.ropeFactors, other.ropeFactors):
		return errors.New("rope_freqs.weight is not that of the first")
	case m.Vocabulary() != other.Vocabulary():
		return fmt.Errorf("the vocabulary has %d tokens, that of the first %d", other.Vocabulary(), m.Vocabulary())
	}
	return nil
}

// lockstep is a pass that the models use in turn.
type lockstep struct {
	pass
	models    []*Model
	streams   [][]float32 // the residual stream of each model
	reference []float32   // logits of the first model
	elapsed   []time.Duration
	observer  Observer
}

// inTurn calls f with the pass set to each of the models, then step.
func (s *lockstep) inTurn(f func(model int) error, step func()) error {
	for i, m := range s.models {
		start := time.Now()
		s.m, s.x = m, s.streams[i]
		err := f(i)
		s.elapsed[i] += time.Since(start)
		if err != nil {
			return &ModelError{i, err}
		}
		step()
	}
	return nil
}

// batch runs as many chunks as fit, from number first on. It calls step with how
// many more layers of chunks are done.
func (s *lockstep) batch(ctx context.Context, chunks []Chunk, first int, step func(n int)) error {
	s.m, s.x = s.models[0], s.streams[0]
	s.begin(chunks[first:])
	s.streams[0] = s.x
	for i := range s.streams[1:] {
		sized(&s.streams[i+1], len(s.x))
	}
	rows := s.rowsByToken()
	if err := s.inTurn(func(int) error { return s.embedOnce(ctx, rows) }, func() {}); err != nil {
		return err
	}
	for l := range s.models[0].layers {
		s.tell(l, first)
		s.reuse.begin(s.models, layerMatrices(l))
		err := s.inTurn(func(model int) error {
			s.prefetch(model, l)
			return s.layer(ctx, &s.m.layers[l])
		}, func() { step(len(s.chunks)) })
		if err != nil {
			return fmt.Errorf("layer %d: %w", l, err)
		}
	}
	s.tell(len(s.models[0].layers), first)
	return s.heads(ctx, first, step)
}

func (s *lockstep) tell(layer, first int) {
	if s.observer.Residual != nil {
		s.observer.Residual(Streams{layer, first, s.tokens, s.streams})
	}
}

// prefetch has what is needed after a layer of a model read ahead: the same
// layer of the next one.
func (s *lockstep) prefetch(model, layer int) {
	if model++; model == len(s.models) {
		model, layer = 0, layer+1
	}
	if layer < len(s.models[model].layers) {
		s.models[model].layers[layer].prefetch(s.models[model].src)
	}
}

// rowsByToken returns where in the batch each token stands.
func (s *lockstep) rowsByToken() map[int32][]int {
	rows := make(map[int32][]int)
	for c, chunk := range s.chunks {
		for pos, id := range chunk.Tokens {
			rows[id] = append(rows[id], s.starts[c]+pos)
		}
	}
	return rows
}

// embedOnce is embed for weights that are costly to read, such as those that
// are quantized on the way: no row is read twice.
func (p *pass) embedOnce(ctx context.Context, rows map[int32][]int) error {
	width := p.m.width
	ids := slices.Collect(maps.Keys(rows))
	return parallel(ctx, p.workers, len(ids), func(w *worker, i int) error {
		at := rows[ids[i]]
		embedding := p.x[at[0]*width:][:width]
		if err := p.m.read(w, embedding, p.m.embedding, int(ids[i]), 1); err != nil {
			return err
		}
		for _, row := range at[1:] {
			copy(p.x[row*width:], embedding)
		}
		return nil
	})
}

// heads computes the logits that are asked for, of all models for one group of positions
// after the other.
func (s *lockstep) heads(ctx context.Context, first int, step func(n int)) error {
	type place struct{ chunk, pos int }
	var rows []int
	var places []place
	for c, chunk := range s.chunks {
		for pos := max(0, chunk.From); pos < len(chunk.Tokens); pos++ {
			rows = append(rows, s.starts[c]+pos)
			places = append(places, place{first + c, pos})
		}
	}
	s.reuse.begin(s.models, outputMatrix)
	vocabulary := s.m.Vocabulary()
	group := max(len(s.scratch)/vocabulary, minHeadRows)
	steps, all, done := len(s.models)*len(s.chunks), len(s.models)*len(rows), 0
	for len(rows) > 0 {
		n := min(group, len(rows))
		err := s.inTurn(func(model int) error {
			if err := s.normalize(ctx, s.m.outputNorm); err != nil {
				return err
			}
			if err := s.pack(ctx, s.normed, s.m.width, rows[:n], s.m.output); err != nil {
				return err
			}
			logits := sized(&s.scratch, n*vocabulary)
			if model == 0 {
				logits = sized(&s.reference, n*vocabulary)
			}
			if err := s.product(ctx, logits, n, s.m.output, false); err != nil {
				return err
			}
			return parallel(ctx, s.workers, n, func(_ *worker, i int) error {
				at := i * vocabulary
				s.observer.Logits(model, places[i].chunk, places[i].pos, logits[at:][:vocabulary], s.reference[at:][:vocabulary])
				return nil
			})
		}, func() {
			step(steps*(done+n)/all - steps*done/all)
			done += n
		})
		if err != nil {
			return err
		}
		rows, places = rows[n:], places[n:]
	}
	if all == 0 {
		step(steps)
	}
	return nil
}
