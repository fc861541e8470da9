package graph

import (
	"context"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Mamba2 is a selective state space whose heads each have one decay (arXiv 2405.21060). With z, x, B, C and Δ of its
// input, where x, B and C went through a convolution and Δ through a softplus, a head remembers H ← e^(ΔA)·H + Δ·B⊗x of
// the tokens, and its result C·H + D·x is multiplied with SiLU(z) and normalised.
type Mamba2 struct {
	Inner  int  `key:"ssm.inner_size"`     // elements of x and z, those of all heads
	States int  `key:"ssm.state_size"`     // elements of B and C
	Heads  int  `key:"ssm.time_step_rank"` // of as many elements of x each
	Groups int  `key:"ssm.group_count"`    // of heads that have B and C in common
	Inputs int  `key:"ssm.conv_kernel"`    // of each sum of the convolution
	Norm   Norm // of each group, or none
}

// mamba2Op is a Mamba2 with its weights.
type mamba2Op struct {
	Mamba2
	in, out      Matrix
	convolution  *convolution
	recurrence   Recurrence
	dtBias, a, d []float32 // of each head
	norm         *NormOp
}

// convolved is how many channels go through the convolution.
func (m Mamba2) convolved() int { return m.Inner + 2*m.Groups*m.States }

// projected is how many elements the input becomes.
func (m Mamba2) projected() int { return m.Inner + m.convolved() + m.Heads }

// Bind implements Mixer.
func (m Mamba2) Bind(b *Binder) Op {
	o := &mamba2Op{
		Mamba2:      m,
		in:          b.biased("ssm_in", m.projected(), b.width),
		out:         b.biased("ssm_out", b.width, m.Inner),
		convolution: b.convolution("ssm_conv1d", m.Inputs, m.convolved(), true),
		dtBias:      b.needed(b.prefix+"ssm_dt.bias", m.Heads),
		a:           b.needed(b.prefix+"ssm_a", 1, m.Heads),
		d:           b.needed(b.prefix+"ssm_d", 1, m.Heads),
		norm:        b.norm(m.Norm, m.Inner/m.Groups, m.Groups),
	}
	o.recurrence = Recurrence{Slot: b.slot, First: o.convolution.remembered(), Parts: m.Heads, Size: m.States * (m.Inner / m.Heads)}
	return o
}

// Size implements Mixer.
func (m Mamba2) Size() Size {
	return Size{
		Scratch: m.projected() + m.Inner + m.Heads, Inner: m.projected(),
		Recurrent: max(convolutionRoom(m.Inputs), m.States*(m.Inner/m.Heads)),
	}
}

// State implements Mixer.
func (m Mamba2) State() State {
	return State{Recurrent: (m.Inputs-1)*m.convolved() + m.States*m.Inner}
}

// Weights implements Op.
func (m *mamba2Op) Weights() []*Matrix { return []*Matrix{&m.in, &m.out} }

// Run implements Op.
func (m *mamba2Op) Run(ctx context.Context, e Engine, out, x []float32) error {
	width, length := m.projected(), m.Inner/m.Heads
	s := e.Scratch(width, m.Inner, m.Heads)
	projected, y, decays := s[0], s[1], s[2]
	if err := e.Multiply(ctx, x, Product{projected, &m.in}); err != nil {
		return err
	}
	if err := m.convolution.run(ctx, e, projected, width, m.Inner); err != nil {
		return err
	}
	dt := width - m.Heads // where Δ begins
	err := e.Each(ctx, func(row, _ int) {
		steps, decay := projected[row*width+dt:][:m.Heads], decays[row*m.Heads:][:m.Heads]
		for h := range steps {
			step := softplus(float64(steps[h] + m.dtBias[h]))
			steps[h], decay[h] = float32(step), float32(math.Exp(step*float64(m.a[h])))
		}
	})
	if err != nil {
		return err
	}
	b := 2 * m.Inner
	c := b + m.Groups*m.States
	err = e.Recur(ctx, m.recurrence, func(head, first, end int, state, _ []float32) {
		group := head / (m.Heads / m.Groups) * m.States
		in := func(at int) kernel.Rows { return kernel.Rows{Data: projected[first*width+at:], Stride: width} }
		kernel.Mamba2(kernel.Mamba2Args{
			Tokens: end - first, States: m.States, Length: length, D: m.d[head],
			X: in(m.Inner + head*length), B: in(b + group), C: in(c + group), Step: in(dt + head),
			Decay: kernel.Rows{Data: decays[first*m.Heads+head:], Stride: m.Heads},
		}, kernel.Rows{Data: y[first*m.Inner+head*length:], Stride: m.Inner}, state)
	})
	if err != nil {
		return err
	}
	err = e.Each(ctx, func(row, _ int) {
		z, part := projected[row*width:][:m.Inner], y[row*m.Inner:][:m.Inner]
		kernel.SiLUMul(z, part)
		if m.norm == nil {
			copy(part, z)
			return
		}
		m.norm.Apply(part, z)
	})
	if err != nil {
		return err
	}
	return e.Add(ctx, out, y, &m.out)
}

// softplus returns ln(1 + eˣ).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
