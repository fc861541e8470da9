package graph

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Attention is grouped-query attention (arXiv 2305.13245). Its matrices may have
// biases.
type Attention struct {
	Heads        int     `key:"attention.head_count"`
	KVHeads      int     `key:"attention.head_count_kv"`
	KeyLen       int     `key:"attention.key_length"`   // elements of a query or key head
	ValueLen     int     `key:"attention.value_length"` // elements of a value head
	Fused        bool    // attn_qkv has the rows of the queries, the keys and the values
	GateApart    bool    // the result is multiplied by the sigmoid of the product with attn_gate
	Gated        bool    // attn_q has for each head the rows of the query, then as many of a gate: the result times the gate's sigmoid
	KeyValues    bool    // the values are the keys, before these are normalised and rotated
	Latent       bool    // the values are the first elements of the keys, and not kept beside them (MLA)
	Shared       int     // keys and values are those of so many layers before; 0: its own
	Kept         bool    // layers that follow share them
	Clamp        float32 `key:"attention.clamp_kqv"` // these are kept within ±Clamp; 0: they are not
	QNorm, KNorm Norm    // of queries and keys
	VNorm        Norm    // of the values of each head
	NormSpan     NormSpan
	NormLast     bool // they are rotated first
	Rope         RopeSpec
	Temperature  Temperature
	Scale        float32 // of the scores, not negative
	Cap          float32 `key:"attn_logit_softcapping"`   // c·tanh(x/c) of the scaled scores; 0: none
	MaxBias      float64 `key:"attention.max_alibi_bias"` // of the scores: ALiBi (arXiv 2108.12409), not of an encoder; 0: none
	Sinks        bool    // attn_sinks has a score for each head that is not of any token, in the softmax (arXiv 2309.17453)
	Window       int     `key:"attention.sliding_window"` // so many tokens are seen, the own among them; 0: all
	Chunked      bool    // they are instead those of the chunk of so many that the own is in
	Encoder      bool    // tokens that follow are seen too, and a window is half before and half behind
}

// NormSpan is what the norms of queries and keys go over.
type NormSpan int

// Spans of norms.
const (
	EachHead NormSpan = iota // each head, all with the same weights
	OwnHead                  // each head, with weights of its own
	AllHeads                 // all heads as one
)

// Temperature is a factor of the queries that grows with the position: 1 + Scale·ln(1 + ⌊(position + Offset)/Length⌋). The
// zero value is none.
type Temperature struct {
	Scale  float64 `key:"attention.temperature_scale"`
	Length int     `key:"attention.temperature_length"`
	Offset int
}

// apply multiplies the queries of a token.
func (t Temperature) apply(queries []float32, pos int) {
	if t == (Temperature{}) {
		return
	}
	factor := float32(1 + float64(t.Scale*math.Log(float64(1+(pos+t.Offset)/t.Length))))
	for i := range queries {
		queries[i] *= factor
	}
}

// AttentionOp is an Attention with its weights.
type AttentionOp struct {
	Attention
	// Slot is the number of the mixer in its model, for what is remembered.
	Slot int
	// Remembered says that the keys and values are those of an attention before it with the same Slot.
	Remembered bool
	// Source is the attention whose keys and values are shared, or nil.
	Source *AttentionOp
	// Indexer is what chooses the tokens that are seen, or nil: all of them. There is no window then.
	Indexer      *IndexerOp
	q, k, v      Matrix // heads x head length rows of width
	gateApart    Matrix // heads x ValueLen rows of width, if there is one
	output       Matrix // width rows of heads x ValueLen
	qNorm, kNorm *NormOp
	vNorm        *NormOp
	rope         *Rope     // or nil
	sinks        []float32 // of each head, or nil
	slopes       []float32 // ALiBi's of each head, or nil
}

// Bind implements Mixer.
func (a Attention) Bind(b *Binder) Op {
	o := &AttentionOp{Attention: a, Slot: b.slot, rope: b.rope(a.Rope), slopes: a.alibi()}
	queries, keys, values := a.Heads*a.KeyLen, a.KVHeads*a.KeyLen, a.KVHeads*a.ValueLen
	switch {
	case a.Shared > 0:
		o.q = b.biased("attn_q", queries, b.width)
		for _, own := range []string{"attn_k.", "attn_v.", "attn_k_norm."} { // which published files have
			b.leave(own)
		}
		o.Source = b.attentions[b.layer-a.Shared]
		if s := o.Source; s == nil || !s.Kept || s.KVHeads != a.KVHeads || s.KeyLen != a.KeyLen || s.ValueLen != a.ValueLen || s.Window != a.Window || s.Chunked != a.Chunked {
			b.fail(fmt.Errorf("%w: layer %d cannot share the keys and values of layer %d", gguf.ErrCorrupt, b.layer, b.layer-a.Shared))
			return o
		}
		o.Slot = o.Source.Slot
		b.shares = append(b.shares, share{b.layer - a.Shared, b.layer})
	case a.Fused:
		all := b.biased("attn_qkv", queries+keys+values, b.width)
		o.q, o.k, o.v = all.part(0, queries), all.part(queries, keys), all.part(queries+keys, values)
	default:
		if a.Gated {
			queries *= 2
		}
		o.q, o.k = b.biased("attn_q", queries, b.width), b.biased("attn_k", keys, b.width)
		if !a.KeyValues {
			o.v = b.biased("attn_v", values, b.width)
		}
	}
	if a.GateApart {
		o.gateApart = b.biased("attn_gate", a.Heads*a.ValueLen, b.width)
	}
	o.output = b.biased("attn_output", b.width, a.Heads*a.ValueLen)
	o.qNorm = b.headNorm(a.QNorm, a.NormSpan, a.Heads, a.KeyLen)
	if a.Shared == 0 {
		o.kNorm, o.vNorm = b.headNorm(a.KNorm, a.NormSpan, a.KVHeads, a.KeyLen), b.norm(a.VNorm, a.ValueLen)
	}
	b.attentions[b.layer] = o
	if a.Sinks {
		o.sinks = b.weights("attn_sinks", a.Heads)
	}
	return o
}

// headNorm reads the weights of a norm of so many heads.
func (b *Binder) headNorm(n Norm, span NormSpan, heads, length int) *NormOp {
	switch span {
	case OwnHead:
		return b.norm(n, length, heads)
	case AllHeads:
		return b.norm(n, heads*length)
	}
	return b.norm(n, length)
}

// alibi returns the slope of each head: powers of 2^(-MaxBias/n) where n is a power of 2, and where the number of
// heads is none, for the others the odd powers of its root.
func (a Attention) alibi() []float32 {
	if a.MaxBias == 0 {
		return nil
	}
	slopes := make([]float32, a.Heads)
	whole := 1 << (bits.Len(uint(a.Heads)) - 1)
	for h := range slopes {
		power := float64(h + 1)
		if h >= whole {
			power = float64(h-whole) + 0.5
		}
		slopes[h] = float32(math.Exp2(-a.MaxBias / float64(whole) * power))
	}
	return slopes
}

// Size implements Mixer.
func (a Attention) Size() Size {
	return Size{
		Scratch: a.Heads*(a.KeyLen+a.ValueLen) + a.KVHeads*(a.KeyLen+a.ValueLen) + a.gates(),
		Inner:   a.Heads * a.KeyLen,
		Keys:    a.KVHeads * max(a.KeyLen, a.ValueLen),
		Head:    a.KeyLen + a.ValueLen,
		Scores:  a.Heads,
		Kept:    a.kept(),
	}
}

// gates returns how many elements the gates of a token take, those of attn_q with the queries before them.
func (a Attention) gates() int {
	switch {
	case a.Gated:
		return 2 * a.Heads * a.KeyLen
	case a.GateApart:
		return a.Heads * a.ValueLen
	}
	return 0
}

func (a Attention) kept() int {
	if !a.Kept {
		return 0
	}
	return a.KVHeads * (a.KeyLen + a.ValueLen)
}

// State implements Mixer.
func (a Attention) State() State {
	if a.Shared > 0 {
		return State{}
	}
	s := State{Heads: a.KVHeads, KeyLen: a.KeyLen, ValueLen: a.ValueLen, Window: a.Window}
	if a.Latent {
		s.ValueLen = 0
	}
	return s
}

// First returns the first position that a token at a position sees.
func (a Attention) First(pos int) int {
	switch {
	case a.Window == 0:
		return 0
	case a.Chunked:
		return pos / a.Window * a.Window
	case a.Encoder:
		return max(0, pos-a.Window/2)
	}
	return max(0, pos-a.Window+1)
}

// End returns the position behind the last that a token at a position sees, in a text of n tokens.
func (a Attention) End(pos, n int) int {
	switch {
	case !a.Encoder:
		return pos + 1
	case a.Window == 0:
		return n
	}
	return min(n, pos+a.Window/2+1)
}

// Softmax replaces a head's scores of what a token sees, products of query and keys, by the numerators of the softmax, and returns the denominator.
func (a *AttentionOp) Softmax(head int, scores []float32) float32 {
	scale := a.Scale
	if a.Cap != 0 || a.slopes != nil {
		for i := range scores {
			scores[i] *= scale
		}
		scale = 1
	}
	if a.Cap != 0 {
		softCap(scores, a.Cap)
	}
	if a.slopes != nil {
		for i := range scores {
			scores[i] -= float32(a.slopes[head] * float32(len(scores)-1-i))
		}
	}
	if a.sinks == nil {
		return kernel.ExpSum(scores, scale)
	}
	top := scale * slices.Max(scores)
	return kernel.ExpSum(scores, scale) + float32(math.Exp(float64(a.sinks[head]-top)))
}

// Weights implements Op.
func (a *AttentionOp) Weights() []*Matrix {
	all := append(a.inputs(), &a.output)
	if a.GateApart {
		all = append(all, &a.gateApart)
	}
	return all
}

// inputs lists the matrices that the attention multiplies its input with.
func (a *AttentionOp) inputs() []*Matrix {
	switch {
	case a.Source != nil:
		return []*Matrix{&a.q}
	case a.KeyValues:
		return []*Matrix{&a.q, &a.k}
	}
	return []*Matrix{&a.q, &a.k, &a.v}
}

// Run implements Op.
func (a *AttentionOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	queries, keys, values, gated := a.Heads*a.KeyLen, a.KVHeads*a.KeyLen, a.KVHeads*a.ValueLen, a.gates()
	s := e.Scratch(queries, keys, values, a.output.Cols, gated)
	heads := s[3]
	var products []Product
	for i, w := range a.inputs() {
		products = append(products, Product{s[i], w})
	}
	switch {
	case a.Gated:
		products[0].Dst = s[4]
	case a.GateApart:
		products = append(products, Product{s[4], &a.gateApart})
	}
	if err := e.Multiply(ctx, x, products...); err != nil {
		return err
	}
	var angles Angles
	if a.rope != nil {
		angles = e.Angles(a.rope)
	}
	err := e.Each(ctx, func(row, pos int) {
		for at := 0; a.Gated && at < gated; at += 2 * a.KeyLen {
			copy(s[0][row*queries+at/2:][:a.KeyLen], s[4][row*gated+at:])
		}
		a.placeQuery(s[0][row*queries:][:queries], angles, pos)
		if a.Source == nil {
			a.placeKey(s[1][row*keys:][:keys], s[2][row*values:][:values], angles, pos)
		}
	})
	if err != nil {
		return err
	}
	if err := e.Attend(ctx, heads, s[0], s[1], s[2], a); err != nil {
		return err
	}
	if gated > 0 {
		err := e.Each(ctx, func(row, _ int) { a.gate(heads[row*a.output.Cols:][:a.output.Cols], s[4][row*gated:][:gated]) })
		if err != nil {
			return err
		}
	}
	return e.Add(ctx, out, heads, &a.output)
}

// gate multiplies the result of a token with the sigmoid of its gates.
func (a *AttentionOp) gate(heads, gates []float32) {
	for i, v := range heads {
		at := i
		if a.Gated {
			at = i/a.ValueLen*2*a.KeyLen + a.KeyLen + i%a.ValueLen
		}
		heads[i] = v * sigmoid(gates[at])
	}
}

// placeQuery makes of the queries of a token what is multiplied with keys.
func (a *AttentionOp) placeQuery(query []float32, angles Angles, pos int) {
	clamp(query, a.Clamp)
	a.place(query, a.qNorm, angles, pos)
	a.Temperature.apply(query, pos)
}

// placeKey makes of the keys and values of a token what is remembered.
func (a *AttentionOp) placeKey(key, value []float32, angles Angles, pos int) {
	if a.KeyValues {
		copy(value, key)
	}
	clamp(key, a.Clamp)
	clamp(value, a.Clamp)
	a.place(key, a.kNorm, angles, pos)
	if a.vNorm != nil {
		a.vNorm.Apply(value, value)
	}
}

// place normalises queries or keys, unless norm is nil, and rotates each head, unless there
// is no rotary embedding.
func (a *AttentionOp) place(row []float32, norm *NormOp, angles Angles, pos int) {
	if norm != nil && !a.NormLast {
		norm.Apply(row, row)
	}
	if a.rope != nil {
		angles.rotate(row, a.KeyLen, pos)
	}
	if norm != nil && a.NormLast {
		norm.Apply(row, row)
	}
}

// clamp keeps each x within ±limit, unless that is 0.
func clamp(x []float32, limit float32) {
	if limit == 0 {
		return
	}
	for i, v := range x {
		x[i] = min(max(v, -limit), limit)
	}
}
