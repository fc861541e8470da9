package graph

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Attention is causal grouped-query attention (arXiv 2305.13245). Its matrices may have
// biases.
type Attention struct {
	Heads        int  `key:"attention.head_count"`
	KVHeads      int  `key:"attention.head_count_kv"`
	KeyLen       int  `key:"attention.key_length"`   // elements of a query or key head
	ValueLen     int  `key:"attention.value_length"` // elements of a value head
	QNorm, KNorm Norm // of each head, before it is rotated
	Rope         RopeSpec
	Scale        float32 // of the scores, not negative
	Cap          float32 `key:"attn_logit_softcapping"`   // c·tanh(x/c) of the scaled scores; 0: none
	Window       int     `key:"attention.sliding_window"` // so many tokens are seen, the own among them; 0: all
}

// AttentionOp is an Attention with its weights.
type AttentionOp struct {
	Attention
	// Slot is the number of the mixer in its model, for what is remembered.
	Slot         int
	q, k, v      Matrix // heads x head length rows of width
	output       Matrix // width rows of heads x ValueLen
	qNorm, kNorm *NormOp
	rope         *Rope
}

// Bind implements Mixer.
func (a Attention) Bind(b *Binder) Op {
	return &AttentionOp{
		Attention: a,
		Slot:      b.slot,
		q:         b.biased("attn_q", a.Heads*a.KeyLen, b.width),
		k:         b.biased("attn_k", a.KVHeads*a.KeyLen, b.width),
		v:         b.biased("attn_v", a.KVHeads*a.ValueLen, b.width),
		output:    b.biased("attn_output", b.width, a.Heads*a.ValueLen),
		qNorm:     b.norm(a.QNorm, a.KeyLen),
		kNorm:     b.norm(a.KNorm, a.KeyLen),
		rope:      b.rope(a.Rope),
	}
}

// Size implements Mixer.
func (a Attention) Size() Size {
	return Size{
		Scratch: a.Heads*(a.KeyLen+a.ValueLen) + a.KVHeads*(a.KeyLen+a.ValueLen),
		Inner:   a.Heads * a.KeyLen,
		Keys:    a.KVHeads * max(a.KeyLen, a.ValueLen),
		Head:    a.KeyLen + a.ValueLen,
		Scores:  a.Heads,
	}
}

// State implements Mixer.
func (a Attention) State() State {
	return State{Heads: a.KVHeads, KeyLen: a.KeyLen, ValueLen: a.ValueLen, Window: a.Window}
}

// First returns the first position that a token at a position sees.
func (a Attention) First(pos int) int {
	if a.Window == 0 {
		return 0
	}
	return max(0, pos-a.Window+1)
}

// Softmax replaces the scores of what a token sees, products of query and keys, by the
// numerators of the softmax, and returns the denominator.
func (a Attention) Softmax(scores []float32) float32 {
	if a.Cap == 0 {
		return kernel.ExpSum(scores, a.Scale)
	}
	for i := range scores {
		scores[i] *= a.Scale
	}
	softCap(scores, a.Cap)
	return kernel.ExpSum(scores, 1)
}

// Weights implements Op.
func (a *AttentionOp) Weights() []*Matrix { return []*Matrix{&a.q, &a.k, &a.v, &a.output} }

// Run implements Op.
func (a *AttentionOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	s := e.Scratch(a.q.Rows, a.k.Rows, a.v.Rows, a.output.Cols)
	q, k, v, heads := s[0], s[1], s[2], s[3]
	if err := e.Multiply(ctx, x, Product{q, &a.q}, Product{k, &a.k}, Product{v, &a.v}); err != nil {
		return err
	}
	angles := e.Angles(a.rope)
	err := e.Each(ctx, func(row, pos int) {
		a.place(q[row*a.q.Rows:][:a.q.Rows], a.qNorm, angles, pos)
		a.place(k[row*a.k.Rows:][:a.k.Rows], a.kNorm, angles, pos)
	})
	if err != nil {
		return err
	}
	if err := e.Attend(ctx, heads, q, k, v, a); err != nil {
		return err
	}
	return e.Add(ctx, out, heads, &a.output)
}

// place normalises each head of queries or keys, unless norm is nil, and rotates it.
func (a *AttentionOp) place(row []float32, norm *NormOp, angles Angles, pos int) {
	if norm != nil {
		for at := 0; at < len(row); at += a.KeyLen {
			head := row[at:][:a.KeyLen]
			norm.Apply(head, head)
		}
	}
	angles.rotate(row, pos)
}
