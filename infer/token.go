package infer

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// tokens is the engine for the next tokens of sessions, of each a row. What it computes of one does not depend on
// the others: each product with a row of weights is a sum of its own, in the same order, whoever else is multiplied with that row.
type tokens struct {
	m        *Model
	context  int   // that each session has room for
	held     int64 // bytes that all of them take
	crew     crew
	sessions []*Session
	ids      []int32
	angles   []graph.Angles
	vectors  [][]kernel.Vector8 // of products that are under way

	indexScores []float32 // of what tokens may see
	chosen      []int32   // what each sees by the last indexer, if not all

	x, normed, branch, aside, active, scratch, inner, out, logits []float32
}

var _ graph.Engine = (*tokens)(nil)

func newTokens(m *Model, context int, held int64) *tokens {
	return &tokens{m: m, context: context, held: held, crew: crew{workers: make([]worker, m.threads)}}
}

// run computes the logits of the tokens after those that follow the texts of sessions.
func (t *tokens) run(ctx context.Context, sessions []*Session, ids []int32) error {
	t.sessions, t.ids = sessions, ids
	t.crew.start()
	defer t.crew.stop()
	n, width, stream := len(ids), t.m.graph.Width, t.m.graph.Stream()
	for _, room := range []*[]float32{&t.normed, &t.branch, &t.aside, &t.active} {
		sized(room, n*width)
	}
	sized(&t.x, n*stream)
	sized(&t.scratch, n*max(t.m.graph.Size().Scratch, t.m.graph.Size().Whole))
	err := t.crew.run(n, func(w *worker, row int) error {
		first := t.x[row*stream:][:width]
		if err := t.m.embed(w, first, ids[row]); err != nil {
			return err
		}
		return t.m.enter(w, first, sessions[row].tokens)
	})
	if err != nil {
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
	logits := sized(&t.logits, n*t.m.Vocabulary())
	if err := t.m.graph.Head(ctx, t, logits, t.x); err != nil {
		return err
	}
	for row, s := range sessions {
		copy(s.logits, logits[row*t.m.Vocabulary():])
	}
	return nil
}

// Tokens implements graph.Engine.
func (t *tokens) Tokens() int { return len(t.ids) }

// Blocks implements graph.Engine: a token of each session is one.
func (t *tokens) Blocks(f func(first, end int) error) error { return f(0, len(t.ids)) }

// Normed implements graph.Engine.
func (t *tokens) Normed() []float32 { return t.normed }

// Branch implements graph.Engine.
func (t *tokens) Branch() []float32 { return t.branch }

// Aside implements graph.Engine.
func (t *tokens) Aside() []float32 { return t.aside }

// Active implements graph.Engine.
func (t *tokens) Active() []float32 { return t.active }

// Scratch implements graph.Engine.
func (t *tokens) Scratch(perToken ...int) [][]float32 { return rooms(t.scratch, len(t.ids), perToken) }

// Each implements graph.Engine.
func (t *tokens) Each(_ context.Context, f func(row, pos int)) error {
	return t.crew.run(len(t.sessions), func(_ *worker, row int) error {
		f(row, t.sessions[row].tokens)
		return nil
	})
}

// Angles implements graph.Engine.
func (t *tokens) Angles(r *graph.Rope) graph.Angles {
	return anglesOf(&t.angles, r, t.context, t.context)
}

// Lookup implements graph.Engine.
func (t *tokens) Lookup(_ context.Context, dst []float32, w *graph.Matrix, first int) error {
	n := len(dst) / len(t.ids)
	return t.crew.run(len(t.ids), func(worker *worker, row int) error {
		return t.m.lookup(worker, dst[row*n:][:n], w, t.ids[row], first)
	})
}

// Router implements graph.Engine.
func (t *tokens) Router() func(Routing) { return nil }

// Multiply implements graph.Engine.
func (t *tokens) Multiply(_ context.Context, x []float32, products ...graph.Product) error {
	all := make([]vectorProduct, len(products))
	for i, p := range products {
		all[i] = vectorProduct{dst: p.Dst, x: x, w: p.W}
	}
	return t.multiply(all...)
}

// MultiplyEach implements graph.Engine.
func (t *tokens) MultiplyEach(_ context.Context, x [][]float32, products []graph.Product) error {
	all := make([]vectorProduct, len(products))
	for i, p := range products {
		all[i] = vectorProduct{dst: p.Dst, x: x[i], w: p.W}
	}
	return t.multiply(all...)
}

// Add implements graph.Engine.
func (t *tokens) Add(_ context.Context, dst, x []float32, w *graph.Matrix) error {
	out := sized(&t.out, len(t.ids)*w.Rows)
	if err := t.multiply(vectorProduct{dst: out, x: x, w: w}); err != nil {
		return err
	}
	kernel.AddScaled(dst, out, 1)
	return nil
}

// Attend implements graph.Engine.
func (t *tokens) Attend(_ context.Context, dst, q, k, v []float32, a *graph.AttentionOp) error {
	if a.Source == nil && !a.Remembered {
		kWidth, vWidth := a.KVHeads*a.KeyLen, a.KVHeads*a.ValueLen
		if a.Latent {
			vWidth = 0
		}
		err := t.crew.run(len(t.sessions), func(_ *worker, row int) error {
			s := t.sessions[row]
			return s.caches[a.Slot].put(s.tokens, k[row*kWidth:][:kWidth], v[row*vWidth:][:vWidth])
		})
		if err != nil {
			return err
		}
	}
	group, all := a.Heads/a.KVHeads, len(t.sessions)*a.KVHeads
	heads := headsOfTask(group, (len(t.crew.workers)+all-1)/all)
	tasks := (group + heads - 1) / heads // for each head of a cache
	return t.crew.run(all*tasks, func(w *worker, task int) error {
		row, kv, from := task/tasks/a.KVHeads, task/tasks%a.KVHeads, task%tasks*heads
		seen, err := t.seen(w, a, row, kv)
		if err != nil {
			return err
		}
		scores := sized(&w.scores, seen.n)
		for head := kv*group + from; head < kv*group+min(from+heads, group); head++ {
			query, out := q[(row*a.Heads+head)*a.KeyLen:][:a.KeyLen], dst[(row*a.Heads+head)*a.ValueLen:][:a.ValueLen]
			seen.score(scores, query)
			sum := a.Softmax(head, scores)
			for i, score := range scores {
				scores[i] = score / sum
			}
			clear(out)
			seen.add(out, scores)
		}
		return nil
	})
}

// seen returns the keys and values of a head that the token of a row sees.
func (t *tokens) seen(w *worker, a *graph.AttentionOp, row, head int) (seen, error) {
	pos, cache := t.sessions[row].tokens, &t.sessions[row].caches[a.Slot]
	if a.Indexer != nil && pos >= a.Indexer.TopK {
		return cache.gather(w, head, t.chosen[row*a.Indexer.TopK:][:a.Indexer.TopK])
	}
	return cache.get(w, head, a.First(pos), pos+1, a.ValueLen)
}

// used is a network with what is computed of its rows.
type used struct {
	graph.Use
	rows  int
	parts [][]float32 // rows x hidden, of each of its inputs
	out   []float32   // rows x width
}

// Networks implements graph.Engine. The products of all networks are computed together.
func (t *tokens) Networks(_ context.Context, dst, x []float32, uses []graph.Use) error {
	width, inner, rows := t.m.graph.Width, 0, 0
	all := make([]used, len(uses))
	for i, u := range uses {
		n := len(t.ids)
		if u.Rows != nil {
			n = len(u.Rows)
		}
		all[i] = used{Use: u, rows: n}
		rows += n
		for _, w := range u.Network.Inputs() {
			inner += n * w.Rows
		}
		if u.WeighFirst {
			inner += n * width
		}
	}
	room, out := sized(&t.inner, inner), sized(&t.out, rows*width)
	take := func(from *[]float32, n int) []float32 {
		part := (*from)[:n]
		*from = (*from)[n:]
		return part
	}
	in, down := make([]vectorProduct, 0, 2*len(uses)), make([]vectorProduct, 0, len(uses))
	for i := range all {
		u := &all[i]
		seen, of := x, u.Rows
		if u.WeighFirst {
			seen, of = take(&room, u.rows*width), nil
			for r := range u.rows {
				copy(seen[r*width:][:width], x[u.row(r)*width:])
			}
			weigh(seen, u.Weights)
		}
		for _, w := range u.Network.Inputs() {
			part := take(&room, u.rows*w.Rows)
			u.parts = append(u.parts, part)
			in = append(in, vectorProduct{part, seen, w, of})
		}
		u.out = take(&out, u.rows*width)
		down = append(down, vectorProduct{dst: u.out, x: u.parts[0], w: &u.Network.Down})
	}
	if err := t.multiply(in...); err != nil {
		return err
	}
	err := t.crew.run(len(all), func(_ *worker, i int) error {
		u := &all[i]
		hidden, parts := u.Network.Down.Cols, make([][]float32, len(u.parts))
		for r := range u.rows {
			for j, part := range u.parts {
				parts[j] = part[r*hidden:][:hidden]
			}
			u.Network.Activate(parts...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.multiply(down...); err != nil {
		return err
	}
	for _, u := range all {
		for r := range u.rows {
			weight := float32(1)
			if u.Weights != nil && !u.WeighFirst {
				weight = u.Weights[r]
			}
			kernel.AddScaled(dst[u.row(r)*width:][:width], u.out[r*width:][:width], weight)
		}
	}
	return nil
}

// row returns which of the tokens one of those that use the network is.
func (u *used) row(i int) int {
	if u.Rows == nil {
		return i
	}
	return u.Rows[i]
}

// vectorProduct is the products of a weight matrix and some vectors: each row of dst becomes
// w·x + bias, of the listed rows of x or of all.
type vectorProduct struct {
	dst, x []float32
	w      *graph.Matrix
	rows   []int // nil: all
}

// vectors returns how many there are.
func (p *vectorProduct) vectors() int { return len(p.dst) / p.w.Rows }

// of returns the number in x of one of the vectors.
func (p *vectorProduct) of(vector int) int {
	if p.rows == nil {
		return vector
	}
	return p.rows[vector]
}

// vectorTask is about how many bytes of a matrix one task takes at least: rows that
// are dequantized stay in a core's cache. Other products go through rows once and
// ask for them ahead, so they take longer stretches, of a share of the matrix.
const (
	vectorTask     = 64 << 10
	tasksPerWorker = 2
	// floatTask is how many elements of these are dequantized at once, so that they are near when vectors come.
	floatTask = 16 << 10
)

// multiply computes some products, rows of the matrices in parallel. Those that several vectors are multiplied with stay in a
// core's cache meanwhile.
func (t *tokens) multiply(products ...vectorProduct) error {
	type task struct{ product, first, rows int }
	var tasks []task
	rounded, err := t.round(products)
	if err != nil {
		return err
	}
	for i := range products {
		p := &products[i]
		info := t.m.src.Tensors()[p.w.Tensor]
		rows := max(1, vectorTask/int(info.RowBytes()))
		if p.vectors() == 1 && (rounded[i] != nil || kernel.CanDotFloatRows(info.Type, p.w.Cols)) {
			rows = max(rows, p.w.Rows/(tasksPerWorker*len(t.crew.workers)))
		}
		for first := 0; first < p.w.Rows; first += rows {
			tasks = append(tasks, task{i, first, min(rows, p.w.Rows-first)})
		}
	}
	return t.crew.run(len(tasks), func(w *worker, i int) error {
		part := tasks[i]
		p := &products[part.product]
		multiply := t.m.multiplyExact
		if rounded[part.product] != nil {
			multiply = t.m.multiplyInt8
		}
		if err := multiply(w, p, rounded[part.product], part.first, part.rows); err != nil {
			return err
		}
		for v := 0; p.w.Bias != nil && v < p.vectors(); v++ {
			kernel.AddScaled(p.dst[v*p.w.Rows+part.first:][:part.rows], p.w.Bias[part.first:], 1)
		}
		return nil
	})
}

// round returns the vectors of the products that integers can do, rounded: those of
// several products once, nil for other products.
func (t *tokens) round(products []vectorProduct) ([][]kernel.Vector8, error) {
	rounded := make([][]kernel.Vector8, len(products))
	if t.m.compute == Exact {
		return rounded, nil
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
		n := p.w.Cols / 256
		vectors := sized(&t.vectors[used], len(p.x)/256)
		err := t.crew.run(len(p.x)/p.w.Cols, func(_ *worker, v int) error {
			kernel.QuantizeVector(vectors[v*n:][:n], p.x[v*p.w.Cols:][:p.w.Cols])
			return nil
		})
		if err != nil {
			return nil, err
		}
		rounded[i] = vectors
		used++
	}
	return rounded, nil
}

// dotsRows reports whether a new token is multiplied with rows of w as they are stored, in
// integers.
func (m *Model) dotsRows(w *graph.Matrix) bool {
	return m.compute != Exact && !w.Exact && w.Cols%256 == 0 && kernel.CanDotRows(m.src.Tensors()[w.Tensor].Type)
}

// multiplyExact multiplies n rows of a product's matrix, from number first on.
func (m *Model) multiplyExact(worker *worker, p *vectorProduct, _ []kernel.Vector8, first, n int) error {
	return m.useRows(worker, p.w, first, n, func(raw []byte) error {
		cols := p.w.Cols
		if t := m.src.Tensors()[p.w.Tensor].Type; kernel.CanDotFloatRows(t, cols) {
			for v := range p.vectors() {
				kernel.DotFloatRows(t, p.dst[v*p.w.Rows+first:][:n], raw, p.x[p.of(v)*cols:][:cols])
			}
			return nil
		}
		size := len(raw) / n
		for at := 0; at < n; {
			rows := sized(&worker.rows, min(n-at, max(1, floatTask/cols))*cols)
			count := len(rows) / cols
			if err := m.dequantize(rows, p.w, raw[at*size:][:count*size]); err != nil {
				return err
			}
			for v := range p.vectors() {
				kernel.DotEach(p.dst[v*p.w.Rows+first+at:][:count], rows, p.x[p.of(v)*cols:][:cols])
			}
			at += count
		}
		return nil
	})
}

// multiplyInt8 is multiplyExact with vectors that are rounded, for types that
// kernel.DotRows can do.
func (m *Model) multiplyInt8(worker *worker, p *vectorProduct, x []kernel.Vector8, first, n int) error {
	return m.useRows(worker, p.w, first, n, func(raw []byte) error {
		blocks := p.w.Cols / 256
		for v := range p.vectors() {
			kernel.DotRows(m.src.Tensors()[p.w.Tensor].Type, p.dst[v*p.w.Rows+first:][:n], raw, x[p.of(v)*blocks:][:blocks])
		}
		return nil
	})
}
