package graph

import "context"

// Engine has the steps that layers are made of, for the tokens of a batch, each a row.
type Engine interface {
	// Tokens returns how many rows there are.
	Tokens() int
	// Blocks calls f for blocks of the rows, [first, end), one after another, so that all else that is taken of each row is of one block:
	// within f, the rows of the block are all that there are. Blocks of a text come in their order.
	Blocks(f func(first, end int) error) error
	// Normed and Branch are rooms for a row of the model's width for each token: for
	// what mixers see, and for what they add where that is held apart.
	Normed() []float32
	Branch() []float32
	// Aside is one more such room, if Spec.Aside: for what a mixer adds to a sum of several.
	Aside() []float32
	// Active is one more, if there are several streams (AltUp): for the one that layers compute with.
	Active() []float32
	// Scratch returns rooms for so many floats for each token. Their values are not
	// defined, and they are lost with the next call of Scratch or Networks.
	Scratch(perToken ...int) [][]float32
	// Each calls f for every token with its row and its position in its text, for different
	// tokens at the same time.
	Each(ctx context.Context, f func(row, pos int)) error
	// Angles returns the angles of a rotary embedding for all positions there are.
	Angles(r *Rope) Angles
	// Multiply sets each dst to x·wᵀ + bias.
	Multiply(ctx context.Context, x []float32, products ...Product) error
	// MultiplyEach is Multiply with an x for each product.
	MultiplyEach(ctx context.Context, x [][]float32, products []Product) error
	// Add adds x·wᵀ + bias to dst.
	Add(ctx context.Context, dst, x []float32, w *Matrix) error
	// Lookup sets dst to a part of the row of w that each token has the number of: the elements from
	// number first on.
	Lookup(ctx context.Context, dst []float32, w *Matrix, first int) error
	// Choose has an indexer choose which positions each token sees, by queries, tokens x Heads x KeyLen, which are rotated as keys
	// are, and weights of the heads. Keys are remembered for the tokens that follow, and what is chosen for every
	// attention of that indexer until one chooses next.
	Choose(ctx context.Context, q, k, weights []float32, x *IndexerOp) error
	// Attend sets dst, tokens x heads x ValueLen, to the attention of queries, keys and
	// values, which are rotated. Keys and values are remembered for the tokens that follow; those
	// of an attention that has a Source are the Source's. If it is Latent, there are no values. With an Indexer it
	// is to what was chosen.
	Attend(ctx context.Context, dst, q, k, v []float32, a *AttentionOp) error
	// Recur takes the tokens of each text in their order through a recurrence. f is called for different parts and texts at the
	// same time: with the rows [first, end) that are new, what the part remembers of the text before them, which it
	// brings up to date, and room for r.Work floats. At the beginning of a text what is remembered is 0.
	Recur(ctx context.Context, r Recurrence, f func(part, first, end int, state, work []float32)) error
	// Networks adds the results of networks to dst, one after another. Rows go through each in blocks.
	Networks(ctx context.Context, dst, x []float32, uses []Use) error
	// Router is told what routers choose. It may be nil.
	Router() func(Routing)
}

// Product is a product with a matrix: Dst has tokens x W.Rows elements.
type Product struct {
	Dst []float32
	W   *Matrix
}

// Recurrence is what a mixer remembers of a text, all that it will ever know of the tokens so far, in parts of equal size.
type Recurrence struct {
	Slot        int // number of the mixer in its model
	First       int // of the numbers that the mixer keeps of a text (State), the first of these
	Parts, Size int
	Work        int // floats that a part needs beside that
}

// Use is a network that some tokens go through.
type Use struct {
	Network *NetworkOp
	Rows    []int     // of the tokens, ascending; nil: all
	Weights []float32 // factor of what is added, for each of them; nil: 1
	// WeighFirst says that they are factors of what goes into the network.
	WeighFirst bool
}

// Routing is what the router of a layer makes of a batch of tokens. It may be
// used only during the call.
type Routing struct {
	Layer, Tokens, Experts int
	Logits                 []float32 // Tokens x Experts
	Chosen                 []int32   // Tokens x experts per token, the best first
}
