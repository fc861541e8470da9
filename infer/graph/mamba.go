package graph

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Mamba is a selective state space (arXiv 2312.00752). With x and z of its input, where x went through a convolution, and
// B, C and Δ of that x, each channel remembers h ← e^(ΔA)·h + Δ·B·x of the tokens, and its result C·h + D·x is multiplied with SiLU(z).
type Mamba struct {
	Inner                int  `key:"ssm.inner_size"`     // channels
	States               int  `key:"ssm.state_size"`     // elements of B, of C, and of what each channel remembers
	Rank                 int  `key:"ssm.time_step_rank"` // elements of what Δ is made of
	Inputs               int  `key:"ssm.conv_kernel"`    // of each sum of the convolution
	StepNorm             Norm // of what Δ is made of
	InputNorm, StateNorm Norm // of B and of C
}

// mambaOp is a Mamba with its weights.
type mambaOp struct {
	Mamba
	in, x, dt, out                 Matrix
	convolution                    *convolution
	recurrence                     Recurrence
	a                              []float32 // in kernel.Panels
	d                              []float32 // of each channel
	stepNorm, inputNorm, stateNorm *NormOp
}

// mambaChannels is how many channels one task takes at most.
const mambaChannels = 64

// Bind implements Mixer.
func (m Mamba) Bind(b *Binder) Op {
	part := divisor(m.Inner, mambaChannels)
	o := &mambaOp{
		Mamba:       m,
		in:          b.biased("ssm_in", 2*m.Inner, b.width),
		x:           b.biased("ssm_x", m.Rank+2*m.States, m.Inner),
		dt:          b.biased("ssm_dt", m.Inner, m.Rank),
		out:         b.biased("ssm_out", b.width, m.Inner),
		convolution: b.convolution("ssm_conv1d", m.Inputs, m.Inner, true),
		d:           b.needed(b.prefix+"ssm_d", m.Inner),
		stepNorm:    b.norm(m.StepNorm, m.Rank),
		inputNorm:   b.norm(m.InputNorm, m.States),
		stateNorm:   b.norm(m.StateNorm, m.States),
	}
	o.recurrence = Recurrence{Slot: b.slot, First: o.convolution.remembered(), Parts: m.Inner / part, Size: part * m.States}
	a := b.needed(b.prefix+"ssm_a", m.States, m.Inner)
	for first := 0; first < len(a); first += part * m.States {
		o.a = append(o.a, kernel.Panels(transposed(a[first:][:part*m.States], m.States), m.States, part)...)
	}
	return o
}

// Size implements Mixer.
func (m Mamba) Size() Size {
	return Size{
		Scratch: 4*m.Inner + 2*m.Rank + 2*m.States, Inner: 2 * m.Inner,
		Recurrent: max(convolutionRoom(m.Inputs), mambaChannels*m.States),
	}
}

// State implements Mixer.
func (m Mamba) State() State { return State{Recurrent: (m.Inputs-1)*m.Inner + m.States*m.Inner} }

// Weights implements Op.
func (m *mambaOp) Weights() []*Matrix { return []*Matrix{&m.in, &m.x, &m.dt, &m.out} }

// Run implements Op.
func (m *mambaOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	width, selected, part := 2*m.Inner, m.Rank+2*m.States, m.Inner/m.recurrence.Parts
	s := e.Scratch(width, m.Inner, selected, m.Rank, m.Inner)
	projected, y, selection, low, steps := s[0], s[1], s[2], s[3], s[4]
	if err := e.Multiply(ctx, x, Product{projected, &m.in}); err != nil {
		return err
	}
	if err := m.convolution.run(ctx, e, projected, width, 0); err != nil {
		return err
	}
	err := e.Each(ctx, func(row, _ int) { copy(y[row*m.Inner:][:m.Inner], projected[row*width:]) })
	if err != nil {
		return err
	}
	if err := e.Multiply(ctx, y, Product{selection, &m.x}); err != nil {
		return err
	}
	err = e.Each(ctx, func(row, _ int) {
		all, step := selection[row*selected:][:selected], low[row*m.Rank:][:m.Rank]
		copy(step, all)
		m.stepNorm.rowOf(step)
		m.inputNorm.rowOf(all[m.Rank:][:m.States])
		m.stateNorm.rowOf(all[m.Rank+m.States:])
	})
	if err != nil {
		return err
	}
	if err := e.Multiply(ctx, low, Product{steps, &m.dt}); err != nil {
		return err
	}
	err = e.Each(ctx, func(row, _ int) { kernel.Softplus(steps[row*m.Inner:][:m.Inner]) })
	if err != nil {
		return err
	}
	err = e.Recur(ctx, m.recurrence, func(number, first, end int, state, _ []float32) {
		rows := func(x []float32, width, at int) kernel.Rows {
			return kernel.Rows{Data: x[first*width+at:], Stride: width}
		}
		kernel.Mamba(kernel.MambaArgs{
			Tokens: end - first, States: m.States, Channels: part, A: m.a[number*part*m.States:], D: m.d[number*part:],
			B: rows(selection, selected, m.Rank), C: rows(selection, selected, m.Rank+m.States), Step: rows(steps, m.Inner, number*part),
		}, rows(y, m.Inner, number*part), state)
	})
	if err != nil {
		return err
	}
	err = e.Each(ctx, func(row, _ int) {
		z, part := projected[row*width+m.Inner:][:m.Inner], y[row*m.Inner:][:m.Inner]
		kernel.SiLUMul(z, part)
		copy(part, z)
	})
	if err != nil {
		return err
	}
	return e.Add(ctx, out, y, &m.out)
}
