package infer

import (
	"context"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// queryBlock is how many queries of a head are scored against its keys at once:
// the scores held are queryBlock x context, never context x context.
const queryBlock = 8 * kernel.TileRows

// attention adds the attention of layer l to the residual stream.
func (p *pass) attention(ctx context.Context, l *layer) error {
	m := p.m
	// The three results lie one after another in scratch.
	q := p.scratch[:p.tokens*l.q.rows]
	k := p.scratch[len(q):][:p.tokens*l.k.rows]
	v := p.scratch[len(q)+len(k):][:p.tokens*l.v.rows]
	if err := p.normalize(ctx, l.attnNorm); err != nil {
		return err
	}
	if err := p.pack(ctx, p.normed, m.width, nil, l.q, l.k, l.v); err != nil {
		return err
	}
	for _, s := range []struct {
		dst []float32
		w   matrix
	}{{q, l.q}, {k, l.k}, {v, l.v}} {
		if err := p.product(ctx, s.dst, p.tokens, s.w, false); err != nil {
			return err
		}
	}
	err := parallel(ctx, p.workers, len(p.chunks), func(_ *worker, c int) error {
		for pos := range p.chunks[c].Tokens {
			row := p.starts[c] + pos
			m.place(p.rotation, q[row*l.q.rows:][:l.q.rows], l.qNorm, pos)
			m.place(p.rotation, k[row*l.k.rows:][:l.k.rows], l.kNorm, pos)
			if p.session != nil {
				if err := p.session.remember(l.index, pos, k[row*l.k.rows:][:l.k.rows], v[row*l.v.rows:][:l.v.rows]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = parallel(ctx, p.workers, len(p.chunks)*m.kvHeads, func(w *worker, task int) error {
		p.attend(w, q, k, v, task/m.kvHeads, task%m.kvHeads)
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.pack(ctx, p.normed, m.heads*m.valueLen, nil, l.attnOutput); err != nil {
		return err
	}
	return p.product(ctx, p.x, p.tokens, l.attnOutput, true)
}

// attend computes the query heads that share key-value head kv, for one chunk,
// and leaves their results in p.normed.
func (p *pass) attend(w *worker, q, k, v []float32, chunk, kv int) {
	m, n, start := p.m, len(p.chunks[chunk].Tokens), p.starts[chunk]
	if n == 0 {
		return
	}
	qWidth, kWidth, vWidth := m.heads*m.keyLen, m.kvHeads*m.keyLen, m.kvHeads*m.valueLen
	keys := sized(&w.keys, kernel.RightLen(n, m.keyLen))
	kernel.PackRight(keys, k[start*kWidth+kv*m.keyLen:], kWidth, n, m.keyLen)
	values := sized(&w.values, kernel.RightLen(m.valueLen, n))
	kernel.PackRightTransposed(values, v[start*vWidth+kv*m.valueLen:], vWidth, m.valueLen, n)

	scale := float32(1 / math.Sqrt(float64(m.keyLen)))
	group := m.heads / m.kvHeads
	for head := kv * group; head < (kv+1)*group; head++ {
		for first := 0; first < n; first += queryBlock {
			rows := min(queryBlock, n-first)
			seen := first + rows // keys that the last of these queries may see
			query := sized(&w.query, kernel.LeftLen(rows, m.keyLen))
			kernel.PackLeft(query, q[(start+first)*qWidth+head*m.keyLen:], qWidth, rows, m.keyLen)
			scores := sized(&w.scores, rows*seen)
			clear(scores)
			kernel.Mul(scores, seen, query, keys, rows, seen, m.keyLen)

			var sums [queryBlock]float32
			for r := range rows {
				row := scores[r*seen:][:seen]
				sums[r] = kernel.ExpSum(row[:first+r+1], scale)
				clear(row[first+r+1:])
			}
			weights := sized(&w.weights, kernel.LeftLen(rows, seen))
			kernel.PackLeft(weights, scores, seen, rows, seen)
			out := sized(&w.out, rows*m.valueLen)
			clear(out)
			for col := 0; col < m.valueLen; col += kernel.TileCols {
				kernel.Mul(out[col:], m.valueLen, weights, values[col*n:], rows, min(kernel.TileCols, m.valueLen-col), seen)
			}
			for r := range rows {
				result := p.normed[((start+first+r)*m.heads+head)*m.valueLen:][:m.valueLen]
				for i, v := range out[r*m.valueLen:][:m.valueLen] {
					result[i] = v / sums[r]
				}
			}
		}
	}
}
