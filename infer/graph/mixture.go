package graph

import (
	"context"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Mixture is a mixture of experts: networks of which a router chooses the best few for each
// token, and perhaps a shared expert for every token. All matrices may have biases.
type Mixture struct {
	Experts    int `key:"expert_count"`
	Used       int `key:"expert_used_count"`
	Hidden     int `key:"expert_feed_forward_length"` // width of one
	Activation Activation
	Ungated    bool   // the networks have no gates
	Fused      bool   // ffn_gate_up_exps has for each expert the rows of the gate, then those of up
	Gating     Gating `key:"expert_gating_func"`
	// Biased says that exp_probs_b is added to the scores by which experts are chosen, but not to
	// their weights.
	Biased bool
	Groups ExpertGroups
	// NormTopKProb says that the weights of the chosen experts are divided by their
	// sum. Otherwise they are the scores.
	NormTopKProb bool    `key:"expert_weights_norm"`
	WeightsScale float64 `key:"expert_weights_scale"` // factor of the experts' weights
	// WeighFirst says that the weights are factors of what the experts see, not of what they make of it.
	WeighFirst bool
	// Scaled says that ffn_down_exps.scale has a factor of what each expert makes.
	Scaled bool
	// Router is the norm of what the router sees, before that is multiplied by ffn_gate_inp.scale / √width, and Norm that of
	// what the networks see, if there is no norm before the mixture (Gemma 4).
	Router, Norm Norm
	Shared       SharedExpert
}

// Gating is what a router makes scores of its logits with.
type Gating int

// Kinds of gating. A softmax over the chosen experts only is one over all with NormTopKProb.
const (
	SoftmaxGating Gating = iota
	SigmoidGating
)

// ExpertGroups are groups of as many experts, of which only the best are chosen from (arXiv 2412.19437). The zero
// value is none.
type ExpertGroups struct {
	Count int `key:"expert_group_count"`
	Used  int `key:"expert_group_used_count"`
	Tops  int // so many scores of its experts, the best, are summed up to that of a group
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
	routerNorm *NormOp
	norm       *NormOp
	bias       []float32 // of each expert, or nil
	scale      []float32 // of each expert, or nil
	experts    []*NetworkOp
	shared     *NetworkOp // or nil
	sharedGate Matrix     // 1 x width; without rows if the shared expert has no gate
}

// Bind implements Mixer.
func (m Mixture) Bind(b *Binder) Op {
	o := &mixtureOp{Mixture: m, layer: b.layer, router: b.exact("ffn_gate_inp", m.Experts), experts: b.experts(m)}
	if m.Biased {
		o.bias = b.needed(b.prefix+"exp_probs_b.bias", m.Experts)
	}
	if m.Scaled {
		o.scale = b.needed(b.prefix+"ffn_down_exps.scale", m.Experts)
	}
	if o.norm, o.routerNorm = b.norm(m.Norm, b.width), b.norm(m.Router, b.width); o.routerNorm != nil {
		o.routerNorm.weight = b.needed(b.prefix+"ffn_gate_inp.scale", b.width)
		for i := range o.routerNorm.weight {
			o.routerNorm.weight[i] /= float32(math.Sqrt(float64(b.width)))
		}
	}
	if m.Shared.Hidden > 0 {
		o.shared = b.network("_shexp", Network{Hidden: m.Shared.Hidden, Activation: m.Activation, Ungated: m.Ungated})
	}
	if m.Shared.Gated {
		o.sharedGate = b.exact("ffn_gate_inp_shexp", 1)
	}
	return o
}

// exact finds a matrix of few rows on which much depends: a rounding could choose another expert.
func (b *Binder) exact(name string, rows int) Matrix {
	m := b.biased(name, rows, b.width)
	m.Exact = true
	return m
}

// experts finds the networks that two or three tensors stack.
func (b *Binder) experts(m Mixture) []*NetworkOp {
	var gate, up []Matrix
	if m.Fused {
		for _, both := range b.stack("ffn_gate_up_exps", m.Experts, 2*m.Hidden, b.width) {
			gate, up = append(gate, both.part(0, m.Hidden)), append(up, both.part(m.Hidden, m.Hidden))
		}
	} else {
		up = b.stack("ffn_up_exps", m.Experts, m.Hidden, b.width)
		if gate = make([]Matrix, m.Experts); !m.Ungated {
			gate = b.stack("ffn_gate_exps", m.Experts, m.Hidden, b.width)
		}
	}
	down := b.stack("ffn_down_exps", m.Experts, b.width, m.Hidden)
	if gate == nil || up == nil || down == nil {
		return nil
	}
	networks, activate := make([]*NetworkOp, m.Experts), m.Activation.function(XIELUNumbers{})
	for e := range networks {
		networks[e] = &NetworkOp{gate[e], up[e], down[e], activate}
		for _, w := range networks[e].Weights() {
			w.Share = float64(m.Used) / float64(m.Experts)
		}
	}
	return networks
}

// Size implements Mixer.
func (m Mixture) Size() Size {
	widest := max(m.Hidden, m.Shared.Hidden)
	return Size{Whole: m.Experts + 1, Network: 2 * widest, Inner: max(widest, m.Used*m.Hidden)}
}

// State implements Mixer.
func (m Mixture) State() State { return State{} }

// Weights implements Op: all but the router and the gate.
func (m *mixtureOp) Weights() []*Matrix {
	var all []*Matrix
	for _, n := range m.networks() {
		all = append(all, n.Weights()...)
	}
	return all
}

// networks lists the shared expert, if there is one, and the others.
func (m *mixtureOp) networks() []*NetworkOp {
	if m.shared == nil {
		return m.experts
	}
	return append([]*NetworkOp{m.shared}, m.experts...)
}

// Run implements Op. The results of a token are added in the order of the experts, then
// that of the shared expert.
func (m *mixtureOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	gates := e.Scratch(m.Experts, m.sharedGate.Rows)
	products := []Product{{gates[0], &m.router}}
	if m.sharedGate.Rows > 0 {
		products = append(products, Product{gates[1], &m.sharedGate})
	}
	seen, err := m.routerNorm.seen(ctx, e, x)
	if err != nil {
		return err
	}
	if err := e.Multiply(ctx, seen, products...); err != nil {
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
			use.Weights = append(use.Weights, sigmoid(x))
		}
		uses = append(uses, use)
	}
	if seen, err = m.norm.seen(ctx, e, x); err != nil {
		return err
	}
	return e.Networks(ctx, out, seen, uses)
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

// choose picks the len(best) experts of the highest scores, of equals the one with the lower index. Their
// weights are their scores without bias, divided by the sum of these or not, times the factors. The logits
// are overwritten.
func (m *mixtureOp) choose(best []choice, logits []float32) {
	total := float32(1) // scores but for this divisor
	if m.Gating == SigmoidGating {
		for e, x := range logits {
			logits[e] = sigmoid(x)
		}
	} else {
		total = kernel.ExpSum(logits, 1)
	}
	scores, ranks := logits, logits
	if m.bias != nil || m.Groups.Count > 1 {
		ranks = make([]float32, len(logits))
		for e, score := range scores {
			if ranks[e] = score / total; m.bias != nil {
				ranks[e] += m.bias[e]
			}
		}
		m.Groups.leave(ranks)
	}
	var chosen float32
	for i := range best {
		expert := 0
		for e, rank := range ranks {
			if rank > ranks[expert] {
				expert = e
			}
		}
		best[i] = choice{expert, scores[expert]}
		ranks[expert] = negInf
		chosen += best[i].weight
	}
	if m.NormTopKProb {
		total = chosen
	}
	for i := range best {
		best[i].weight = best[i].weight / total * float32(m.WeightsScale)
		if m.scale != nil {
			best[i].weight *= m.scale[best[i].expert]
		}
	}
}

var negInf = float32(math.Inf(-1))

// leave takes the experts of all groups but the best out of the choice, of equal groups the last.
func (g ExpertGroups) leave(ranks []float32) {
	if g.Count <= 1 {
		return
	}
	size := len(ranks) / g.Count
	sums := make([]float32, g.Count)
	for i := range sums {
		group := slices.Clone(ranks[i*size:][:size])
		slices.Sort(group)
		for _, top := range group[max(0, size-g.Tops):] {
			sums[i] += top
		}
	}
	for range g.Count - g.Used {
		worst := 0
		for i, sum := range sums {
			if sum <= sums[worst] || math.IsInf(float64(sums[worst]), 1) {
				worst = i
			}
		}
		sums[worst] = float32(math.Inf(1))
		for e := range size {
			ranks[worst*size+e] = negInf
		}
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

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
			uses = append(uses, Use{Network: m.experts[e], Rows: rows[first:n], Weights: weights[first:n], WeighFirst: m.WeighFirst})
			first = n
		}
	}
	return uses
}
