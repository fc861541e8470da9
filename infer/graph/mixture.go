package graph

import (
	"context"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Mixture is a mixture of experts: networks of which a router, a softmax over all of them,
// chooses the best few for each token, and perhaps a shared expert for every token. All
// matrices may have biases.
type Mixture struct {
	Experts    int `key:"expert_count"`
	Used       int `key:"expert_used_count"`
	Hidden     int `key:"expert_feed_forward_length"` // width of one
	Activation Activation
	// NormTopKProb says that the weights of the chosen experts are divided by their
	// sum. Otherwise they are the probabilities among all experts.
	NormTopKProb bool    `key:"expert_weights_norm"`
	WeightsScale float64 `key:"expert_weights_scale"` // factor of the experts' weights
	Shared       SharedExpert
}

// SharedExpert is a network for every token beside those that the router chooses.
type SharedExpert struct {
	Hidden int  `key:"expert_shared_feed_forward_length"` // 0: there is none
	Gated  bool // its result is multiplied by the sigmoid of a product with the token
}

// mixtureOp is a Mixture with its weights.
type mixtureOp struct {
	Mixture
	layer      int
	router     Matrix // experts x width
	experts    []*NetworkOp
	shared     *NetworkOp // or nil
	sharedGate Matrix     // 1 x width; without rows if the shared expert has no gate
}

// Bind implements Mixer.
func (m Mixture) Bind(b *Binder) Op {
	o := &mixtureOp{Mixture: m, layer: b.layer, router: b.exact("ffn_gate_inp", m.Experts), experts: b.experts(m)}
	if m.Shared.Hidden > 0 {
		o.shared = b.network("_shexp", Network{Hidden: m.Shared.Hidden, Activation: m.Activation})
	}
	if m.Shared.Gated {
		o.sharedGate = b.exact("ffn_gate_inp_shexp", 1)
	}
	return o
}

// exact finds a matrix that decides about experts: a rounding could choose another one.
func (b *Binder) exact(name string, rows int) Matrix {
	m := b.biased(name, rows, b.width)
	m.Exact = true
	return m
}

// experts finds the networks that three tensors stack.
func (b *Binder) experts(m Mixture) []*NetworkOp {
	gate := b.stack("ffn_gate_exps", m.Experts, m.Hidden, b.width)
	up := b.stack("ffn_up_exps", m.Experts, m.Hidden, b.width)
	down := b.stack("ffn_down_exps", m.Experts, b.width, m.Hidden)
	if gate == nil || up == nil || down == nil {
		return nil
	}
	networks, activate := make([]*NetworkOp, m.Experts), m.Activation.function(XIELUNumbers{})
	for e := range networks {
		networks[e] = &NetworkOp{gate[e], up[e], down[e], activate}
	}
	return networks
}

// Size implements Mixer.
func (m Mixture) Size() Size {
	widest := max(m.Hidden, m.Shared.Hidden)
	return Size{Scratch: max(m.Experts+1, 2*widest), Inner: max(widest, m.Used*m.Hidden)}
}

// State implements Mixer.
func (m Mixture) State() State { return State{} }

// Weights implements Op: all but the router and the gate.
func (m *mixtureOp) Weights() []*Matrix {
	var all []*Matrix
	if m.shared != nil {
		all = m.shared.Weights()
	}
	for _, e := range m.experts {
		all = append(all, e.Weights()...)
	}
	return all
}

// Run implements Op. The results of a token are added in the order of the experts, then
// that of the shared expert.
func (m *mixtureOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	gates := e.Scratch(m.Experts, m.sharedGate.Rows)
	products := []Product{{gates[0], &m.router}}
	if m.sharedGate.Rows > 0 {
		products = append(products, Product{gates[1], &m.sharedGate})
	}
	if err := e.Multiply(ctx, x, products...); err != nil {
		return err
	}
	chosen, err := m.route(ctx, e, gates[0])
	if err != nil {
		return err
	}
	uses := m.uses(chosen)
	if m.shared != nil {
		use := Use{Network: m.shared}
		for _, x := range gates[1] {
			use.Weights = append(use.Weights, float32(1/(1+math.Exp(-float64(x))))) // the sigmoid
		}
		uses = append(uses, use)
	}
	return e.Networks(ctx, out, x, uses)
}

// choice is one expert that the router gives a token to.
type choice struct {
	expert int
	weight float32
}

// route returns the experts that each token is given to, the best first. The logits are
// overwritten.
func (m *mixtureOp) route(ctx context.Context, e Engine, logits []float32) ([]choice, error) {
	routing := Routing{Layer: m.layer, Tokens: e.Tokens(), Experts: m.Experts}
	router := e.Router()
	if router != nil {
		routing.Logits = slices.Clone(logits)
	}
	choices := make([]choice, e.Tokens()*m.Used)
	err := e.Each(ctx, func(row, _ int) { m.choose(choices[row*m.Used:][:m.Used], logits[row*m.Experts:][:m.Experts]) })
	if err == nil && router != nil {
		for _, c := range choices {
			routing.Chosen = append(routing.Chosen, int32(c.expert))
		}
		router(routing)
	}
	return choices, err
}

// choose picks the len(best) experts of highest probability, of equals the one
// with the lower index. Their weights are their probabilities, divided by the sum
// of these or not, times the factor. The logits are overwritten.
func (m *mixtureOp) choose(best []choice, logits []float32) {
	const taken = -1
	total := kernel.ExpSum(logits, 1) // probabilities but for this factor
	var chosen float32
	for i := range best {
		best[i].expert = -1
		for e, v := range logits {
			if v != taken && (best[i].expert < 0 || v > best[i].weight) {
				best[i] = choice{e, v}
			}
		}
		logits[best[i].expert] = taken
		chosen += best[i].weight
	}
	if m.NormTopKProb {
		total = chosen
	}
	for i := range best {
		best[i].weight = best[i].weight / total * float32(m.WeightsScale)
	}
}

// uses returns the experts that are used, in their order, each with its tokens.
func (m *mixtureOp) uses(choices []choice) []Use {
	end := make([]int, m.Experts+1) // of the tokens of the expert before
	for _, c := range choices {
		end[c.expert+1]++
	}
	for e := range m.Experts {
		end[e+1] += end[e]
	}
	rows, weights := make([]int, len(choices)), make([]float32, len(choices))
	for i, c := range choices {
		at := end[c.expert]
		rows[at], weights[at] = i/m.Used, c.weight
		end[c.expert]++
	}
	var uses []Use
	first := 0
	for e := range m.experts {
		if n := end[e]; n > first {
			uses = append(uses, Use{m.experts[e], rows[first:n], weights[first:n]})
			first = n
		}
	}
	return uses
}
