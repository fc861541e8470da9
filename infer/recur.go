package infer

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// recurrent is what the recurrences of a mixer remember of a session's text. What a token makes of it is written beside
// it, so that a token that fails changes nothing: which of the two it is follows from the length of the text.
type recurrent [2][]float32

func newRecurrent(s graph.State) recurrent {
	return recurrent{make([]float32, s.Recurrent), make([]float32, s.Recurrent)}
}

// after returns what a recurrence remembers of the first so many tokens.
func (r *recurrent) after(tokens int, of graph.Recurrence, part int) []float32 {
	return r[tokens%2][of.First+part*of.Size:][:of.Size]
}

// Recur implements graph.Engine. Of a session's only chunk, what is remembered stays there.
func (b *batch) Recur(ctx context.Context, r graph.Recurrence, f func(part, first, end int, state, work []float32)) error {
	return parallel(ctx, b.workers, len(b.chunks)*r.Parts, func(w *worker, task int) error {
		chunk, part := task/r.Parts, task%r.Parts
		first, n := b.starts[chunk], len(b.chunks[chunk].Tokens)
		state := sized(&w.state, r.Size)
		if b.session != nil {
			state = b.session.recurrent[r.Slot].after(n, r, part)
		}
		clear(state)
		f(part, first, first+n, state, sized(&w.out, r.Work))
		return nil
	})
}

// Recur implements graph.Engine.
func (t *token) Recur(_ context.Context, r graph.Recurrence, f func(part, first, end int, state, work []float32)) error {
	pos, of := t.session.tokens, &t.session.recurrent[r.Slot]
	return t.crew.run(r.Parts, func(w *worker, part int) error {
		state := of.after(pos+1, r, part)
		if pos == 0 {
			clear(state)
		} else {
			copy(state, of.after(pos, r, part))
		}
		f(part, 0, 1, state, sized(&w.out, r.Work))
		return nil
	})
}
