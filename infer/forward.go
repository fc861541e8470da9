package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// Chunk is a text to run, from an empty context and with its first token at
// position 0, or what follows another one.
type Chunk struct {
	Tokens []int32
	// After says that the chunk follows all of another one: 1 + its number. That is the chunk before it in the list, or one
	// that this follows, at once or in steps. What many texts begin with is so computed once; the results are
	// the same, to the last bit. 0 begins a text.
	After int
	// From is the first position whose logits are computed; len(Tokens) computes none.
	From int
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
// during the call. Positions may be visited at the same time.
//
// The chunks are run in batches that fit in Options.Memory. Forward returns
// early when ctx is done.
func (m *Model) Forward(ctx context.Context, chunks []Chunk, visit func(chunk, pos int, logits []float32)) error {
	return m.forward(ctx, chunks, nil, visit)
}

// Embed runs chunks and calls visit, by its goroutine, with the embedding at every position of a
// chunk: what the output matrix is multiplied with, or, of an encoder, all that it makes of the token. It may be used only
// during the call.
func (m *Model) Embed(ctx context.Context, chunks []Chunk, visit func(chunk, pos int, embedding []float32)) error {
	chunks = slices.Clone(chunks)
	for c := range chunks {
		chunks[c].From = NoLogits
	}
	var failed error
	l := newLockstep([]*Model{m}, Observer{})
	l.observer.Residual = func(s Streams) {
		if s.Layer < len(m.graph.Layers) || failed != nil {
			return
		}
		var embeddings []float32
		if embeddings, failed = m.graph.Final(ctx, l, l.x); failed != nil {
			return
		}
		for _, chunk := range l.chunks {
			if chunk.number < s.First { // run again for those that follow it
				continue
			}
			for pos := range chunk.Tokens {
				visit(chunk.number, pos, embeddings[(chunk.start+pos)*m.graph.Width:][:m.graph.Width])
			}
		}
	}
	if err := l.run(ctx, chunks); err != nil {
		return alone(err)
	}
	return failed
}

// forward is Forward: models in lock-step, of which there is one. Sessions, for each chunk or none, remember
// the texts that end with it.
func (m *Model) forward(ctx context.Context, chunks []Chunk, sessions []Sessions, visit func(chunk, pos int, logits []float32)) error {
	l := newLockstep([]*Model{m}, Observer{Logits: func(_, chunk, pos int, logits, _ []float32) { visit(chunk, pos, logits) }})
	l.sessions = sessions
	if m.residual != nil {
		l.observer.Residual = func(s Streams) {
			if s.Layer < len(m.graph.Layers) {
				m.residual(Residual{s.Layer, s.First, l.residuals()})
			}
		}
	}
	return alone(l.run(ctx, chunks))
}

// alone returns an error of the only model as its own.
func alone(err error) error {
	if e := (*ModelError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Tree returns chunks of texts, in which what several begin with is computed once, and for each text the chunk that it ends
// with. Their logits are left out. An empty text ends with none: -1.
func Tree(texts [][]int32) (chunks []Chunk, last []int) {
	last = make([]int, len(texts))
	order := make([]int, len(texts))
	for i := range texts {
		last[i], order[i] = -1, i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(texts[a], texts[b]) })
	// branch adds those of texts, in their order, whose first tokens are the same, as many as depth says. They are in chunks already, the
	// last of them 1 + its number.
	var branch func(of []int, depth, after int)
	branch = func(of []int, depth, after int) {
		for len(of) > 0 {
			text := texts[of[0]]
			if len(text) == depth { // all of it is there
				last[of[0]] = after - 1
				of = of[1:]
				continue
			}
			n := 1 // with the same next token
			for n < len(of) && texts[of[n]][depth] == text[depth] {
				n++
			}
			end, other := depth, texts[of[n-1]]
			for end < len(text) && end < len(other) && text[end] == other[end] {
				end++
			}
			chunks = append(chunks, Chunk{Tokens: text[depth:end], After: after, From: NoLogits})
			branch(of[:n], end, len(chunks))
			of = of[n:]
		}
	}
	branch(order, 0, 0)
	return chunks, last
}

// check reports the first token that the model does not know, and logits that it does not have.
func (m *Model) check(chunks []Chunk) error {
	for c, chunk := range chunks {
		at := c
		for at > chunk.After && at > 0 {
			at = chunks[at-1].After
		}
		if at != chunk.After {
			return fmt.Errorf("chunk %d follows chunk %d, which the chunk before it does not", c, chunk.After-1)
		}
		if m.graph.Encoder && chunk.From < len(chunk.Tokens) {
			return m.graph.NoLogits()
		}
		if m.graph.Encoder && chunk.After > 0 {
			return fmt.Errorf("%w: chunk %d follows another one, which a %s model cannot", gguf.ErrUnsupported, c, m.graph.Architecture)
		}
		for pos, id := range chunk.Tokens {
			if id < 0 || int(id) >= m.Vocabulary() {
				return fmt.Errorf("token %d at position %d of chunk %d is not one of the vocabulary's %d", id, pos, c, m.Vocabulary())
			}
		}
	}
	return nil
}

// LongContext returns how many tokens the longest text may have that is run together with shorter ones: rotary embeddings are
// others for all texts of a run if one has more (LongRoPE). 0: they are always the same.
func (m *Model) LongContext() int { return m.graph.LongContext }
