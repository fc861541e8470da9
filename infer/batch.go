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
	part               // that is under way: all of the batch, or a block
	blocks      []part // of it
	m           *Model
	plan        plan
	owners      []*Model   // of each token: whose matrices it is multiplied with, if they are not all m's
	pieces      []piece    // of packed A
	together    int        // rows that are multiplied at once, at most
	sessions    []Sessions // that remember the texts which end with each of all chunks, or nil
	workers     []worker
	context     int                              // tokens of the longest text of all, or that the session has room for
	longest     int                              // text so far
	ends        []int                            // tokens of the text up to the end of each chunk of all
	angles      []graph.Angles                   // for chunks as long
	reuse       reuse                            // of rows that several models have
	kept        map[*graph.AttentionOp]keyValues // of all tokens, for attention that shares them
	choices     map[*Model]*choice               // the last of each model
	remembered  keyValues                        // of the parts of a text so far
	indexerKeys []float32                        // the same
	recurrences []float32                        // the same

	x                             []float32 // residual stream: tokens x Spec.Stream
	normed, branch, aside, active []float32 // what mixers see, what they add, one of them, and the one stream of several: tokens x width
	a                             packedA
	scratch                       []float32 // results of products
	b                             packedB
	held                          heldWeights
}

var _ graph.Engine = (*batch)(nil)

// part is some rows of a batch: whole texts, or a part of one.
type part struct {
	row       int // the first
	tokens    int
	chunks    []batchChunk
	roots     []int // chunks that begin a text
	depth     int   // of chunks that follow each other, at most
	partial   bool  // of a text that goes on in other parts, or began in them
	positions []int // of each token in its text
	memories  []memory
}

// batchChunk is a chunk in a part of a batch, or a piece of one.
type batchChunk struct {
	Chunk
	number int // among all chunks
	start  int // row of the part of its first token
	before []tokenRows
	first  int // position of its first token: tokens before it
	text   int // tokens up to the end of the whole chunk
}

// tokenRows are those of the tokens of a chunk.
type tokenRows struct{ start, n int }

// memory is some tokens of the text of a session.
type memory struct {
	session *Session
	row     int // of the part of the first of them
	first   int // its position
	n       int
	text    int // tokens of the whole text
}

// begin takes as many of the chunks from number first on as fit in the memory, at least one, and those that they follow, and
// returns how many. Those that they follow are run again if they were in a batch before, without their logits.
func (b *batch) begin(chunks []Chunk, first int) int {
	b.part = part{positions: b.positions[:0]}
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
		if all := b.tokens + n; taken > 0 && (b.plan.bytes(b.ends[first], all) > b.m.memory || b.m.together > 0 && all > b.m.together) {
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
			b.remembers(b.chunks[known[number]])
		}
		taken++
	}
	b.blocks, b.together = b.split(), b.plan.rows
	return taken
}

// makeRoom takes what the batch needs for each token, and for those of a block.
func (b *batch) makeRoom() {
	width, size := b.m.graph.Width, b.m.graph.Size()
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
	rows := min(b.tokens, b.plan.rows)
	scratch := max(b.tokens*size.Whole, rows*size.Network, rows*width)
	for _, part := range b.blocks {
		scratch = max(scratch, part.tokens*size.Scratch)
		if part.partial {
			sized(&b.recurrences, b.plan.state)
		}
	}
	sized(&b.scratch, scratch)
	for f, n := range b.plan.held {
		if cap(b.held.slabs[f]) < n {
			b.held.slabs[f] = make([]packedB, 0, n)
		}
	}
}

// take adds a chunk to the batch, behind the one that it follows.
func (b *batch) take(chunk Chunk, number int, known map[int]int) {
	c := batchChunk{Chunk: chunk, number: number, start: b.tokens}
	if chunk.After > 0 {
		parent := b.chunks[known[chunk.After-1]]
		c.before = append(slices.Clip(parent.before), tokenRows{parent.start, len(parent.Tokens)})
		c.first = parent.first + len(parent.Tokens)
	}
	c.text = c.first + len(chunk.Tokens)
	b.add(c)
	for i := range chunk.Tokens {
		b.positions = append(b.positions, c.first+i)
	}
	if c.text > b.longest {
		b.longest, b.angles = c.text, nil
	}
}

// add adds a chunk behind the others.
func (p *part) add(c batchChunk) {
	if len(c.before) == 0 {
		p.roots = append(p.roots, len(p.chunks))
	}
	p.depth = max(p.depth, len(c.before)+1)
	p.chunks = append(p.chunks, c)
	p.tokens += len(c.Tokens)
}

// remembers lists what sessions remember of the text that ends with a chunk.
func (b *batch) remembers(c batchChunk) {
	for _, s := range b.sessions[c.number] {
		first := 0
		for _, rows := range append(slices.Clip(c.before), tokenRows{c.start, len(c.Tokens)}) {
			for at := 0; at < rows.n; at += leastRows { // each in one block
				n := min(leastRows, rows.n-at)
				b.memories = append(b.memories, memory{s, rows.start + at, first + at, n, c.text})
			}
			first += rows.n
		}
	}
}

// split returns the blocks of the batch: as many texts together as their rows allow, with all chunks that follow others, and
// longer ones in pieces, but for those of encoders, whose tokens see those that come, and those that others follow.
func (b *batch) split() []part {
	var blocks []part
	var block part
	end := func() {
		if block.tokens > 0 {
			blocks = append(blocks, b.finish(block))
		}
		block = part{row: block.row + block.tokens}
	}
	for i, root := range b.roots {
		chunks := b.chunks[root:]
		if i+1 < len(b.roots) {
			chunks = b.chunks[root:b.roots[i+1]]
		}
		n := 0
		for _, c := range chunks {
			n += len(c.Tokens)
		}
		if block.tokens+n > b.plan.rows {
			end()
		}
		if n > b.plan.rows && len(chunks) == 1 && !b.m.graph.Encoder {
			for c := chunks[0]; c.first < n; c.first += b.plan.rows {
				next := c
				next.start, next.Tokens = 0, c.Tokens[c.first:min(n, c.first+b.plan.rows)]
				block.add(next)
				block.partial = true
				end()
			}
			continue
		}
		for _, c := range chunks {
			c.start -= block.row
			c.before = slices.Clone(c.before)
			for i := range c.before {
				c.before[i].start -= block.row
			}
			block.add(c)
		}
	}
	end()
	return blocks
}

// finish gives a block what the batch knows of its rows.
func (b *batch) finish(block part) part {
	block.positions = b.positions[block.row:][:block.tokens]
	for _, m := range b.memories {
		if m.row -= block.row; 0 <= m.row && m.row < block.tokens {
			block.memories = append(block.memories, m)
		}
	}
	return block
}

// Blocks implements graph.Engine.
func (b *batch) Blocks(f func(first, end int) error) error {
	if len(b.blocks) == 1 {
		return f(0, b.tokens)
	}
	whole := b.part
	b.held.forget(true)
	defer func() {
		b.part = whole
		b.held.forget(false)
	}()
	for _, b.part = range b.blocks {
		if err := f(b.row, b.row+b.tokens); err != nil {
			return err
		}
	}
	return nil
}

// inBlocks calls f for blocks of n rows, [first, end), one after another.
func (b *batch) inBlocks(n int, f func(first, end int) error) error {
	if n > b.together && !b.held.on {
		b.held.forget(true)
		defer b.held.forget(false)
	}
	for first := 0; first < n; first += b.together {
		if err := f(first, min(n, first+b.together)); err != nil {
			return err
		}
	}
	return nil
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
func (b *batch) Normed() []float32 { return b.rows(b.normed) }

// Branch implements graph.Engine.
func (b *batch) Branch() []float32 { return b.rows(b.branch) }

// Aside implements graph.Engine.
func (b *batch) Aside() []float32 { return b.rows(b.aside) }

// Active implements graph.Engine.
func (b *batch) Active() []float32 { return b.rows(b.active) }

// all returns the number of tokens of the whole batch.
func (b *batch) all() int {
	last := b.blocks[len(b.blocks)-1]
	return last.row + last.tokens
}

// rows returns those of the part under way.
func (b *batch) rows(x []float32) []float32 {
	width := b.m.graph.Width
	return x[b.row*width:][:b.tokens*width]
}

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
	return stretches(ctx, b.workers, b.tokens, taskRows, func(first, end int) {
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
	return b.inBlocks(b.tokens, func(first, end int) error {
		if err := b.pack(ctx, x[first*weights[0].Cols:], end-first, nil, nil, weights...); err != nil {
			return err
		}
		for _, p := range products {
			if err := b.product(ctx, p.Dst[first*p.W.Rows:], end-first, p.W, false); err != nil {
				return err
			}
		}
		return nil
	})
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
	return b.inBlocks(b.tokens, func(first, end int) error {
		if err := b.pack(ctx, x[first*w.Cols:], end-first, nil, nil, w); err != nil {
			return err
		}
		return b.product(ctx, dst[first*w.Rows:], end-first, w, true)
	})
}

// Networks implements graph.Engine. Each network in turn multiplies all the tokens that go
// through it, so that its weights are read once.
func (b *batch) Networks(ctx context.Context, dst, x []float32, uses []graph.Use) error {
	for _, u := range uses {
		rows := b.tokens
		if u.Rows != nil {
			rows = len(u.Rows)
		}
		err := b.inBlocks(rows, func(first, end int) error {
			part, width := u, u.Network.Down.Rows
			if u.Weights != nil {
				part.Weights = u.Weights[first:end]
			}
			if u.Rows != nil {
				part.Rows = u.Rows[first:end]
				return b.network(ctx, dst, x, end-first, part)
			}
			return b.network(ctx, dst[first*width:], x[first*width:], end-first, part)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// network adds what a network makes of some rows of x, which are so many.
func (b *batch) network(ctx context.Context, dst, x []float32, rows int, u graph.Use) error {
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
	return stretches(ctx, b.workers, rows, taskRows, func(first, end int) {
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
	if err := b.pack(ctx, x, rows, u.Rows, factors, inputs...); err != nil {
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
