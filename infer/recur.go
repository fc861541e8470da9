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

// Recur implements graph.Engine. A chunk begins with what was remembered at the end of the one that it follows, which is kept as long as others
// may: of a text of sessions, they keep it.
func (b *batch) Recur(ctx context.Context, r graph.Recurrence, f func(part, first, end int, state, work []float32)) error {
	return parallel(ctx, b.workers, len(b.roots)*r.Parts, func(w *worker, task int) error {
		root, part := task/r.Parts, task%r.Parts
		end := len(b.chunks)
		if root+1 < len(b.roots) {
			end = b.roots[root+1]
		}
		states := sized(&w.state, b.depth*r.Size)
		for _, c := range b.chunks[b.roots[root]:end] {
			depth, n := len(c.before), len(c.Tokens)
			state := states[depth*r.Size:][:r.Size]
			switch {
			case depth > 0:
				copy(state, states[(depth-1)*r.Size:])
			case c.first > 0:
				copy(state, b.recurrences[r.First+part*r.Size:])
			default:
				clear(state)
			}
			f(part, c.start, c.start+n, state, sized(&w.out, r.Work))
			if b.partial {
				copy(b.recurrences[r.First+part*r.Size:], state)
			}
			if b.sessions != nil {
				for _, s := range b.sessions[c.number] {
					copy(s.recurrent[r.Slot].after(c.first+n, r, part), state)
				}
			}
		}
		return nil
	})
}

// Recur implements graph.Engine.
func (t *tokens) Recur(_ context.Context, r graph.Recurrence, f func(part, first, end int, state, work []float32)) error {
	return t.crew.run(len(t.sessions)*r.Parts, func(w *worker, task int) error {
		row, part := task/r.Parts, task%r.Parts
		pos, of := t.sessions[row].tokens, &t.sessions[row].recurrent[r.Slot]
		state := of.after(pos+1, r, part)
		if pos == 0 {
			clear(state)
		} else {
			copy(state, of.after(pos, r, part))
		}
		f(part, row, row+1, state, sized(&w.out, r.Work))
		return nil
	})
}
