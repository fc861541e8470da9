package graph

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
)

// Indexer chooses which tokens an attention sees (DeepSeek sparse attention, arXiv 2512.02556). Who has no more than TopK to see
// sees all of them, others see the TopK with the highest scores: the sum over the heads of weight · max(0, query · key). Queries are made of
// what those of the attention are made of, the key and the weights of the token. Of equal scores those of the first tokens are higher.
//
// The references also multiply scores with positive numbers and queries and keys with a Hadamard matrix, which changes no choice.
type Indexer struct {
	Heads  int  `key:"attention.indexer.head_count"`
	KeyLen int  `key:"attention.indexer.key_length"` // elements of a query head and of the key, the first of which, Rope.Dims, are rotated
	TopK   int  `key:"attention.indexer.top_k"`      // 0: there is no indexer
	Norm   Norm // of the key
	Rope   RopeSpec
	Shared int // what is chosen is what so many layers before was; 0: its own choice
}

// IndexerOp is an Indexer with its weights.
type IndexerOp struct {
	Indexer
	// Slot is the number of the mixer in its model, for what is remembered.
	Slot        int
	query       Matrix // Heads x KeyLen rows of what queries are made of
	key, weight Matrix // KeyLen and Heads rows of width
	norm        *NormOp
	rope        *Rope
}

// bind returns the indexer of a layer whose queries are made of so many elements, that of another layer if it is shared, nil if there is none.
func (x Indexer) bind(b *Binder, rank int) *IndexerOp {
	if x.TopK == 0 {
		return nil
	}
	if x.Shared > 0 {
		b.leave("indexer.") // some files have weights that are not used
		source := b.indexers[b.layer-x.Shared]
		if source == nil || source.TopK != x.TopK {
			b.fail(fmt.Errorf("%w: layer %d cannot share the indexer of layer %d", gguf.ErrCorrupt, b.layer, b.layer-x.Shared))
		}
		b.shares = append(b.shares, share{b.layer - x.Shared, b.layer})
		return source
	}
	o := &IndexerOp{
		Indexer: x, Slot: b.slot, norm: b.norm(x.Norm, x.KeyLen), rope: b.rope(x.Rope),
		query: b.biased("indexer.attn_q_b", x.Heads*x.KeyLen, rank),
		key:   b.biased("indexer.attn_k", x.KeyLen, b.width), weight: b.biased("indexer.proj", x.Heads, b.width),
	}
	b.indexers[b.layer] = o
	return o
}

// own reports whether the indexer is that of the layer.
func (x Indexer) own() bool { return x.TopK > 0 && x.Shared == 0 }

// scratch returns the rooms that choose takes of each token.
func (x Indexer) scratch() []int {
	if !x.own() {
		return nil
	}
	return []int{x.Heads * x.KeyLen, x.KeyLen, x.Heads}
}

// matrices lists the large matrices.
func (x *IndexerOp) matrices() []*Matrix { return []*Matrix{&x.query, &x.key, &x.weight} }

// choose has the engine choose what tokens see. seen is what the attention sees of them, compressed what queries are made of.
func (x *IndexerOp) choose(ctx context.Context, e Engine, s [][]float32, seen, compressed []float32) error {
	queries, keys, weights := s[0], s[1], s[2]
	if err := e.Multiply(ctx, seen, Product{keys, &x.key}, Product{weights, &x.weight}); err != nil {
		return err
	}
	if err := e.Multiply(ctx, compressed, Product{queries, &x.query}); err != nil {
		return err
	}
	angles := e.Angles(x.rope)
	err := e.Each(ctx, func(row, pos int) {
		key := keys[row*x.KeyLen:][:x.KeyLen]
		x.norm.Apply(key, key)
		angles.rotate(key, x.KeyLen, pos)
		angles.rotate(queries[row*x.query.Rows:][:x.query.Rows], x.KeyLen, pos)
	})
	if err != nil {
		return err
	}
	return e.Choose(ctx, queries, keys, weights, x)
}
