package graph

import "context"

// Network is a feed-forward network, gated (arXiv 2002.05202): down·(act(gate·x) ⊙ up·x), or
// not: down·act(up·x). Its matrices may have biases.
type Network struct {
	Hidden     int `key:"feed_forward_length"`
	Activation Activation
	XIELU      XIELUNumbers // of that activation
	Ungated    bool
	Fused      bool // ffn_up has the rows of the gate, then those of up
	// Sparse says that of the gates of a token those count that are above their mean by more than Cutoff standard deviations, by what
	// they are above that; the others are 0.
	Sparse bool
	Cutoff float32 `key:"activation_sparsity_scale"`
}

// NetworkOp is a network with its weights.
type NetworkOp struct {
	Gate     Matrix // hidden rows of width, none if there is no gate
	Up       Matrix // hidden rows of width
	Down     Matrix // width rows of hidden
	activate func(gate, up []float32)
}

// Bind implements Mixer.
func (n Network) Bind(b *Binder) Op { return b.network("", n) }

// network finds the matrices of a network whose names end in suffix.
func (b *Binder) network(suffix string, n Network) *NetworkOp {
	o := &NetworkOp{activate: n.Activation.function(n.XIELU)}
	switch up := "ffn_up" + suffix; {
	case n.Fused:
		both := b.biased(up, 2*n.Hidden, b.width)
		o.Gate, o.Up = both.part(0, n.Hidden), both.part(n.Hidden, n.Hidden)
	case n.Ungated:
		o.Up = b.biased(up, n.Hidden, b.width)
	default:
		o.Gate, o.Up = b.biased("ffn_gate"+suffix, n.Hidden, b.width), b.biased(up, n.Hidden, b.width)
	}
	o.Down = b.biased("ffn_down"+suffix, b.width, n.Hidden)
	if n.Sparse {
		o.activate = sparse(o.activate, n.Hidden, n.Cutoff)
	}
	return o
}

// Size implements Mixer.
func (n Network) Size() Size { return Size{Network: 2 * n.Hidden, Inner: n.Hidden} }

// State implements Mixer.
func (n Network) State() State { return State{} }

// Inputs lists the matrices that the network multiplies its input with: gate, if there is
// one, and up.
func (n *NetworkOp) Inputs() []*Matrix {
	if n.Gate.Rows == 0 {
		return []*Matrix{&n.Up}
	}
	return []*Matrix{&n.Gate, &n.Up}
}

// Weights implements Op.
func (n *NetworkOp) Weights() []*Matrix { return append(n.Inputs(), &n.Down) }

// Activate makes what down is multiplied with of products with the Inputs, which it sets the
// first of them to. The second is overwritten.
func (n *NetworkOp) Activate(products ...[]float32) {
	if len(products) > 1 {
		n.activate(products[0], products[1])
		return
	}
	var ones [256]float32
	for x := products[0]; len(x) > 0; x = x[min(len(x), len(ones)):] {
		for i := range ones {
			ones[i] = 1
		}
		n.activate(x[:min(len(x), len(ones))], ones[:])
	}
}

// Run implements Op.
func (n *NetworkOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	return e.Networks(ctx, out, x, []Use{{Network: n}})
}
