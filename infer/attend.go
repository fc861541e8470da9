package infer

import (
	"context"
	"slices"

	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// queryBlock is how many queries of a head are scored against its keys at once:
// the scores held are queryBlock x context, never context x context.
const queryBlock = 8 * kernel.TileRows

// keyValues are those of an attention for the tokens of a batch.
type keyValues struct{ keys, values []float32 }

// Attend implements graph.Engine.
func (b *batch) Attend(ctx context.Context, dst, q, k, v []float32, a *graph.AttentionOp) error {
	if a.Latent {
		v = k
	}
	if a.Source == nil && !a.Remembered {
		if err := b.cache(ctx, k, v, a); err != nil {
			return err
		}
	}
	k, v = b.seen(k, v, a)
	choice := b.chosen(a)
	group := a.Heads / a.KVHeads
	heads := headsOfTask(group, len(b.workers))
	tasks := (group + heads - 1) / heads
	return parallel(ctx, b.workers, len(b.chunks)*a.KVHeads*tasks, func(w *worker, task int) error {
		chunk, part := task/(a.KVHeads*tasks), task%(a.KVHeads*tasks)
		kv, first := part/tasks, part%tasks*heads
		b.attend(w, dst, q, k, v, a, choice, chunk, kv, first, min(first+heads, group))
		return nil
	})
}

// sharedByTask is how many query heads that share keys and values one task has at least, since each task has to get these ready.
const sharedByTask = 8

// headsOfTask returns how many of the heads of a group one of n tasks takes.
func headsOfTask(group, n int) int { return min(group, max(sharedByTask, (group+n-1)/n)) }

// seen returns the keys and values of the texts of a part: those given, which are kept if other layers share them or if other pieces
// of the text see them, behind those that were kept of its pieces so far.
func (b *batch) seen(k, v []float32, a *graph.AttentionOp) (keys, values []float32) {
	kWidth, vWidth := a.KVHeads*a.KeyLen, a.KVHeads*a.ValueLen
	before := 0 // tokens of the text
	if b.partial {
		before = b.chunks[0].first
	}
	switch {
	case a.Source != nil || a.Kept:
		source := a
		if a.Source != nil {
			source = a.Source
		} else {
			b.keep(k, v, a)
		}
		kept, row := b.kept[source], b.row-before
		return kept.keys[row*kWidth:], kept.values[row*vWidth:]
	case !b.partial:
		return k, v
	}
	text := b.chunks[0].text
	keys = sized(&b.remembered.keys, text*kWidth)
	if !a.Remembered {
		copy(keys[before*kWidth:], k)
	}
	if a.Latent {
		return keys, keys
	}
	values = sized(&b.remembered.values, text*vWidth)
	if !a.Remembered {
		copy(values[before*vWidth:], v)
	}
	return keys, values
}

// keep keeps the keys and values of a part.
func (b *batch) keep(k, v []float32, a *graph.AttentionOp) {
	if b.kept == nil {
		b.kept = make(map[*graph.AttentionOp]keyValues)
	}
	kept := b.kept[a]
	kWidth, vWidth := a.KVHeads*a.KeyLen, a.KVHeads*a.ValueLen
	copy(sized(&kept.keys, b.all()*kWidth)[b.row*kWidth:], k)
	copy(sized(&kept.values, b.all()*vWidth)[b.row*vWidth:], v)
	b.kept[a] = kept
}

// cache stores the keys and values of the texts of sessions.
func (b *batch) cache(ctx context.Context, k, v []float32, a *graph.AttentionOp) error {
	kWidth, vWidth := a.KVHeads*a.KeyLen, a.KVHeads*a.ValueLen
	return b.remember(ctx, func(s *Session, row, pos, text int) error {
		cache := &s.caches[a.Slot]
		if pos < text-cache.rows {
			return nil // no token to come sees it
		}
		return cache.put(pos, k[row*kWidth:][:kWidth], v[row*vWidth:][:vWidth])
	})
}

// attend computes some of the query heads that share key-value head kv, [from, to) of these, for one chunk. What an indexer did not choose
// is scored too, since queries that share keys are multiplied together.
func (b *batch) attend(w *worker, dst, q, k, v []float32, a *graph.AttentionOp, choice *choice, chunk, kv, from, to int) {
	c := b.chunks[chunk]
	n, start := len(c.Tokens), c.start
	if n == 0 {
		return
	}
	qWidth, kWidth := a.Heads*a.KeyLen, a.KVHeads*a.KeyLen
	vWidth := a.KVHeads * a.ValueLen
	if a.Latent {
		vWidth = kWidth
	}
	all := c.first + n
	keys := sized(&w.keys, kernel.PackedLenB(all, a.KeyLen))
	rows, stride := b.gather(w, k, c, kWidth, kv*a.KeyLen, a.KeyLen)
	kernel.PackB(keys, rows, stride, all, a.KeyLen)
	values := sized(&w.values, kernel.PackedLenB(a.ValueLen, all))
	rows, stride = b.gather(w, v, c, vWidth, kv*a.ValueLen, a.ValueLen)
	kernel.PackBTransposed(values, rows, stride, a.ValueLen, all)

	group := a.Heads / a.KVHeads
	for head := kv*group + from; head < kv*group+to; head++ {
		for first := 0; first < n; first += queryBlock {
			rows, at := min(queryBlock, n-first), c.first+first
			base := a.First(at) / kernel.TileCols * kernel.TileCols // panels before it are seen by none of these queries
			seen := a.End(at+rows-1, all) - base                    // keys that the last of them may see
			query := sized(&w.query, kernel.PackedLenA(rows, a.KeyLen))
			kernel.PackA(query, q[(start+first)*qWidth+head*a.KeyLen:], qWidth, rows, a.KeyLen)
			scores := sized(&w.scores, rows*seen)
			clear(scores)
			kernel.Mul(scores, seen, query, keys[base*a.KeyLen:], rows, seen, a.KeyLen)

			var sums [queryBlock]float32
			for r := range rows {
				row := scores[r*seen:][:seen]
				from, end := a.First(at+r)-base, a.End(at+r, all)-base
				clear(row[:from])
				if positions := choice.of(b.row+start+first+r, at+r); positions != nil {
					sums[r] = softmaxOf(a, head, row[:end], positions)
				} else {
					sums[r] = a.Softmax(head, row[from:end])
				}
				clear(row[end:])
			}
			weights := sized(&w.weights, kernel.PackedLenA(rows, seen))
			kernel.PackA(weights, scores, seen, rows, seen)
			out := sized(&w.out, rows*a.ValueLen)
			clear(out)
			for col := 0; col < a.ValueLen; col += kernel.TileCols {
				kernel.Mul(out[col:], a.ValueLen, weights, values[col*all+base*kernel.TileCols:], rows, min(kernel.TileCols, a.ValueLen-col), seen)
			}
			for r := range rows {
				result := dst[((start+first+r)*a.Heads+head)*a.ValueLen:][:a.ValueLen]
				for i, v := range out[r*a.ValueLen:][:a.ValueLen] {
					result[i] = v / sums[r]
				}
			}
		}
	}
}

// gather returns the part of the keys or values of all tokens of a text up to the end of a chunk, and how far its rows are apart: where
// they are, or, if there are chunks before it, one after the other.
func (b *batch) gather(w *worker, x []float32, c batchChunk, width, first, length int) (rows []float32, stride int) {
	if len(c.before) == 0 {
		return x[c.start*width+first:], width
	}
	together := sized(&w.gathered, (c.first+len(c.Tokens))*length)
	at := 0
	for _, r := range append(slices.Clip(c.before), tokenRows{c.start, len(c.Tokens)}) {
		for i := range r.n {
			copy(together[at:][:length], x[(r.start+i)*width+first:])
			at += length
		}
	}
	return together, length
}
