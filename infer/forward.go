package infer

import (
	"context"
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Chunk is a text to run, from an empty context and with its first token at
// position 0.
type Chunk struct {
	Tokens []int32
	// From is the first position whose logits are computed; len(Tokens) computes none.
	From int
	// Stream is what ForwardFrom starts with: the residual stream on its way into a
	// layer, tokens x width. It is not changed. Forward and Lockstep need none.
	Stream []float32
}

// NoLogits is a Chunk's From that leaves the logits of all its positions out.
const NoLogits = math.MaxInt

// Chunks returns texts as chunks whose logits are computed from the same position on.
func Chunks(texts [][]int32, from int) []Chunk {
	chunks := make([]Chunk, len(texts))
	for i, text := range texts {
		chunks[i] = Chunk{Tokens: text, From: from}
	}
	return chunks
}

// Forward runs chunks and calls visit with the logits at every position of a chunk from
// its From on. logits has one element per token id and may be used only
// during the call. Positions of one chunk are visited in order; different
// chunks may be visited at the same time.
//
// The chunks are run in batches that fit in Options.Memory. Forward returns
// early when ctx is done.
func (m *Model) Forward(ctx context.Context, chunks []Chunk, visit func(chunk, pos int, logits []float32)) error {
	return m.forward(ctx, chunks, entrance{}, nil, visit)
}

// ForwardFrom is Forward without the layers before the given one: the chunks have their
// residual streams on their way into it, as Options.Residual shows them. So the part of a
// model that a change of its weights does not touch is computed once for many changes.
func (m *Model) ForwardFrom(ctx context.Context, layer int, chunks []Chunk, visit func(chunk, pos int, logits []float32)) error {
	if layer < 0 || layer > m.blocks {
		return fmt.Errorf("there is no layer %d among %d", layer, m.blocks)
	}
	for c, chunk := range chunks {
		if len(chunk.Stream) != len(chunk.Tokens)*m.width {
			return fmt.Errorf("the residual stream of chunk %d has %d elements, not %d x %d", c, len(chunk.Stream), len(chunk.Tokens), m.width)
		}
	}
	return m.forward(ctx, chunks, entrance{layer, true}, nil, visit)
}

// entrance is where chunks enter a model: as tokens, or as streams in front of a layer.
type entrance struct {
	layer   int
	streams bool
}

// forward is Forward; a session remembers the only chunk.
func (m *Model) forward(ctx context.Context, chunks []Chunk, start entrance, session *Session, visit func(chunk, pos int, logits []float32)) error {
	if err := m.checkTokens(chunks); err != nil {
		return err
	}
	p := &pass{m: m, session: session, workers: make([]worker, m.threads)}
	steps := m.blocks - start.layer + 1
	total := len(chunks) * steps
	for first := 0; first < len(chunks); first += len(p.chunks) {
		p.begin(chunks[first:])
		done := first * steps
		step := func() {
			done += len(p.chunks)
			m.report(done, total)
		}
		if start.streams {
			for c, chunk := range p.chunks {
				copy(p.x[p.starts[c]*m.width:], chunk.Stream)
			}
		} else if err := p.embed(ctx); err != nil {
			return err
		}
		for i := start.layer; i < len(m.layers); i++ {
			if i+1 < len(m.layers) {
				m.layers[i+1].prefetch(m.src)
			}
			if m.residual != nil {
				m.residual(Residual{i, first, p.residuals()})
			}
			if err := p.layer(ctx, &m.layers[i]); err != nil {
				return fmt.Errorf("layer %d: %w", i, err)
			}
			step()
		}
		err := p.head(ctx, func(chunk, pos int, logits []float32) { visit(first+chunk, pos, logits) })
		if err != nil {
			return err
		}
		step()
	}
	return nil
}

// checkTokens reports the first token that the model does not know.
func (m *Model) checkTokens(chunks []Chunk) error {
	for c, chunk := range chunks {
		for pos, id := range chunk.Tokens {
			if id < 0 || int(id) >= m.Vocabulary() {
				return fmt.Errorf("token %d at position %d of chunk %d is not one of the vocabulary's %d", id, pos, c, m.Vocabulary())
			}
		}
	}
	return nil
}

// pass is one batch of chunks on their way through the layers. Their tokens
// are rows, chunk after chunk.
type pass struct {
	m        *Model
	session  *Session // or nil
	workers  []worker
	chunks   []Chunk
	starts   []int // row of each chunk's first token
	tokens   int
	rotation rotation
	beside   beside
	reuse    reuse

	x       []float32 // residual stream, tokens x width
	normed  []float32 // the same, normalised; then the results of the heads
	left    left
	scratch []float32 // results of products
	slab    slab
}

// beside is the memory that is taken beside that of the pass.
type beside struct {
	fixed    int64 // bytes
	perToken int   // floats
}

// sizes returns how many floats normed, left and scratch take per token.
func (m *Model) sizes() (normed, left, scratch int) {
	normed = max(m.width, m.heads*m.valueLen)
	left = max(normed, m.widest())
	if m.compute != Exact {
		left *= 2 // there may be tensors of every form
	}
	qkv := m.heads*m.keyLen + m.kvHeads*(m.keyLen+m.valueLen)
	return normed, left, max(qkv, 2*m.widest(), m.width, m.experts)
}

// fixedBytes is what a run takes whatever the number of tokens: the slabs, the
// logits of minHeadRows positions, and what Go's runtime and the metadata are
// taken to need.
func (m *Model) fixedBytes() int64 {
	slabs := int64(1)
	if m.compute != Exact {
		slabs = int64(forms)
	}
	return slabs*slabBytes + 4*minHeadRows*int64(m.Vocabulary()) + 24<<20
}

// workerBytes is what each thread takes for chunks of the given length: a panel
// of rows, and the keys, values and scores of one head.
func (m *Model) workerBytes(chunk int) int64 {
	rows := kernel.TileCols * max(m.width, m.widest(), m.heads*m.valueLen)
	return 4 * int64(2*rows+chunk*(m.keyLen+m.valueLen+2*queryBlock))
}

// perToken returns how many bytes each token of a batch takes.
func (p *pass) perToken() int64 {
	normed, left, scratch := p.m.sizes()
	return int64(p.m.width+normed+left+scratch+p.beside.perToken) * 4
}

// room returns how many bytes are left for the tokens of a batch of chunks of the
// given length.
func (p *pass) room(chunk int) int64 {
	return p.m.memory - p.m.fixedBytes() - p.beside.fixed - int64(len(p.workers))*p.m.workerBytes(chunk)
}

// begin takes as many of the chunks as fit in the memory, at least one.
func (p *pass) begin(chunks []Chunk) {
	normed, _, scratch := p.m.sizes()
	perToken, room := p.perToken(), p.room(len(chunks[0].Tokens))
	p.chunks, p.starts, p.tokens = nil, nil, 0
	longest := 0
	for _, chunk := range chunks {
		if len(p.chunks) > 0 && int64(p.tokens+len(chunk.Tokens))*perToken > room {
			break
		}
		p.chunks = append(p.chunks, chunk)
		p.starts = append(p.starts, p.tokens)
		p.tokens += len(chunk.Tokens)
		longest = max(longest, len(chunk.Tokens))
	}
	if p.rotation.positions() < longest {
		p.rotation = p.m.newRotation(longest)
	}
	sized(&p.x, p.tokens*p.m.width)
	sized(&p.normed, p.tokens*normed)
	sized(&p.scratch, p.tokens*scratch)
}

// embed sets the residual stream to the embeddings of the tokens.
func (p *pass) embed(ctx context.Context) error {
	width := p.m.width
	return parallel(ctx, p.workers, len(p.chunks), func(w *worker, c int) error {
		for pos, id := range p.chunks[c].Tokens {
			row := p.starts[c] + pos
			if err := p.m.read(w, p.x[row*width:][:width], p.m.embedding, int(id), 1); err != nil {
				return err
			}
		}
		return nil
	})
}

// residuals returns the residual stream of each chunk.
func (p *pass) residuals() [][]float32 {
	chunks := make([][]float32, len(p.chunks))
	for c, chunk := range p.chunks {
		chunks[c] = p.x[p.starts[c]*p.m.width:][:len(chunk.Tokens)*p.m.width]
	}
	return chunks
}

func (p *pass) layer(ctx context.Context, l *layer) error {
	if err := p.attention(ctx, l); err != nil {
		return err
	}
	if err := p.normalize(ctx, l.ffnNorm); err != nil {
		return err
	}
	if l.router.rows > 0 {
		if err := p.mixture(ctx, l); err != nil {
			return err
		}
	}
	if l.always.gate.rows > 0 {
		return p.feedForward(ctx, l)
	}
	return nil
}

// minHeadRows is how many positions' logits are computed at once at least, even
// where scratch is too small for them: each time, the output matrix is read.
const minHeadRows = 64

// head computes the logits that are asked for.
func (p *pass) head(ctx context.Context, visit func(chunk, pos int, logits []float32)) error {
	var rows []int
	for c, chunk := range p.chunks {
		for pos := max(0, chunk.From); pos < len(chunk.Tokens); pos++ {
			rows = append(rows, p.starts[c]+pos)
		}
	}
	if err := p.normalize(ctx, p.m.outputNorm); err != nil {
		return err
	}
	vocabulary := p.m.Vocabulary()
	group := max(len(p.scratch)/vocabulary, minHeadRows)
	for len(rows) > 0 {
		n := min(group, len(rows))
		if err := p.pack(ctx, p.normed, p.m.width, rows[:n], p.m.output); err != nil {
			return err
		}
		logits := sized(&p.scratch, n*vocabulary)
		if err := p.product(ctx, logits, n, p.m.output, false); err != nil {
			return err
		}
		if err := p.visit(ctx, rows[:n], logits, visit); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// visit calls f with the logits of the given rows, chunks in parallel.
func (p *pass) visit(ctx context.Context, rows []int, logits []float32, f func(chunk, pos int, logits []float32)) error {
	vocabulary := p.m.Vocabulary()
	return parallel(ctx, p.workers, len(p.chunks), func(_ *worker, c int) error {
		for i, row := range rows {
			if pos := row - p.starts[c]; pos >= 0 && pos < len(p.chunks[c].Tokens) {
				f(c, pos, logits[i*vocabulary:][:vocabulary])
			}
		}
		return ctx.Err()
	})
}
