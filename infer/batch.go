package infer

import (
	"context"
	"slices"

	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// batch is the engine for many tokens: chunks on their way through the layers. Their tokens
// are rows, chunk after chunk.
type batch struct {
	m         *Model
	sessions  []Sessions // that remember the texts which end with each of all chunks, or nil
	memories  []memory   // of the texts of sessions, of those that end in the batch
	workers   []worker
	chunks    []batchChunk
	owners    []*Model // of each token: whose matrices it is multiplied with, if they are not all m's
	pieces    []piece  // of packed A
	roots     []int    // chunks that begin a text
	depth     int      // of chunks that follow each other, at most
	positions []int    // of each token in its text
	tokens    int
	context   int            // tokens of the longest text of all, or that the session has room for
	longest   int            // text so far
	ends      []int          // tokens of the text up to the end of each chunk of all
	angles    []graph.Angles // for chunks as long
	beside    beside
	reuse     reuse
	kept      map[*graph.AttentionOp]keyValues // of the tokens, for attention that shares them
	choices   map[*Model]*choice               // the last of each model

	x                             []float32 // residual stream: tokens x Spec.Stream
	normed, branch, aside, active []float32 // what mixers see, what they add, one of them, and the one stream of several: tokens x width
	a                             packedA
	scratch                       []float32 // results of products
	b                             packedB
}

var _ graph.Engine = (*batch)(nil)

// batchChunk is a chunk in a batch.
type batchChunk struct {
	Chunk
	number int // among all chunks
	start  int // row of its first token
	before []tokenRows
	first  int // position of its first token: tokens before it
}

// tokenRows are those of the tokens of a chunk.
type tokenRows struct{ start, n int }

// memory is some tokens of the text of a session.
type memory struct {
	session *Session
	row     int // of the first of them
	first   int // its position
	n       int
	text    int // tokens of the whole text
}

// beside is the memory that is taken beside that of the batch.
type beside struct {
	fixed    int64 // bytes
	perToken int   // floats
}

// sizes returns how many floats the streams, packed A and scratch take per token.
func (m *Model) sizes() (streams, packed, scratch int) {
	width := m.graph.Width
	streams = m.graph.Stream() + width
	if m.graph.Branches() {
		streams += width
	}
	if m.graph.Aside() {
		streams += width
	}
	if m.graph.AltUp.Streams > 0 {
		streams += width
	}
	streams += m.kept()
	packed = m.widest
	if m.compute != Exact {
		packed *= 2 // there may be tensors of every form
	}
	return streams, packed, max(width, m.graph.Size().Scratch)
}

// kept returns how many floats each token keeps for mixers of other layers.
func (m *Model) kept() int { return m.graph.Size().Kept + m.graph.Size().Chosen }

// fixedBytes is what a run takes whatever the number of tokens: packed B, the
// logits of minHeadRows positions, and what Go's runtime and the metadata are
// taken to need.
func (m *Model) fixedBytes() int64 {
	slabs := int64(1)
	if m.compute != Exact {
		slabs = int64(forms)
	}
	return slabs*slabBytes + 4*minHeadRows*int64(m.Vocabulary()) + 24<<20
}

// workerBytes is what each thread takes for texts of the given length: a panel
// of rows, the keys, values and scores of one head, the former also as they are gathered, and a part of a recurrence.
func (m *Model) workerBytes(text int) int64 {
	size := m.graph.Size()
	return 4 * int64(2*kernel.TileCols*m.widest+2*text*(size.Head+queryBlock)+size.Recurrent)
}

// perToken returns how many bytes each token of a batch takes.
func (b *batch) perToken() int64 {
	streams, packed, scratch := b.m.sizes()
	return int64(streams+packed+scratch+b.beside.perToken) * 4
}

// room returns how many bytes are left for the tokens of a batch of texts of the
// given length.
func (b *batch) room(text int) int64 {
	return b.m.memory - b.m.fixedBytes() - b.beside.fixed - int64(len(b.workers))*b.m.workerBytes(text)
}

// begin takes as many of the chunks from number first on as fit in the memory, at least one, and those that they follow, and
// returns how many. Those that they follow are run again if they were in a batch before, without their logits.
func (b *batch) begin(chunks []Chunk, first int) int {
	perToken, room := b.perToken(), b.room(b.ends[first])
	b.chunks, b.roots, b.memories, b.depth, b.positions, b.tokens = nil, nil, nil, 0, b.positions[:0], 0
	known := make(map[int]int) // in the batch, by number
	taken := 0
	for number := first; number < len(chunks); number++ {
		needed := []int{number} // the chunk, and those before it that are not there yet
		n := len(chunks[number].Tokens)
		for at := chunks[number].After - 1; at >= 0; at = chunks[at].After - 1 {
			if _, ok := known[at]; ok {
				break
			}
			needed = append(needed, at)
			n += len(chunks[at].Tokens)
		}
		if taken > 0 && int64(b.tokens+n)*perToken > room {
			break
		}
		for _, at := range slices.Backward(needed) {
			known[at] = len(b.chunks)
			chunk := chunks[at]
			if at < first {
				chunk.From = NoLogits
			}
			b.take(chunk, at, known)
		}
		if b.sessions != nil {
			b.remembered(b.chunks[known[number]])
		}
		taken++
	}
	return taken
}

// makeRoom makes room for what the tokens of the batch take.
func (b *batch) makeRoom() {
	width := b.m.graph.Width
	sized(&b.x, b.tokens*b.m.graph.Stream())
	sized(&b.normed, b.tokens*width)
	if b.m.graph.Branches() {
		sized(&b.branch, b.tokens*width)
	}
	if b.m.graph.Aside() {
		sized(&b.aside, b.tokens*width)
	}
	if b.m.graph.AltUp.Streams > 0 {
		sized(&b.active, b.tokens*width)
	}
	_, _, scratch := b.m.sizes()
	sized(&b.scratch, b.tokens*scratch)
}

// take adds a chunk to the batch, behind the one that it follows.
func (b *batch) take(chunk Chunk, number int, known map[int]int) {
	c := batchChunk{Chunk: chunk, number: number, start: b.tokens}
	if chunk.After > 0 {
		parent := b.chunks[known[chunk.After-1]]
		c.before = append(slices.Clip(parent.before), tokenRows{parent.start, len(parent.Tokens)})
		c.first = parent.first + len(parent.Tokens)
	}
	if len(c.before) == 0 {
		b.roots = append(b.roots, len(b.chunks))
	}
	b.depth = max(b.depth, len(c.before)+1)
	b.chunks = append(b.chunks, c)
	b.tokens += len(chunk.Tokens)
	for i := range chunk.Tokens {
		b.positions = append(b.positions, c.first+i)
	}
	if end := c.first + len(chunk.Tokens); end > b.longest {
		b.longest, b.angles = end, nil
	}
}

// remembered lists what sessions remember of the text that ends with a chunk.
func (b *batch) remembered(c batchChunk) {
	for _, s := range b.sessions[c.number] {
		first := 0
		for _, rows := range append(slices.Clip(c.before), tokenRows{c.start, len(c.Tokens)}) {
			for at := 0; at < rows.n; at += taskRows {
				n := min(taskRows, rows.n-at)
				b.memories = append(b.memories, memory{s, rows.start + at, first + at, n, c.first + len(c.Tokens)})
			}
			first += rows.n
		}
	}
}

// remember calls f for every token of a session's text that is in the batch, for different ones at the same time.
func (b *batch) remember(ctx context.Context, f func(s *Session, row, pos, text int) error) error {
	return parallel(ctx, b.workers, len(b.memories), func(_ *worker, i int) error {
		m := b.memories[i]
		for at := range m.n {
			if err := f(m.session, m.row+at, m.first+at, m.text); err != nil {
				return err
			}
		}
		return nil
	})
}

// Tokens implements graph.Engine.
func (b *batch) Tokens() int { return b.tokens }

// Normed implements graph.Engine.
func (b *batch) Normed() []float32 { return b.normed }

// Branch implements graph.Engine.
func (b *batch) Branch() []float32 { return b.branch }

// Aside implements graph.Engine.
func (b *batch) Aside() []float32 { return b.aside }

// Active implements graph.Engine.
func (b *batch) Active() []float32 { return b.active }

// Scratch implements graph.Engine.
func (b *batch) Scratch(perToken ...int) [][]float32 {
	return rooms(b.scratch, b.tokens, perToken)
}

// rooms cuts scratch into rooms for so many floats for each of some tokens.
func rooms(scratch []float32, tokens int, perToken []int) [][]float32 {
	parts := make([][]float32, len(perToken))
	for i, n := range perToken {
		parts[i], scratch = scratch[:tokens*n], scratch[tokens*n:]
	}
	return parts
}

// Each implements graph.Engine.
func (b *batch) Each(ctx context.Context, f func(row, pos int)) error {
	return blocks(ctx, b.workers, b.tokens, taskRows, func(first, end int) {
		for row := first; row < end; row++ {
			f(row, b.positions[row])
		}
	})
}

// Angles implements graph.Engine.
func (b *batch) Angles(r *graph.Rope) graph.Angles {
	return anglesOf(&b.angles, r, b.longest, b.context)
}

// anglesOf finds those of n positions in a context among the known, or adds them.
func anglesOf(known *[]graph.Angles, r *graph.Rope, n, context int) graph.Angles {
	for _, a := range *known {
		if a.Are(r) {
			return a
		}
	}
	a := r.Angles(n, context)
	*known = append(*known, a)
	return a
}

// Lookup implements graph.Engine.
func (b *batch) Lookup(ctx context.Context, dst []float32, w *graph.Matrix, first int) error {
	n := len(dst) / b.tokens
	return parallel(ctx, b.workers, len(b.chunks), func(worker *worker, c int) error {
		for pos, id := range b.chunks[c].Tokens {
			row, m := b.chunks[c].start+pos, b.m
			if b.owners != nil {
				m = b.owners[row]
			}
			if err := m.lookup(worker, dst[row*n:][:n], w, id, first); err != nil {
				return err
			}
		}
		return nil
	})
}

// Router implements graph.Engine.
func (b *batch) Router() func(Routing) { return b.m.router }

// Multiply implements graph.Engine.
func (b *batch) Multiply(ctx context.Context, x []float32, products ...graph.Product) error {
	weights := make([]*graph.Matrix, len(products))
	for i, p := range products {
		weights[i] = p.W
	}
	if err := b.pack(ctx, x, nil, nil, weights...); err != nil {
		return err
	}
	for _, p := range products {
		if err := b.product(ctx, p.Dst, b.tokens, p.W, false); err != nil {
			return err
		}
	}
	return nil
}

// MultiplyEach implements graph.Engine.
func (b *batch) MultiplyEach(ctx context.Context, x [][]float32, products []graph.Product) error {
	for i, p := range products {
		if err := b.Multiply(ctx, x[i], p); err != nil {
			return err
		}
	}
	return nil
}

// Add implements graph.Engine. The product is summed where it is added to.
func (b *batch) Add(ctx context.Context, dst, x []float32, w *graph.Matrix) error {
	if err := b.pack(ctx, x, nil, nil, w); err != nil {
		return err
	}
	return b.product(ctx, dst, b.tokens, w, true)
}

// Networks implements graph.Engine. Each network in turn multiplies all the tokens that go
// through it, so that its weights are read once.
func (b *batch) Networks(ctx context.Context, dst, x []float32, uses []graph.Use) error {
	for _, u := range uses {
		if err := b.network(ctx, dst, x, u); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) network(ctx context.Context, dst, x []float32, u graph.Use) error {
	rows := b.tokens
	if u.Rows != nil {
		rows = len(u.Rows)
	}
	down := &u.Network.Down
	if err := b.gated(ctx, x, rows, u); err != nil {
		return err
	}
	if u.Rows == nil && u.Weights == nil {
		return b.product(ctx, dst, rows, down, true)
	}
	width := down.Rows
	out := b.scratch[:rows*width]
	if err := b.product(ctx, out, rows, down, false); err != nil {
		return err
	}
	return blocks(ctx, b.workers, rows, taskRows, func(first, end int) {
		for i := first; i < end; i++ {
			row, weight := i, float32(1)
			if u.Rows != nil {
				row = u.Rows[i]
			}
			if u.Weights != nil && !u.WeighFirst {
				weight = u.Weights[i]
			}
			kernel.AddScaled(dst[row*width:][:width], out[i*width:][:width], weight)
		}
	})
}

// gated leaves what the down projection of a network is multiplied with packed for it, for the
// rows that the network is used for.
func (b *batch) gated(ctx context.Context, x []float32, rows int, u graph.Use) error {
	n, hidden := u.Network, u.Network.Down.Cols
	inputs := n.Inputs()
	var factors []float32
	if u.WeighFirst {
		factors = u.Weights
	}
	if err := b.pack(ctx, x, u.Rows, factors, inputs...); err != nil {
		return err
	}
	for i, w := range inputs {
		if err := b.product(ctx, b.scratch[i*rows*hidden:][:rows*hidden], rows, w, false); err != nil {
			return err
		}
	}
	form := b.m.form(&n.Down)
	panels, packed := b.cut(u.Rows, rows, &n.Down)
	b.a.reset(form, packed, hidden)
	return parallel(ctx, b.workers, len(panels), func(w *worker, i int) error {
		first, count := panels[i].first, panels[i].n
		parts := make([][]float32, len(inputs))
		for i := range parts {
			parts[i] = b.scratch[(i*rows+first)*hidden:][:count*hidden]
		}
		n.Activate(parts...)
		b.a.put(w, form, panels[i].packed, parts[0], count, hidden)
		return nil
	})
}

// weigh multiplies each of as many rows as there are weights by one.
func weigh(x, weights []float32) {
	n := len(x) / len(weights)
	for i, weight := range weights {
		for j := range n {
			x[i*n+j] *= weight
		}
	}
}
