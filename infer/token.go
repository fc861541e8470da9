package infer

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// token is the engine for the next token of a session.
type token struct {
	m       *Model
	session *Session
	id      int32
	crew    crew
	angles  []graph.Angles
	vectors [][]kernel.Vector8 // of products that are under way

	indexScores []float32 // of what a token may see
	chosen      []int32   // what it sees by the last indexer, if not all

	x, normed, branch, aside, active, scratch, inner, out []float32
}

var _ graph.Engine = (*token)(nil)

func newToken(s *Session) *token {
	width := s.m.graph.Width
	return &token{
		m: s.m, session: s, crew: crew{workers: make([]worker, s.m.threads)},
		x: make([]float32, s.m.graph.Stream()), normed: make([]float32, width), branch: make([]float32, width), aside: make([]float32, width),
		active: make([]float32, width), scratch: make([]float32, s.m.graph.Size().Scratch),
	}
}

// run computes the logits of the token after a token.
func (t *token) run(ctx context.Context, id int32, logits []float32) error {
	t.crew.start()
	defer t.crew.stop()
	t.id = id
	w, first := &t.crew.workers[0], t.x[:t.m.graph.Width]
	if err := t.m.embed(w, first, id); err != nil {
		return err
	}
	if err := t.m.enter(w, first, t.session.tokens); err != nil {
		return err
	}
	if err := t.m.graph.Enter(ctx, t, t.x); err != nil {
		return err
	}
	for i := range t.m.graph.Layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.m.graph.RunLayer(ctx, t, i, t.x); err != nil {
			return err
		}
	}
	return t.m.graph.Head(ctx, t, logits, t.x)
}

// Tokens implements graph.Engine.
func (t *token) Tokens() int { return 1 }

// Normed implements graph.Engine.
func (t *token) Normed() []float32 { return t.normed }

// Branch implements graph.Engine.
func (t *token) Branch() []float32 { return t.branch }

// Aside implements graph.Engine.
func (t *token) Aside() []float32 { return t.aside }

// Active implements graph.Engine.
func (t *token) Active() []float32 { return t.active }

// Scratch implements graph.Engine.
func (t *token) Scratch(perToken ...int) [][]float32 {
	parts, rest := make([][]float32, len(perToken)), t.scratch
	for i, n := range perToken {
		parts[i], rest = rest[:n], rest[n:]
	}
	return parts
}

// Each implements graph.Engine.
func (t *token) Each(_ context.Context, f func(row, pos int)) error {
	f(0, t.session.tokens)
	return nil
}

// Angles implements graph.Engine.
func (t *token) Angles(r *graph.Rope) graph.Angles {
	return anglesOf(&t.angles, r, t.session.context, t.session.context)
}

// Lookup implements graph.Engine.
func (t *token) Lookup(_ context.Context, dst []float32, w *graph.Matrix, first int) error {
	return t.m.lookup(&t.crew.workers[0], dst, w, t.id, first)
}

// Router implements graph.Engine.
func (t *token) Router() func(Routing) { return nil }

// Multiply implements graph.Engine.
func (t *token) Multiply(_ context.Context, x []float32, products ...graph.Product) error {
	vectors := make([]vectorProduct, len(products))
	for i, p := range products {
		vectors[i] = vectorProduct{p.Dst, x, p.W}
	}
	return t.multiply(vectors...)
}

// MultiplyEach implements graph.Engine.
func (t *token) MultiplyEach(_ context.Context, x [][]float32, products []graph.Product) error {
	vectors := make([]vectorProduct, len(products))
	for i, p := range products {
		vectors[i] = vectorProduct{p.Dst, x[i], p.W}
	}
	return t.multiply(vectors...)
}

// Add implements graph.Engine.
func (t *token) Add(_ context.Context, dst, x []float32, w *graph.Matrix) error {
	out := sized(&t.out, w.Rows)
	if err := t.multiply(vectorProduct{out, x, w}); err != nil {
		return err
	}
	kernel.AddScaled(dst, out, 1)
	return nil
}

// Attend implements graph.Engine.
func (t *token) Attend(_ context.Context, dst, q, k, v []float32, a *graph.AttentionOp) error {
	pos, cache := t.session.tokens, &t.session.caches[a.Slot]
	if a.Source == nil && !a.Remembered {
		if err := cache.put(pos, k, v); err != nil {
			return err
		}
	}
	group := a.Heads / a.KVHeads
	heads := headsOfTask(group, (len(t.crew.workers)+a.KVHeads-1)/a.KVHeads)
	tasks := (group + heads - 1) / heads // for each head of the cache
	return t.crew.run(a.KVHeads*tasks, func(w *worker, task int) error {
		kv, from := task/tasks, task%tasks*heads
		keys, values, err := t.seen(w, a, kv)
		if err != nil {
			return err
		}
		valueLen := a.ValueLen
		if a.Latent {
			values, valueLen = keys, a.KeyLen
		}
		scores := sized(&w.scores, len(keys)/a.KeyLen)
		for head := kv*group + from; head < kv*group+min(from+heads, group); head++ {
			query, out := q[head*a.KeyLen:][:a.KeyLen], dst[head*a.ValueLen:][:a.ValueLen]
			for i := range scores {
				scores[i] = kernel.Dot(query, keys[i*a.KeyLen:][:a.KeyLen])
			}
			sum := a.Softmax(head, scores)
			clear(out)
			for i, score := range scores {
				kernel.AddScaled(out, values[i*valueLen:][:a.ValueLen], score/sum)
			}
		}
		return nil
	})
}

// seen returns the keys and values of a head that the token sees.
func (t *token) seen(w *worker, a *graph.AttentionOp, head int) (keys, values []float32, err error) {
	pos, cache := t.session.tokens, &t.session.caches[a.Slot]
	if a.Indexer != nil && pos >= a.Indexer.TopK {
		return cache.gather(w, head, t.chosen)
	}
	return cache.get(w, head, a.First(pos), pos+1)
}

// Networks implements graph.Engine. The products of all networks are computed together.
func (t *token) Networks(_ context.Context, dst, x []float32, uses []graph.Use) error {
	width, inner := t.m.graph.Width, 0
	for _, u := range uses {
		for _, w := range u.Network.Inputs() {
			inner += w.Rows
		}
		if u.WeighFirst {
			inner += len(x)
		}
	}
	room, out := sized(&t.inner, inner), sized(&t.out, len(uses)*width)
	in, down := make([]vectorProduct, 0, 2*len(uses)), make([]vectorProduct, 0, len(uses))
	parts := make([][][]float32, len(uses))
	for i, u := range uses {
		seen := x
		if u.WeighFirst {
			seen, room = room[:len(x)], room[len(x):]
			copy(seen, x)
			weigh(seen, u.Weights)
		}
		for _, w := range u.Network.Inputs() {
			parts[i] = append(parts[i], room[:w.Rows])
			in = append(in, vectorProduct{room[:w.Rows], seen, w})
			room = room[w.Rows:]
		}
		down = append(down, vectorProduct{out[i*width:][:width], parts[i][0], &u.Network.Down})
	}
	if err := t.multiply(in...); err != nil {
		return err
	}
	for i, u := range uses {
		u.Network.Activate(parts[i]...)
	}
	if err := t.multiply(down...); err != nil {
		return err
	}
	for i, u := range uses {
		weight := float32(1)
		if u.Weights != nil && !u.WeighFirst {
			weight = u.Weights[0]
		}
		kernel.AddScaled(dst, down[i].dst, weight)
	}
	return nil
}

// vectorProduct is one product of a weight matrix and a vector: dst becomes
// w·x + bias.
type vectorProduct struct {
	dst, x []float32
	w      *graph.Matrix
}

// vectorTask is about how many bytes of a matrix one task takes at least: rows that
// are dequantized stay in a core's cache. Other products go through rows once and
// ask for them ahead, so they take longer stretches, of a share of the matrix.
const (
	vectorTask     = 64 << 10
	tasksPerWorker = 2
)

// multiply computes some products, rows in parallel.
func (t *token) multiply(products ...vectorProduct) error {
	type task struct{ product, first, rows int }
	var tasks []task
	rounded := t.round(products)
	for i, p := range products {
		info := t.m.src.Tensors()[p.w.Tensor]
		rows := max(1, vectorTask/int(info.RowBytes()))
		if rounded[i] != nil || kernel.CanDotFloatRows(info.Type, p.w.Cols) {
			rows = max(rows, p.w.Rows/(tasksPerWorker*len(t.crew.workers)))
		}
		for first := 0; first < p.w.Rows; first += rows {
			tasks = append(tasks, task{i, first, min(rows, p.w.Rows-first)})
		}
	}
	return t.crew.run(len(tasks), func(w *worker, i int) error {
		part := tasks[i]
		p := products[part.product]
		dst := p.dst[part.first:][:part.rows]
		var err error
		if x := rounded[part.product]; x != nil {
			err = t.m.multiplyInt8(w, dst, x, p.w, part.first)
		} else {
			err = t.m.multiplyExact(w, dst, p.x, p.w, part.first)
		}
		if err == nil && p.w.Bias != nil {
			kernel.AddScaled(dst, p.w.Bias[part.first:], 1)
		}
		return err
	})
}

// round returns the vectors of the products that integers can do, rounded: a
// vector of several products once, nil for other products.
func (t *token) round(products []vectorProduct) [][]kernel.Vector8 {
	rounded := make([][]kernel.Vector8, len(products))
	if t.m.compute == Exact {
		return rounded
	}
	used := 0
	for i, p := range products {
		if !t.m.dotsRows(p.w) {
			continue
		}
		if i > 0 && rounded[i-1] != nil && &p.x[0] == &products[i-1].x[0] {
			rounded[i] = rounded[i-1]
			continue
		}
		if used == len(t.vectors) {
			t.vectors = append(t.vectors, nil)
		}
		rounded[i] = sized(&t.vectors[used], len(p.x)/256)
		kernel.QuantizeVector(rounded[i], p.x)
		used++
	}
	return rounded
}

// dotsRows reports whether a new token is multiplied with rows of w as they are stored, in
// integers.
func (m *Model) dotsRows(w *graph.Matrix) bool {
	return m.compute != Exact && !w.Exact && w.Cols%256 == 0 && kernel.CanDotRows(m.src.Tensors()[w.Tensor].Type)
}

// multiplyExact multiplies rows of w, from number first on, one for each element
// of dst.
func (m *Model) multiplyExact(worker *worker, dst, x []float32, w *graph.Matrix, first int) error {
	return m.useRows(worker, w, first, len(dst), func(raw []byte) error {
		if t := m.src.Tensors()[w.Tensor].Type; kernel.CanDotFloatRows(t, w.Cols) {
			kernel.DotFloatRows(t, dst, raw, x)
			return nil
		}
		rows := sized(&worker.rows, len(dst)*w.Cols)
		if err := m.dequantize(rows, w, raw); err != nil {
			return err
		}
		for r := range dst {
			dst[r] = kernel.Dot(x, rows[r*w.Cols:][:w.Cols])
		}
		return nil
	})
}

// multiplyInt8 is multiplyExact with a rounded vector, for types that
// kernel.DotRows can do.
func (m *Model) multiplyInt8(worker *worker, dst []float32, x []kernel.Vector8, w *graph.Matrix, first int) error {
	return m.useRows(worker, w, first, len(dst), func(rows []byte) error {
		kernel.DotRows(m.src.Tensors()[w.Tensor].Type, dst, rows, x)
		return nil
	})
}
