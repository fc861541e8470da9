package infer

import (
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
// They may be shown in parts, one after the other.
type Streams struct {
	Layer  int
	First  int         // number of the first of the chunks
	Row    int         // tokens of the chunks before these
	Tokens int         // that are shown
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
// the output once for each group of positions whose logits fit. Where the streams of all chunks do not fit, those of
// the model that is computed are in memory, and the others in a file without a name in a folder for temporary ones: TMPDIR, else /var/tmp.
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
	streams   [][]float32 // the residual stream of each model, unless they are spilled
	spilled   *spill      // or nil
	shown     []float32   // of spilled streams
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
	if l.plan.spilled {
		var err error
		if l.spilled, err = newSpill(l.workers); err != nil {
			return err
		}
		defer l.spilled.close()
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
	l.divide(chunks)
	return nil
}

// step reports that chunks went through another layer of a model.
func (l *lockstep) step(n int) {
	l.steps.done += n
	l.models[0].report(l.steps.done, l.steps.total)
}

// divide divides the memory: among the tokens that go through the layers together, what is taken for a block of them, and the rows that
// models share, for which there is all that the chunks leave, but at least an eighth of it if one fits beside that.
func (l *lockstep) divide(chunks []Chunk) {
	s := setting{models: l.models, workers: len(l.workers), whole: l.strands != nil}
	for _, chunk := range chunks {
		s.tokens += len(chunk.Tokens)
	}
	text := l.context
	if l.m.together > 0 {
		s.tokens = min(s.tokens, max(text, l.m.together))
	}
	for _, sessions := range l.sessions {
		if len(sessions) > 0 {
			l.context, s.beside = sessions[0].context, sessions[0].engine.held
		}
	}
	l.plan = newPlan(s, text)
	if len(l.models) == 1 {
		return
	}
	memory := l.m.memory
	left := func() int64 { return memory - l.plan.bytes(text, s.tokens) }
	if left() < 0 {
		s.spilled = true
		l.plan = newPlan(s, text)
	}
	stages := []stage{outputStage}
	for i := range l.m.graph.Layers {
		stages = append(stages, layerStage(i))
	}
	l.reuse = newReuse(l.models, stages, max(0, left(), min(memory/8, memory-l.plan.bytes(text, text))))
	l.plan.fixed += l.reuse.size
}

// inTurn calls f with the batch set to each of the models, then step.
func (l *lockstep) inTurn(f func(model int) error, step func()) error {
	for i, m := range l.models {
		start := time.Now()
		l.m = m
		if l.spilled == nil {
			l.x = l.streams[i]
		}
		err := f(i)
		l.elapsed[i] += time.Since(start)
		if err != nil {
			return &ModelError{i, err}
		}
		step()
	}
	return nil
}

// load reads the residual stream of a model if it is not in memory.
func (l *lockstep) load(ctx context.Context, model int) error {
	if l.spilled == nil {
		return nil
	}
	return l.spilled.read(ctx, l.x, model, 0)
}

// store writes the residual stream of a model if it does not stay in memory.
func (l *lockstep) store(ctx context.Context, model int) error {
	if l.spilled == nil {
		return nil
	}
	return l.spilled.write(ctx, l.x, model)
}

// loadRows moves some rows of the residual stream of a model, ascending, to its front.
func (l *lockstep) loadRows(ctx context.Context, model int, rows []int) error {
	stream := l.m.graph.Stream()
	if l.spilled == nil {
		for i, row := range rows {
			copy(l.x[i*stream:][:stream], l.x[row*stream:])
			if l.owners != nil {
				l.owners[i] = l.owners[row]
			}
		}
		return nil
	}
	return parallel(ctx, l.workers, len(rows), func(_ *worker, i int) error {
		return l.spilled.readPart(l.x[i*stream:][:stream], model, rows[i]*stream)
	})
}

// batchFrom runs as many chunks as fit, from number first on, and returns how many.
func (l *lockstep) batchFrom(ctx context.Context, chunks []Chunk, first int) (n int, err error) {
	l.m = l.models[0]
	if l.spilled == nil {
		l.x = l.streams[0]
	}
	n = l.begin(chunks, first)
	l.makeRoom()
	if l.spilled != nil {
		l.spilled.floats = len(l.x)
	} else {
		l.streams[0] = l.x
		for i := range l.streams[1:] {
			sized(&l.streams[i+1], len(l.x))
		}
	}
	if err := l.enter(ctx); err != nil {
		return n, err
	}
	for i := l.layer; i < l.end; i++ {
		if err := l.tell(ctx, i, first); err != nil {
			return n, err
		}
		l.reuse.begin(l.models, layerStage(i))
		err := l.inTurn(func(model int) error {
			l.prefetch(model, i)
			if err := l.load(ctx, model); err != nil {
				return err
			}
			if err := l.m.graph.RunLayer(ctx, l, i, l.x); err != nil {
				return err
			}
			return l.store(ctx, model)
		}, func() { l.step(n) })
		if err != nil {
			return n, err
		}
	}
	if err := l.tell(ctx, l.end, first); err != nil {
		return n, err
	}
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
	return l.inTurn(func(model int) error {
		if err := l.embed(ctx, rows); err != nil {
			return err
		}
		if err := l.m.graph.Enter(ctx, l, l.x); err != nil {
			return err
		}
		return l.store(ctx, model)
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

// tell shows the residual streams.
func (l *lockstep) tell(ctx context.Context, layer, first int) error {
	if l.observer.Residual == nil {
		return nil
	}
	if l.spilled == nil {
		l.observer.Residual(Streams{layer, first, 0, l.tokens, l.streams})
		return nil
	}
	stream, most := l.m.graph.Stream(), max(1, l.plan.rows/len(l.models))
	shown := make([][]float32, len(l.models))
	for row := 0; row < l.tokens; row += most {
		n := min(most, l.tokens-row) * stream
		sized(&l.shown, n*len(l.models))
		for i := range shown {
			shown[i] = l.shown[i*n:][:n]
			if err := l.spilled.read(ctx, shown[i], i, row*stream); err != nil {
				return err
			}
		}
		l.observer.Residual(Streams{layer, first, row, n / stream, shown})
	}
	return nil
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
	l.reuse.begin(l.models, outputStage)
	l.held, l.a, l.scratch = heldWeights{}, packedA{}, nil // make room for logits, which make room for blocks
	defer func() { l.a, l.scratch, l.reference = packedA{}, nil, nil }()
	l.together = l.plan.positions
	vocabulary, stream := l.m.Vocabulary(), l.m.graph.Stream()
	steps, all, done := len(l.models)*chunks, len(l.models)*len(rows), 0
	for len(rows) > 0 {
		l.tokens = min(l.together, len(rows)) // what the engine computes with
		err := l.inTurn(func(model int) error {
			if err := l.loadRows(ctx, model, rows[:l.tokens]); err != nil {
				return err
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
