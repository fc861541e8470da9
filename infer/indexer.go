package infer

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// choice is what an indexer chose for the tokens of a batch.
type choice struct {
	by *graph.IndexerOp
	// positions are TopK for each token, ascending. Those of a token that sees no more are not defined, and there are none at all
	// where no token sees more.
	positions []int32
}

// of returns the positions that the token of a row sees, nil if it sees all.
func (c *choice) of(row, pos int) []int32 {
	if c == nil || pos < c.by.TopK {
		return nil
	}
	return c.positions[row*c.by.TopK:][:c.by.TopK]
}

// Choose implements graph.Engine.
func (b *batch) Choose(ctx context.Context, q, k, weights []float32, x *graph.IndexerOp) error {
	err := b.remember(ctx, func(s *Session, row, pos, _ int) error {
		return s.indexers[x.Slot].put(pos, k[row*x.KeyLen:][:x.KeyLen], nil)
	})
	if err != nil {
		return err
	}
	if b.partial {
		text := b.chunks[0]
		keys := sized(&b.indexerKeys, text.text*x.KeyLen)
		copy(keys[text.first*x.KeyLen:], k[:b.tokens*x.KeyLen])
		k = keys
	}
	type task struct{ chunk, first, rows int } // a block of queries
	var tasks []task
	for i, c := range b.chunks {
		for first := 0; first < len(c.Tokens); first += queryBlock {
			if rows := min(queryBlock, len(c.Tokens)-first); c.first+first+rows > x.TopK {
				tasks = append(tasks, task{i, first, rows})
			}
		}
	}
	if b.choices == nil {
		b.choices = make(map[*Model]*choice)
	}
	made := b.choices[b.m]
	if made == nil {
		made = &choice{}
		b.choices[b.m] = made
	}
	made.by = x
	if len(tasks) > 0 {
		sized(&made.positions, b.all()*x.TopK)
	}
	return parallel(ctx, b.workers, len(tasks), func(w *worker, i int) error {
		c, first, rows := b.chunks[tasks[i].chunk], tasks[i].first, tasks[i].rows
		start, at := c.start+first, c.first+first
		scores := b.indexScores(w, q[start*x.Heads*x.KeyLen:], k, weights[start*x.Heads:], c, rows, at+rows, x)
		for r := range rows {
			if chosen := made.of(b.row+start+r, at+r); chosen != nil {
				topK(w, chosen, scores[r*(at+rows):][:at+r+1], c.text)
			}
		}
		return nil
	})
}

// indexScores returns the scores of the first so many keys of the text of a chunk for some rows of queries, rows x seen.
func (b *batch) indexScores(w *worker, q, k, weights []float32, c batchChunk, rows, seen int, x *graph.IndexerOp) []float32 {
	keys := sized(&w.keys, kernel.PackedLenB(seen, x.KeyLen))
	text, stride := b.gather(w, k, c, x.KeyLen, 0, x.KeyLen)
	kernel.PackB(keys, text, stride, seen, x.KeyLen)
	query := sized(&w.query, kernel.PackedLenA(rows, x.KeyLen))
	products, sums := sized(&w.scores, rows*seen), sized(&w.weights, rows*seen)
	clear(sums)
	for head := range x.Heads {
		kernel.PackA(query, q[head*x.KeyLen:], x.Heads*x.KeyLen, rows, x.KeyLen)
		clear(products)
		kernel.Mul(products, seen, query, keys, rows, seen, x.KeyLen)
		for r := range rows {
			addPositive(sums[r*seen:][:seen], products[r*seen:][:seen], weights[r*x.Heads+head])
		}
	}
	return sums
}

// addPositive adds the products that are positive, times a weight, to sums.
func addPositive(sums, products []float32, weight float32) {
	for i, p := range products {
		sums[i] += float32(weight * max(p, 0))
	}
}

// Choose implements graph.Engine.
func (t *tokens) Choose(_ context.Context, q, k, weights []float32, x *graph.IndexerOp) error {
	var sees []int // rows that see more than TopK
	ends := []int{0}
	for row, s := range t.sessions {
		if err := s.indexers[x.Slot].put(s.tokens, k[row*x.KeyLen:][:x.KeyLen], nil); err != nil {
			return err
		}
		if s.tokens >= x.TopK {
			sees, ends = append(sees, row), append(ends, ends[len(ends)-1]+s.tokens+1)
		}
	}
	if len(sees) == 0 {
		return nil
	}
	all, chosen := sized(&t.indexScores, ends[len(sees)]), sized(&t.chosen, len(t.sessions)*x.TopK)
	tasks := len(t.crew.workers) // of each row
	err := t.crew.run(len(sees)*tasks, func(w *worker, task int) error {
		i, part := task/tasks, task%tasks
		row, scores := sees[i], all[ends[i]:ends[i+1]]
		first, end := part*len(scores)/tasks, (part+1)*len(scores)/tasks
		seen, err := t.sessions[row].indexers[x.Slot].get(w, 0, first, end, 0)
		if err != nil {
			return err
		}
		scores = scores[first:end]
		clear(scores)
		products := sized(&w.scores, len(scores))
		for head, weight := range weights[row*x.Heads:][:x.Heads] {
			seen.score(products, q[(row*x.Heads+head)*x.KeyLen:][:x.KeyLen])
			addPositive(scores, products, weight)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.crew.run(len(sees), func(w *worker, i int) error {
		row, scores := sees[i], all[ends[i]:ends[i+1]]
		topK(w, chosen[row*x.TopK:][:x.TopK], scores, len(scores))
		return nil
	})
}

// chosen returns what the indexer of an attention chose, nil if there is none.
func (b *batch) chosen(a *graph.AttentionOp) *choice {
	if a.Indexer == nil {
		return nil
	}
	return b.choices[b.m]
}

// softmaxOf is Softmax of the scores of some positions, ascending. Those of others become 0.
func softmaxOf(a *graph.AttentionOp, head int, scores []float32, positions []int32) float32 {
	for i, pos := range positions {
		scores[i] = scores[pos]
	}
	sum := a.Softmax(head, scores[:len(positions)])
	clear(scores[len(positions):])
	for i := len(positions) - 1; i >= 0; i-- {
		v := scores[i]
		scores[i] = 0
		scores[positions[i]] = v
	}
	return sum
}
