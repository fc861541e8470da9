package graph

import "context"

// MLA is multi-head latent attention (arXiv 2405.04434): keys and values of all heads are products with one latent vector
// of each token, which is all that is remembered of it, beside a part of the keys that is rotated and that all heads share.
type MLA struct {
	Heads     int `key:"attention.head_count"`
	KeyLen    int `key:"attention.key_length_mla"`   // elements of a query or key head, the last of which, Rope.Dims, are rotated
	ValueLen  int `key:"attention.value_length_mla"` // elements of a value head
	QueryRank int `key:"attention.q_lora_rank"`      // elements that the queries are made of; 0: they are made of the token
	Rank      int `key:"attention.kv_lora_rank"`     // elements of the latent vector
	// Absorbed says that attn_k_b and attn_v_b have a matrix for each head, the former transposed: heads compare queries with the
	// latent vectors, and average these. Otherwise attn_kv_b has for each head the rows of its keys and its values, which
	// are made and remembered.
	Absorbed    bool
	QNorm       Norm // of what the queries are made of
	KVNorm      Norm // of the latent vector
	Rope        RopeSpec
	Temperature Temperature
	Scale       float32 // of the scores
	Indexer     Indexer // needs a QueryRank
}

// latentHeads is how many heads at most compare queries with latent vectors at once, which are longer than keys.
const latentHeads = 16

// mlaOp is an MLA with its weights.
type mlaOp struct {
	MLA
	qDown, qUp   Matrix // QueryRank rows of width, heads x KeyLen rows of QueryRank; qUp of width if there is no qDown
	down         Matrix // Rank + Rope.Dims rows of width
	keys, values []Matrix
	both         Matrix // heads x (keys and values) rows of Rank, unless Absorbed
	output       Matrix
	qNorm, norm  *NormOp
	rope         *Rope
	indexer      *IndexerOp     // or nil
	groups       []*AttentionOp // of some of the heads each
}

// plain returns how many elements of a key are not rotated.
func (m MLA) plain() int { return m.KeyLen - m.Rope.Dims }

// latent returns how long the keys are that all heads share.
func (m MLA) latent() int { return m.Rank + m.Rope.Dims }

// attention returns that of n heads.
func (m MLA) attention(n int) Attention {
	if m.Absorbed {
		return Attention{Heads: n, KVHeads: 1, KeyLen: m.latent(), ValueLen: m.Rank, Latent: true, Scale: m.Scale}
	}
	return Attention{Heads: n, KVHeads: n, KeyLen: m.KeyLen, ValueLen: m.ValueLen, Scale: m.Scale}
}

// Bind implements Mixer.
func (m MLA) Bind(b *Binder) Op {
	o := &mlaOp{MLA: m, rope: b.rope(m.Rope), qNorm: b.norm(m.QNorm, m.QueryRank), norm: b.norm(m.KVNorm, m.Rank)}
	if m.QueryRank > 0 {
		o.qDown, o.qUp = b.biased("attn_q_a", m.QueryRank, b.width), b.biased("attn_q_b", m.Heads*m.KeyLen, m.QueryRank)
	} else {
		o.qUp = b.biased("attn_q", m.Heads*m.KeyLen, b.width)
	}
	o.down = b.biased("attn_kv_a_mqa", m.latent(), b.width)
	size := m.Heads
	if m.Absorbed {
		o.keys, o.values = b.heads("attn_k_b", m.Heads, m.Rank, m.plain()), b.heads("attn_v_b", m.Heads, m.ValueLen, m.Rank)
		size = latentHeads
	} else {
		o.both = b.biased("attn_kv_b", m.Heads*(m.plain()+m.ValueLen), m.Rank)
	}
	o.indexer = m.Indexer.bind(b, m.QueryRank)
	o.output = b.biased("attn_output", b.width, m.Heads*m.ValueLen)
	for first := 0; first < m.Heads; first += size {
		o.groups = append(o.groups, &AttentionOp{
			Attention: m.attention(min(size, m.Heads-first)), Slot: b.slot, Remembered: first > 0, Indexer: o.indexer,
		})
	}
	return o
}

// scratch returns the rooms that Run takes of each token.
func (m MLA) scratch() []int {
	rooms := append(m.Indexer.scratch(), m.QueryRank, m.latent(), m.Heads*m.KeyLen, m.Heads*m.ValueLen)
	if n := min(latentHeads, m.Heads); m.Absorbed {
		return append(rooms, n*max(m.plain(), m.ValueLen), n*m.Rank, n*m.latent())
	}
	return append(rooms, m.Rank, m.Heads*(m.plain()+m.ValueLen), m.Heads*m.KeyLen, m.Heads*m.ValueLen)
}

// Size implements Mixer.
func (m MLA) Size() Size {
	heads := min(latentHeads, m.Heads)
	if !m.Absorbed {
		heads = m.Heads
	}
	size := m.attention(heads).Size()
	size.Scratch, size.Scores = 0, m.Heads
	size.Inner = max(size.Inner, m.Indexer.Heads*m.Indexer.KeyLen)
	size.Head, size.Chosen = max(size.Head, m.Indexer.KeyLen+2), m.Indexer.TopK // a position by its score takes two floats
	for _, n := range m.scratch() {
		size.Scratch += n
	}
	return size
}

// State implements Mixer.
func (m MLA) State() State {
	s := m.attention(m.Heads).State()
	if m.Indexer.own() {
		s.IndexLen = m.Indexer.KeyLen
	}
	return s
}

// Weights implements Op.
func (m *mlaOp) Weights() []*Matrix {
	all := []*Matrix{&m.qUp, &m.down, &m.output}
	if m.QueryRank > 0 {
		all = append(all, &m.qDown)
	}
	if !m.Absorbed {
		all = append(all, &m.both)
	}
	for h := range m.keys {
		all = append(all, &m.keys[h], &m.values[h])
	}
	if m.Indexer.own() {
		all = append(all, m.indexer.matrices()...)
	}
	return all
}

// Run implements Op.
func (m *mlaOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	s := e.Scratch(m.scratch()...)
	rooms := len(m.Indexer.scratch())
	index, s := s[:rooms], s[rooms:]
	queries, result := s[2], s[3]
	if err := m.queriesAndLatent(ctx, e, s, x); err != nil {
		return err
	}
	if m.Indexer.own() {
		if err := m.indexer.choose(ctx, e, index, x, s[0]); err != nil {
			return err
		}
	}
	attend := m.attendLatent
	if !m.Absorbed {
		attend = m.attendHeads
	}
	if err := attend(ctx, e, result, queries, s[1], s[4:]); err != nil {
		return err
	}
	return e.Add(ctx, out, result, &m.output)
}

// queriesAndLatent makes the queries of a token and what is remembered of it, but for the rotation of the queries.
func (m *mlaOp) queriesAndLatent(ctx context.Context, e Engine, s [][]float32, x []float32) error {
	compressed, latent, queries := s[0], s[1], s[2]
	products := []Product{{latent, &m.down}, {queries, &m.qUp}}
	if m.QueryRank > 0 {
		products[1] = Product{compressed, &m.qDown}
	}
	if err := e.Multiply(ctx, x, products...); err != nil {
		return err
	}
	angles := e.Angles(m.rope)
	err := e.Each(ctx, func(row, pos int) {
		part := latent[row*m.latent():][:m.latent()]
		m.norm.Apply(part[:m.Rank], part[:m.Rank])
		angles.rotate(part[m.Rank:], m.Rope.Dims, pos)
		if m.QueryRank > 0 {
			part := compressed[row*m.QueryRank:][:m.QueryRank]
			m.qNorm.Apply(part, part)
		}
	})
	if err != nil {
		return err
	}
	if m.QueryRank > 0 {
		if err := e.Multiply(ctx, compressed, Product{queries, &m.qUp}); err != nil {
			return err
		}
	}
	return e.Each(ctx, func(row, pos int) {
		part := queries[row*m.Heads*m.KeyLen:][:m.Heads*m.KeyLen]
		for h := range m.Heads {
			angles.rotate(part[h*m.KeyLen+m.plain():][:m.Rope.Dims], m.Rope.Dims, pos)
		}
		if !m.Absorbed {
			m.Temperature.apply(part, pos)
		}
	})
}

// attendLatent has heads compare queries with latent vectors, some of the heads at once.
func (m *mlaOp) attendLatent(ctx context.Context, e Engine, result, queries, latent []float32, s [][]float32) error {
	tokens, plain, long := e.Tokens(), m.plain(), m.latent()
	for g, a := range m.groups {
		first := g * latentHeads
		// Products of heads are of rows that stand together, a head after the other.
		short, absorbed, query := s[0], s[1], s[2]
		x, products := make([][]float32, a.Heads), make([]Product, a.Heads)
		for h := range products {
			x[h] = short[h*tokens*plain:][:tokens*plain]
			products[h] = Product{absorbed[h*tokens*m.Rank:][:tokens*m.Rank], &m.keys[first+h]}
		}
		err := e.Each(ctx, func(row, _ int) {
			for h := range a.Heads {
				copy(x[h][row*plain:][:plain], queries[(row*m.Heads+first+h)*m.KeyLen:])
			}
		})
		if err != nil {
			return err
		}
		if err := e.MultiplyEach(ctx, x, products); err != nil {
			return err
		}
		err = e.Each(ctx, func(row, pos int) {
			for h := range a.Heads {
				part := query[(row*a.Heads+h)*long:][:long]
				copy(part, products[h].Dst[row*m.Rank:][:m.Rank])
				copy(part[m.Rank:], queries[(row*m.Heads+first+h)*m.KeyLen+plain:])
				m.Temperature.apply(part, pos)
			}
		})
		if err != nil {
			return err
		}
		if err := e.Attend(ctx, absorbed, query, latent, nil, a); err != nil {
			return err
		}
		for h := range products {
			x[h] = query[h*tokens*m.Rank:][:tokens*m.Rank]
			products[h] = Product{short[h*tokens*m.ValueLen:][:tokens*m.ValueLen], &m.values[first+h]}
		}
		err = e.Each(ctx, func(row, _ int) {
			for h := range a.Heads {
				copy(x[h][row*m.Rank:][:m.Rank], absorbed[(row*a.Heads+h)*m.Rank:])
			}
		})
		if err != nil {
			return err
		}
		if err := e.MultiplyEach(ctx, x, products); err != nil {
			return err
		}
		err = e.Each(ctx, func(row, _ int) {
			for h := range a.Heads {
				copy(result[(row*m.Heads+first+h)*m.ValueLen:][:m.ValueLen], products[h].Dst[row*m.ValueLen:])
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// attendHeads makes the keys and values of all heads of the latent vectors.
func (m *mlaOp) attendHeads(ctx context.Context, e Engine, result, queries, latent []float32, s [][]float32) error {
	compressed, both, keys, values := s[0], s[1], s[2], s[3]
	err := e.Each(ctx, func(row, _ int) { copy(compressed[row*m.Rank:][:m.Rank], latent[row*m.latent():]) })
	if err != nil {
		return err
	}
	if err := e.Multiply(ctx, compressed, Product{both, &m.both}); err != nil {
		return err
	}
	plain := m.plain()
	err = e.Each(ctx, func(row, _ int) {
		for h := range m.Heads {
			head := row*m.Heads + h
			part := both[head*(plain+m.ValueLen):][:plain+m.ValueLen]
			key := keys[head*m.KeyLen:][:m.KeyLen]
			copy(key, part[:plain])
			copy(key[plain:], latent[row*m.latent()+m.Rank:])
			copy(values[head*m.ValueLen:][:m.ValueLen], part[plain:])
		}
	})
	if err != nil {
		return err
	}
	return e.Attend(ctx, result, queries, keys, values, m.groups[0])
}
