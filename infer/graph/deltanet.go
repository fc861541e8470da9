package graph

import (
	"context"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// DeltaNet is the gated delta rule (arXiv 2412.06464). With q, k, v, z, α and β of its input, where q, k and v went through
// a convolution, q and k were made 1 long, and β went through a sigmoid, a value head remembers
// S ← g·S + k⊗β(v - g·Sᵀk) of the tokens, where g = e^(A·softplus(α + bias)), and its result Sᵀq/√(length of q) is normalised and
// multiplied with SiLU(z).
type DeltaNet struct {
	KeyLen     int  `key:"ssm.state_size"`
	KeyHeads   int  `key:"ssm.group_count"`
	ValueHeads int  `key:"ssm.time_step_rank"`
	Values     int  `key:"ssm.inner_size"`  // elements of all value heads
	Inputs     int  `key:"ssm.conv_kernel"` // of each sum of the convolution
	Norm       Norm // of each value head
	// Tiled says that value heads take key heads in turn; else those of a key head are neighbours.
	Tiled bool
	// Paired says that one matrix, ssm_ba, has for each key head the rows of β of its value heads, then those of α.
	Paired bool
}

// deltaNetOp is a DeltaNet with its weights.
type deltaNetOp struct {
	DeltaNet
	qkv, gate, out Matrix
	beta, alpha    Matrix // ssm_ba is beta
	convolution    *convolution
	recurrence     Recurrence
	dtBias, a      []float32 // of each value head
	norm           *NormOp
}

// convolved is how many channels go through the convolution.
func (d DeltaNet) convolved() int { return 2*d.KeyHeads*d.KeyLen + d.Values }

// Bind implements Mixer.
func (d DeltaNet) Bind(b *Binder) Op {
	length := d.Values / d.ValueHeads
	o := &deltaNetOp{
		DeltaNet:    d,
		qkv:         b.biased("attn_qkv", d.convolved(), b.width),
		gate:        b.biased("attn_gate", d.Values, b.width),
		out:         b.biased("ssm_out", b.width, d.Values),
		convolution: b.convolution("ssm_conv1d", d.Inputs, d.convolved(), true),
		dtBias:      b.needed(b.prefix+"ssm_dt.bias", d.ValueHeads),
		a:           b.needed(b.prefix+"ssm_a", d.ValueHeads),
		norm:        b.norm(d.Norm, length),
	}
	if d.Paired {
		o.beta = b.biased("ssm_ba", 2*d.ValueHeads, b.width)
	} else {
		o.beta, o.alpha = b.biased("ssm_beta", d.ValueHeads, b.width), b.biased("ssm_alpha", d.ValueHeads, b.width)
	}
	o.recurrence = Recurrence{
		Slot: b.slot, First: o.convolution.remembered(), Parts: d.ValueHeads, Size: d.KeyLen * length, Work: kernel.DeltaRuleWork,
	}
	return o
}

// Size implements Mixer.
func (d DeltaNet) Size() Size {
	length := d.Values / d.ValueHeads
	return Size{
		Scratch: d.convolved() + 2*d.Values + 2*d.ValueHeads, Inner: d.convolved() + d.Values,
		Recurrent: max(convolutionRoom(d.Inputs), d.KeyLen*length+kernel.DeltaRuleWork),
	}
}

// State implements Mixer.
func (d DeltaNet) State() State {
	return State{Recurrent: (d.Inputs-1)*d.convolved() + d.KeyLen*d.Values}
}

// Weights implements Op.
func (d *deltaNetOp) Weights() []*Matrix { return append(d.inputs(), &d.out) }

// inputs lists the matrices that its input is multiplied with.
func (d *deltaNetOp) inputs() []*Matrix {
	if d.Paired {
		return []*Matrix{&d.qkv, &d.gate, &d.beta}
	}
	return []*Matrix{&d.qkv, &d.gate, &d.beta, &d.alpha}
}

// Run implements Op.
func (d *deltaNetOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	width, length := d.convolved(), d.Values/d.ValueHeads
	s := e.Scratch(width, d.Values, d.beta.Rows, d.alpha.Rows, d.Values)
	qkv, z, gates, alphas, y := s[0], s[1], s[2], s[3], s[4]
	products := make([]Product, 0, 4)
	for i, w := range d.inputs() {
		products = append(products, Product{s[i], w})
	}
	if err := e.Multiply(ctx, x, products...); err != nil {
		return err
	}
	if err := d.convolution.run(ctx, e, qkv, width, 0); err != nil {
		return err
	}
	keys := d.KeyHeads * d.KeyLen
	perKey := d.ValueHeads / d.KeyHeads
	alphaRows := d.alpha.Rows
	place := func(head int) (beta, alpha int) { return head, head }
	if d.Paired {
		alphas, alphaRows = gates, d.beta.Rows
		place = func(head int) (beta, alpha int) {
			at := head/perKey*2*perKey + head%perKey
			return at, at + perKey
		}
	}
	err := e.Each(ctx, func(row, _ int) {
		for at := 0; at < keys; at += d.KeyLen {
			unit(qkv[row*width+at:][:d.KeyLen], 1/math.Sqrt(float64(d.KeyLen)))
			unit(qkv[row*width+keys+at:][:d.KeyLen], 1)
		}
		for h := range d.ValueHeads {
			b, a := place(h)
			beta, alpha := &gates[row*d.beta.Rows+b], &alphas[row*alphaRows+a]
			*beta = sigmoid(*beta)
			*alpha = float32(math.Exp(float64(d.a[h]) * softplus(float64(*alpha+d.dtBias[h]))))
		}
	})
	if err != nil {
		return err
	}
	err = e.Recur(ctx, d.recurrence, func(head, first, end int, state, work []float32) {
		key := head / perKey
		if d.Tiled {
			key = head % d.KeyHeads
		}
		rows := func(x []float32, width, at int) kernel.Rows {
			return kernel.Rows{Data: x[first*width+at:], Stride: width}
		}
		beta, alpha := place(head)
		kernel.DeltaRule(kernel.DeltaRuleArgs{
			Tokens: end - first, KeyLen: d.KeyLen, ValueLen: length, Query: rows(qkv, width, key*d.KeyLen),
			Key: rows(qkv, width, keys+key*d.KeyLen), Value: rows(qkv, width, 2*keys+head*length),
			Beta: rows(gates, d.beta.Rows, beta), Decay: rows(alphas, alphaRows, alpha),
		}, rows(y, d.Values, head*length), state, work)
	})
	if err != nil {
		return err
	}
	err = e.Each(ctx, func(row, _ int) {
		part, gate := y[row*d.Values:][:d.Values], z[row*d.Values:][:d.Values]
		d.norm.Apply(part, part)
		kernel.SiLUMul(gate, part)
	})
	if err != nil {
		return err
	}
	return e.Add(ctx, out, z, &d.out)
}

// unit makes x so long.
func unit(x []float32, length float64) {
	const epsilon = 1e-6 // of transformers
	factor := float32(length / math.Sqrt(meanSquare(x, 0)*float64(len(x))+epsilon))
	for i := range x {
		x[i] *= factor
	}
}
