package graph

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Activation is what a network does to its gate.
type Activation int

// Activations.
const (
	SiLU     Activation = iota // x / (1 + e⁻ˣ)
	GELUTanh                   // x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))) (arXiv 1606.08415)
)

// Apply sets gate[i] to the activation of gate[i] times up[i]. up is overwritten.
func (a Activation) Apply(gate, up []float32) {
	switch a {
	case SiLU:
		kernel.SiLUMul(gate, up)
	case GELUTanh:
		kernel.GELUMul(gate, up)
	}
}

// Network is a gated feed-forward network (arXiv 2002.05202): down·(act(gate·x) ⊙ up·x). Its
// matrices may have biases.
type Network struct {
	Hidden     int `key:"feed_forward_length"`
	Activation Activation
}

// NetworkOp is a network with its weights.
type NetworkOp struct {
	Activation Activation
	Gate, Up   Matrix // hidden rows of width
	Down       Matrix // width rows of hidden
}

// Bind implements Mixer.
func (n Network) Bind(b *Binder) Op { return b.network("", n) }

// network finds the matrices of a network whose names end in suffix.
func (b *Binder) network(suffix string, n Network) *NetworkOp {
	return &NetworkOp{
		Activation: n.Activation,
		Gate:       b.biased("ffn_gate"+suffix, n.Hidden, b.width),
		Up:         b.biased("ffn_up"+suffix, n.Hidden, b.width),
		Down:       b.biased("ffn_down"+suffix, b.width, n.Hidden),
	}
}

// Size implements Mixer.
func (n Network) Size() Size { return Size{Scratch: 2 * n.Hidden, Inner: n.Hidden} }

// State implements Mixer.
func (n Network) State() State { return State{} }

// Weights implements Op.
func (n *NetworkOp) Weights() []*Matrix { return []*Matrix{&n.Gate, &n.Up, &n.Down} }

// Run implements Op.
func (n *NetworkOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	return e.Networks(ctx, out, x, []Use{{Network: n}})
}
