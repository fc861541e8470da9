package infer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
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
	// Batch, if not nil, is called by the goroutine of Lockstep when all was said of n chunks, from number first on, with how
	// long each model has computed for them. Its error ends the work.
	Batch func(first, n int, elapsed []time.Duration) error
}

// Streams are the residual streams of a batch of chunks on their way into a layer.
type Streams struct {
	Layer  int
	First  int         // number of the first of the chunks
	Tokens int         // of all chunks
	Models [][]float32 // of each model: Tokens x Spec.Stream
}

// ModelError is an error of one of the models in lock-step.
type ModelError struct {
	Model int // index of the model
	Err   error
}

// Error implements error.
func (e *ModelError) Error() string { return fmt.Sprintf("model %d: %v", e.Model, e.Err) }

// Unwrap returns Err.
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
	l := newLockstep(models, o)
	err := l.run(ctx, chunks)
	if err != nil {
		return nil, err
	}
	return l.elapsed, nil
}

// minHeadRows is how many positions' logits are computed at once at least, even
// where scratch is too small for them: each time, the output matrix is read.
const minHeadRows = 64

// lockstep is a batch that models use in turn: one, for Forward, or several.
type lockstep struct {
	batch
	models    []*Model
	strands   Strands     // whose texts the chunks are, or nil
	layer     int         // the first that is run
	end       int         // and the one before which the run ends
	streams   [][]float32 // the residual stream of each model
	reference []float32   // logits of the first model
	elapsed   []time.Duration
	observer  Observer
	steps     struct{ done, total int }
}

func newLockstep(models []*Model, o Observer) *lockstep {
	first := models[0]
	return &lockstep{
		batch:    batch{m: first, workers: make([]worker, first.threads)},
		models:   models,
		end:      len(first.graph.Layers),
		streams:  make([][]float32, len(models)),
		elapsed:  make([]time.Duration, len(models)),
		observer: o,
	}
}

// run takes chunks through the models.
func (l *lockstep) run(ctx context.Context, chunks []Chunk) error {
	if err := l.prepare(chunks); err != nil {
		return err
	}
	l.steps.total = len(l.models) * len(chunks) * (l.end - l.layer + 1)
	for first := 0; first < len(chunks); {
		before := slices.Clone(l.elapsed)
		n, err := l.batchFrom(ctx, chunks, first)
		if err != nil {
			return err
		}
		if l.observer.Batch != nil {
			for i, elapsed := range l.elapsed {
				before[i] = elapsed - before[i]
			}
			if err := l.observer.Batch(first, n, before); err != nil {
				return err
			}
		}
		first += n
	}
	return nil
}

// prepare checks the models and the chunks, and finds out what the memory has to hold beside batches of these.
func (l *lockstep) prepare(chunks []Chunk) error {
	first := l.models[0]
	for i, m := range l.models[1:] {
		if err := first.Spec().Difference(m.Spec()); err != nil {
			return &ModelError{i + 1, err}
		}
	}
	if err := first.check(chunks); err != nil {
		return err
	}
	l.context, l.ends = 0, make([]int, len(chunks))
	for c, chunk := range chunks {
		l.ends[c] = len(chunk.Tokens)
		if chunk.After > 0 {
			if l.observer.Residual != nil {
				return fmt.Errorf("%w: to show the residual streams of chunks that follow others", gguf.ErrUnsupported)
			}
			l.ends[c] += l.ends[chunk.After-1]
		}
		l.context = max(l.context, l.ends[c])
	}
	if len(l.models) > 1 {
		l.share(chunks)
	}
	for _, sessions := range l.sessions {
		if len(sessions) > 0 {
			l.context, l.beside.fixed = sessions[0].context, sessions[0].engine.held
		}
	}
	return nil
}

// step reports that chunks went through another layer of a model.
func (l *lockstep) step(n int) {
	l.steps.done += n
	l.models[0].report(l.steps.done, l.steps.total)
}

// share makes room for what several models take: their streams, the logits of the first,
// and the rows that they share, for which there is all that the chunks leave of the
// memory, but at least an eighth of it.
func (l *lockstep) share(chunks []Chunk) {
	first := l.m
	needy := slices.MaxFunc(l.models, func(a, b *Model) int { return cmp.Compare(a.fixedBytes(), b.fixedBytes()) })
	_, least, scratch := first.sizes()
	_, most, _ := needy.sizes()
	l.beside = beside{
		fixed:    4*minHeadRows*int64(first.Vocabulary()) + needy.fixedBytes() - first.fixedBytes(),
		perToken: (len(l.models)-1)*(first.graph.Stream()+first.kept()) + scratch + most - least,
	}
	if len(chunks) == 0 {
		return
	}
	tokens := 0
	for _, chunk := range chunks {
		tokens += len(chunk.Tokens)
	}
	stages := []func(*Model) []*graph.Matrix{outputMatrix}
	for i := range first.graph.Layers {
		stages = append(stages, layerMatrices(i))
	}
	left := l.room(l.ends[0]) - int64(tokens)*l.perToken()
	l.reuse = newReuse(l.models, stages, max(left, first.memory/8))
	l.beside.fixed += l.reuse.size
}

// layerMatrices lists the matrices of a layer of a model.
func layerMatrices(layer int) func(*Model) []*graph.Matrix {
	return func(m *Model) []*graph.Matrix { return m.graph.Weights(layer) }
}

// outputMatrix lists the matrix of the output of a model.
func outputMatrix(m *Model) []*graph.Matrix { return []*graph.Matrix{&m.graph.Output} }

// inTurn calls f with the batch set to each of the models, then step.
func (l *lockstep) inTurn(f func(model int) error, step func()) error {
	for i, m := range l.models {
		start := time.Now()
		l.m, l.x = m, l.streams[i]
		err := f(i)
		l.elapsed[i] += time.Since(start)
		if err != nil {
			return &ModelError{i, err}
		}
		step()
	}
	return nil
}

// batchFrom runs as many chunks as fit, from number first on, and returns how many.
func (l *lockstep) batchFrom(ctx context.Context, chunks []Chunk, first int) (n int, err error) {
	l.m, l.x = l.models[0], l.streams[0]
	n = l.begin(chunks, first)
	l.makeRoom()
	l.streams[0] = l.x
	for i := range l.streams[1:] {
		sized(&l.streams[i+1], len(l.x))
	}
	if err := l.enter(ctx); err != nil {
		return n, err
	}
	for i := l.layer; i < l.end; i++ {
		l.tell(i, first)
		l.reuse.begin(l.models, layerMatrices(i))
		err := l.inTurn(func(model int) error {
			l.prefetch(model, i)
			return l.m.graph.RunLayer(ctx, l, i, l.x)
		}, func() { l.step(n) })
		if err != nil {
			return n, err
		}
	}
	l.tell(l.end, first)
	return n, l.heads(ctx, n)
}

// enter sets the residual streams to what enters the first layer that is run.
func (l *lockstep) enter(ctx context.Context) error {
	if l.strands != nil {
		l.own()
		return nil
	}
	rows := make(map[int32][]int) // of the batch, by token
	for _, chunk := range l.chunks {
		for pos, id := range chunk.Tokens {
			rows[id] = append(rows[id], chunk.start+pos)
		}
	}
	return l.inTurn(func(int) error {
		if err := l.embed(ctx, rows); err != nil {
			return err
		}
		return l.m.graph.Enter(ctx, l, l.x)
	}, func() {})
}

// embed sets the residual stream, or the first of several, to the embeddings of tokens. No row is read twice: some
// are quantized on the way.
func (b *batch) embed(ctx context.Context, rows map[int32][]int) error {
	width, stream := b.m.graph.Width, b.m.graph.Stream()
	ids := slices.Collect(maps.Keys(rows))
	return parallel(ctx, b.workers, len(ids), func(w *worker, i int) error {
		at := rows[ids[i]]
		embedding := b.x[at[0]*stream:][:width]
		if err := b.m.embed(w, embedding, ids[i]); err != nil {
			return err
		}
		for _, row := range at[1:] {
			copy(b.x[row*stream:], embedding)
		}
		for _, row := range at {
			if err := b.m.enter(w, b.x[row*stream:][:width], b.positions[row]); err != nil {
				return err
			}
		}
		return nil
	})
}

// embed sets dst to the embedding of a token.
func (m *Model) embed(w *worker, dst []float32, token int32) error {
	return m.row(w, dst, &m.graph.Embedding, int(token))
}

// enter makes of the embedding of a token at a position what enters the first layer.
func (m *Model) enter(w *worker, x []float32, pos int) error {
	var position []float32
	if n := m.graph.Positions.Rows; n > 0 {
		if pos >= n {
			return fmt.Errorf("there is no embedding of position %d, only of %d", pos, n)
		}
		position = sized(&w.out, len(x))
		if err := m.row(w, position, &m.graph.Positions, pos); err != nil {
			return err
		}
	}
	m.graph.Embedded(x, position)
	return nil
}

// lookup sets dst to the elements of a token's row from number first on.
func (m *Model) lookup(w *worker, dst []float32, matrix *graph.Matrix, token int32, first int) error {
	row := sized(&w.out, matrix.Cols)
	err := m.row(w, row, matrix, int(token))
	copy(dst, row[first:])
	return err
}

// row dequantizes a row of a matrix.
func (m *Model) row(w *worker, dst []float32, matrix *graph.Matrix, row int) error {
	return m.useRows(w, matrix, row, 1, func(raw []byte) error { return m.dequantize(dst, matrix, raw) })
}

func (l *lockstep) tell(layer, first int) {
	if l.observer.Residual != nil {
		l.observer.Residual(Streams{layer, first, l.tokens, l.streams})
	}
}

// residuals returns the residual stream of each chunk.
func (b *batch) residuals() [][]float32 {
	chunks := make([][]float32, len(b.chunks))
	stream := b.m.graph.Stream()
	for c, chunk := range b.chunks {
		chunks[c] = b.x[chunk.start*stream:][:len(chunk.Tokens)*stream]
	}
	return chunks
}

// prefetch has what is needed after a layer of a model read ahead: the same
// layer of the next one.
func (l *lockstep) prefetch(model, layer int) {
	if model++; model == len(l.models) {
		model, layer = 0, layer+1
	}
	if m := l.models[model]; layer < len(m.graph.Layers) {
		m.prefetch(layer)
	}
}

// heads computes the logits that are asked for, of all models for one group of positions
// after the other. The batch has so many chunks that are new.
func (l *lockstep) heads(ctx context.Context, chunks int) error {
	type place struct{ chunk, pos int }
	var rows []int
	var places []place
	for _, chunk := range l.chunks {
		for pos := max(0, chunk.From); pos < len(chunk.Tokens); pos++ {
			rows = append(rows, chunk.start+pos)
			places = append(places, place{chunk.number, pos})
		}
	}
	l.reuse.begin(l.models, outputMatrix)
	vocabulary, stream := l.m.Vocabulary(), l.m.graph.Stream()
	group := max(len(l.scratch)/vocabulary, minHeadRows)
	steps, all, done := len(l.models)*chunks, len(l.models)*len(rows), 0
	for len(rows) > 0 {
		l.tokens = min(group, len(rows)) // what the engine computes with
		err := l.inTurn(func(model int) error {
			for i, row := range rows[:l.tokens] {
				copy(l.x[i*stream:][:stream], l.x[row*stream:]) // rows that are done make room
				if l.owners != nil {
					l.owners[i] = l.owners[row]
				}
			}
			room := &l.scratch
			if model == 0 && len(l.models) > 1 {
				room = &l.reference
			}
			logits := sized(room, l.tokens*vocabulary)
			if err := l.m.graph.Head(ctx, l, logits, l.x[:l.tokens*stream]); err != nil {
				return err
			}
			reference := logits
			if model > 0 {
				reference = l.reference
			}
			return parallel(ctx, l.workers, l.tokens, func(_ *worker, i int) error {
				at := i * vocabulary
				l.observer.Logits(model, places[i].chunk, places[i].pos, logits[at:][:vocabulary], reference[at:][:vocabulary])
				return ctx.Err()
			})
		}, func() {
			l.step(steps*(done+l.tokens)/all - steps*done/all)
			done += l.tokens
		})
		if err != nil {
			return err
		}
		rows, places = rows[l.tokens:], places[l.tokens:]
	}
	if all == 0 {
		l.step(steps)
	}
	return nil
}
