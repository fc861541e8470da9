package infer_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"slices"
	"sort"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// naive computes a graph in float64 and by the plainest loops, token by token: what Forward
// and Session are compared with.
type naive struct {
	*source
	graph.Spec
	keys, values map[string][][]float64 // by layer's prefix: of each position so far
	indexed      map[string][][]float64 // keys of indexers
	chosen       map[string][]int       // by them
	token        int
	inputs       inputs
}

// inputs are what matrices were multiplied with, by tensor and number of the matrix.
type inputs map[matrixOf]*input

type matrixOf struct {
	tensor string
	matrix int
}

type input struct {
	rows    int
	squares []float64 // sum of each column
}

// of returns the input of a matrix of so many columns.
func (in inputs) of(tensor string, matrix, cols int) *input {
	key := matrixOf{tensor, matrix}
	if in[key] == nil {
		in[key] = &input{squares: make([]float64, cols)}
	}
	return in[key]
}

func (in inputs) see(tensor string, matrix int, x []float64) {
	i := in.of(tensor, matrix, len(x))
	i.rows++
	for c, v := range x {
		i.squares[c] += v * v
	}
}

// logitsOf returns those at every position of a chunk, and adds what it multiplies to inputs.
func logitsOf(g graph.Spec, src *source, tokens []int32, in inputs) [][]float64 {
	n := naive{source: src, Spec: g, keys: make(map[string][][]float64), values: make(map[string][][]float64), inputs: in}
	n.indexed, n.chosen = make(map[string][][]float64), make(map[string][]int)
	var logits [][]float64
	for pos, id := range tokens {
		n.token = int(id)
		x := n.row("token_embd.weight", n.token)
		if g.EmbeddingScale != 0 {
			for i := range x {
				x[i] *= float64(g.EmbeddingScale)
			}
		}
		if g.Positions > 0 {
			add(x, n.row("position_embd.weight", pos), 1)
		}
		if g.TokenTypes > 0 {
			add(x, n.row("token_types.weight", 0), 1)
		}
		x = n.norm("", g.EmbeddingNorm, 0, x)
		streams := n.streams(x)
		for i, layer := range g.Layers {
			n.layer(fmt.Sprintf("blk.%d.", i), layer, pos, streams)
		}
		output := "output"
		if n.get("output.weight") == nil {
			output = "token_embd"
		}
		y := n.multiply(output, 0, g.Vocabulary, n.norm("", g.OutputNorm, 0, n.joined(streams)))
		for i := range y {
			if g.LogitScale != 0 {
				y[i] *= float64(g.LogitScale)
			}
			y[i] = capped(y[i], g.LogitCap)
		}
		logits = append(logits, y)
	}
	return logits
}

// row returns a row of a matrix as wide as the stream.
func (n naive) row(name string, row int) []float64 {
	x := make([]float64, n.Width)
	for i, v := range n.get(name)[row*n.Width:][:n.Width] {
		x[i] = float64(v)
	}
	return x
}

// layer takes the residual stream, or several, through a layer. p is the prefix of its tensors' names.
func (n naive) layer(p string, layer graph.Layer, pos int, streams [][]float64) {
	if len(streams) > 1 {
		n.altUp(p, layer, pos, streams)
		return
	}
	for _, s := range layer {
		n.sublayer(p, s, pos, streams[0])
	}
}

// sublayer adds a sub-layer to x.
func (n naive) sublayer(p string, s graph.Sublayer, pos int, x []float64) {
	h, sum := n.norm(p, s.Norm, 0, x), make([]float64, len(x))
	for _, m := range s.Mixers {
		n.mix(p, m, pos, h, sum)
	}
	scale := 1.0
	if s.Scale != 0 {
		scale = float64(s.Scale)
	}
	add(x, n.norm(p, s.PostNorm, 0, sum), scale)
	copy(x, n.norm(p, s.EndNorm, 0, x))
	for i := range x {
		if s.EndFactor != 0 {
			x[i] *= float64(s.EndFactor)
		}
	}
	if s.EndScale != "" {
		for i := range x {
			x[i] *= float64(n.get(p + s.EndScale + ".weight")[0])
		}
	}
}

// mix adds what a mixer makes of h to sum.
func (n naive) mix(p string, m graph.Mixer, pos int, h, sum []float64) {
	switch m := m.(type) {
	case graph.Normed:
		made := make([]float64, len(h))
		n.mix(p, m.Mixer, pos, n.norm(p, m.Norm, 0, h), made)
		add(sum, n.norm(p, m.PostNorm, 0, made), 1)
	case graph.Attention:
		add(sum, n.attention(p, m, pos, h), 1)
	case graph.ShortConv:
		add(sum, n.shortConv(p, m, h), 1)
	case graph.Mamba:
		add(sum, n.mamba(p, m, h), 1)
	case graph.Mamba2:
		add(sum, n.mamba2(p, m, h), 1)
	case graph.DeltaNet:
		add(sum, n.deltaNet(p, m, h), 1)
	case graph.MLA:
		add(sum, n.mla(p, m, pos, h), 1)
	case graph.Laurel:
		add(sum, n.laurel(p, m, h), 1)
	case graph.PerLayer:
		add(sum, n.perLayer(p, m, h), 1)
	case graph.Network:
		add(sum, n.network(p, "", 0, m, h), 1)
	case graph.Mixture:
		n.mixture(p, m, h, sum)
	}
}

func (n naive) attention(p string, a graph.Attention, pos int, h []float64) []float64 {
	var q, k, v, gates []float64
	queries, keys, values := a.Heads*a.KeyLen, a.KVHeads*a.KeyLen, a.KVHeads*a.ValueLen
	switch {
	case a.Shared > 0:
		q = n.multiply(p+"attn_q", 0, queries, h)
	case a.KeyValues:
		q, k = n.multiply(p+"attn_q", 0, queries, h), n.multiply(p+"attn_k", 0, keys, h)
		v = append(v, k...)
	case a.Fused:
		all := n.multiply(p+"attn_qkv", 0, queries+keys+values, h)
		q, k, v = all[:queries], all[queries:][:keys], all[queries+keys:]
	case a.Gated:
		var both []float64
		both, k, v = n.multiply(p+"attn_q", 0, 2*queries, h), n.multiply(p+"attn_k", 0, keys, h), n.multiply(p+"attn_v", 0, values, h)
		for at := 0; at < len(both); at += 2 * a.KeyLen {
			q, gates = append(q, both[at:][:a.KeyLen]...), append(gates, both[at+a.KeyLen:][:a.KeyLen]...)
		}
	default:
		q, k, v = n.multiply(p+"attn_q", 0, queries, h), n.multiply(p+"attn_k", 0, keys, h), n.multiply(p+"attn_v", 0, values, h)
	}
	if c := float64(a.Clamp); c != 0 {
		for _, x := range [][]float64{q, k, v} {
			for i := range x {
				x[i] = math.Max(-c, math.Min(c, x[i]))
			}
		}
	}
	q, k = n.placed(p, a, a.QNorm, pos, q), n.placed(p, a, a.KNorm, pos, k)
	for at := 0; at < len(v); at += a.ValueLen {
		copy(v[at:], n.norm(p, a.VNorm, 0, v[at:][:a.ValueLen]))
	}
	if t := a.Temperature; t.Length > 0 {
		for i := range q {
			q[i] *= 1 + t.Scale*math.Log(1+math.Floor(float64(pos+t.Offset)/float64(t.Length)))
		}
	}
	if a.GateApart {
		gates = n.multiply(p+"attn_gate", 0, a.Heads*a.ValueLen, h)
	}
	source := n.before(p, a.Shared)
	if a.Shared == 0 {
		n.keys[p], n.values[p] = append(n.keys[p], k), append(n.values[p], v)
	}
	out := make([]float64, a.Heads*a.ValueLen)
	for head := range a.Heads {
		kv := head * a.KVHeads / a.Heads
		scores := make([]float64, pos+1)
		for t := range scores {
			for i := range a.KeyLen {
				scores[t] += q[head*a.KeyLen+i] * n.keys[source][t][kv*a.KeyLen+i] * float64(a.Scale)
			}
			scores[t] = capped(scores[t], a.Cap)
			if a.MaxBias > 0 {
				scores[t] -= slopes[head] * float64(pos-t)
			}
			if a.Window > 0 && (t <= pos-a.Window && !a.Chunked || a.Chunked && t/a.Window < pos/a.Window) {
				scores[t] = math.Inf(-1)
			}
		}
		if a.Sinks {
			scores = append(scores, float64(n.get(p + "attn_sinks.weight")[head]))
		}
		for t, weight := range softmax(scores)[:pos+1] {
			add(out[head*a.ValueLen:][:a.ValueLen], n.values[source][t][kv*a.ValueLen:], weight)
		}
	}
	for i, gate := range gates {
		out[i] /= 1 + math.Exp(-gate)
	}
	return n.multiply(p+"attn_output", 0, n.Width, out)
}

// mla makes the keys and values of all heads, of all tokens.
func (n naive) mla(p string, m graph.MLA, pos int, h []float64) []float64 {
	q, plain := h, m.KeyLen-m.Rope.Dims
	chosen := n.before(p, m.Indexer.Shared) // by the indexer of that layer
	if m.QueryRank > 0 {
		compressed := n.norm(p, m.QNorm, 0, n.multiply(p+"attn_q_a", 0, m.QueryRank, h))
		q = n.multiply(p+"attn_q_b", 0, m.Heads*m.KeyLen, compressed)
		if m.Indexer.TopK > 0 && m.Indexer.Shared == 0 {
			n.chosen[p] = n.index(p, m.Indexer, pos, h, compressed)
		}
	} else {
		q = n.multiply(p+"attn_q", 0, m.Heads*m.KeyLen, h)
	}
	down := n.multiply(p+"attn_kv_a_mqa", 0, m.Rank+m.Rope.Dims, h)
	latent := n.norm(p, m.KVNorm, 0, down[:m.Rank])
	rotated := n.rotated(m.Rope, pos, down[m.Rank:])
	var keys, values, both []float64
	if !m.Absorbed {
		both = n.multiply(p+"attn_kv_b", 0, m.Heads*(plain+m.ValueLen), latent)
	}
	for head := range m.Heads {
		if !m.Absorbed {
			both := both[head*(plain+m.ValueLen):][:plain+m.ValueLen]
			keys, values = append(append(keys, both[:plain]...), rotated...), append(values, both[plain:]...)
			continue
		}
		for i := range plain {
			sum := 0.0
			for j, x := range latent {
				sum += x * float64(n.get(p + "attn_k_b.weight")[(head*m.Rank+j)*plain+i])
			}
			keys = append(keys, sum)
		}
		keys, values = append(keys, rotated...), append(values, n.times(p+"attn_v_b", head, m.ValueLen, latent)...)
	}
	n.keys[p], n.values[p] = append(n.keys[p], keys), append(n.values[p], values)
	n.values[p+"latent"] = append(n.values[p+"latent"], latent)
	out := make([]float64, m.Heads*m.ValueLen)
	for head := range m.Heads {
		query, mean := q[head*m.KeyLen:][:m.KeyLen], make([]float64, m.Rank)
		if m.Absorbed {
			n.inputs.see(p+"attn_k_b.weight", head, query[:plain])
		}
		query = append(query[:plain:plain], n.rotated(m.Rope, pos, query[plain:])...)
		scores := make([]float64, pos+1)
		for t := range scores {
			for i, x := range query {
				scores[t] += x * n.keys[p][t][head*m.KeyLen+i] * float64(m.Scale)
			}
			if m.Temperature.Length > 0 {
				scores[t] *= 1 + m.Temperature.Scale*math.Log(1+math.Floor(float64(pos)/float64(m.Temperature.Length)))
			}
			if m.Indexer.TopK > 0 && !slices.Contains(n.chosen[chosen], t) {
				scores[t] = math.Inf(-1)
			}
		}
		for t, weight := range softmax(scores) {
			add(out[head*m.ValueLen:][:m.ValueLen], n.values[p][t][head*m.ValueLen:], weight)
			add(mean, n.values[p+"latent"][t], weight)
		}
		if m.Absorbed {
			n.inputs.see(p+"attn_v_b.weight", head, mean)
		}
	}
	return n.multiply(p+"attn_output", 0, n.Width, out)
}

// index returns which positions an indexer chooses.
func (n naive) index(p string, x graph.Indexer, pos int, h, compressed []float64) []int {
	queries, weights := n.multiply(p+"indexer.attn_q_b", 0, x.Heads*x.KeyLen, compressed), n.multiply(p+"indexer.proj", 0, x.Heads, h)
	key := n.norm(p, x.Norm, 0, n.multiply(p+"indexer.attn_k", 0, x.KeyLen, h))
	n.indexed[p] = append(n.indexed[p], n.rotated(x.Rope, pos, key))
	scores := make([]float64, pos+1)
	for head, weight := range weights {
		query := n.rotated(x.Rope, pos, queries[head*x.KeyLen:][:x.KeyLen])
		for t, key := range n.indexed[p] {
			product := 0.0
			for i, v := range key {
				product += query[i] * v
			}
			scores[t] += weight * math.Max(product, 0)
		}
	}
	order := descending(scores)
	return order[:min(x.TopK, len(order))]
}

// before returns the prefix of so many layers before.
func (n naive) before(p string, layers int) string {
	var layer int
	if _, err := fmt.Sscanf(p, "blk.%d.", &layer); err != nil {
		panic(err)
	}
	return fmt.Sprintf("blk.%d.", layer-layers)
}

// perLayer is what a layer adds for the token.
func (n naive) perLayer(p string, m graph.PerLayer, h []float64) []float64 {
	var layer int
	if _, err := fmt.Sscanf(p, "blk.%d.", &layer); err != nil {
		panic(err)
	}
	x := n.row("token_embd.weight", n.token)
	for i := range x {
		x[i] *= float64(n.EmbeddingScale)
	}
	if layer == 0 {
		n.inputs.see("per_layer_model_proj.weight", 0, x)
	}
	input := n.times("per_layer_model_proj", layer, m.Width, x)
	for i := range input {
		input[i] /= math.Sqrt(float64(n.Width))
	}
	input = n.norm("", m.Norm, 0, input)
	second := n.get("per_layer_token_embd.weight")[(n.token*len(n.Layers)+layer)*m.Width:]
	gate := n.multiply(p+"inp_gate", 0, m.Width, h)
	for i := range gate {
		gate[i] = activated(graph.Network{Activation: graph.GELUTanh}, gate[i]) * (input[i] + float64(second[i])*math.Sqrt(float64(m.Width))) / math.Sqrt2
	}
	return n.multiply(p+"proj", 0, n.Width, gate)
}

// slopes are those of ALiBi for three heads and a bias of 6: for two heads they are powers of 2⁻³, and the
// third has the first of those for four heads.
var slopes = []float64{1. / 8, 1. / 64, math.Sqrt(1. / 8)}

// placed returns queries or keys normalised and rotated.
func (n naive) placed(p string, a graph.Attention, norm graph.Norm, pos int, x []float64) []float64 {
	heads := func(x []float64, of func(head []float64, at int) []float64) []float64 {
		var y []float64
		for at := 0; at < len(x); at += a.KeyLen {
			y = append(y, of(x[at:][:a.KeyLen], at)...)
		}
		return y
	}
	rotate := func(x []float64) []float64 {
		return heads(x, func(head []float64, _ int) []float64 { return n.rotated(a.Rope, pos, head) })
	}
	normalise := func(x []float64) []float64 {
		switch a.NormSpan {
		case graph.AllHeads:
			return n.norm(p, norm, 0, x)
		case graph.OwnHead:
			return heads(x, func(head []float64, at int) []float64 { return n.norm(p, norm, at, head) })
		}
		return heads(x, func(head []float64, _ int) []float64 { return n.norm(p, norm, 0, head) })
	}
	if a.NormLast {
		return normalise(rotate(x))
	}
	return rotate(normalise(x))
}

// rotated returns a head at a position.
func (n naive) rotated(r graph.RopeSpec, pos int, head []float64) []float64 {
	out := append([]float64(nil), head...)
	factors := n.get(r.Factors)
	if r.LongFactors != "" && r.Original < longest {
		factors = n.get(r.LongFactors)
	}
	for pair := range r.Dims / 2 {
		i, j := 2*pair, 2*pair+1
		if r.NeoX {
			i, j = pair, pair+r.Dims/2
		}
		frequency := math.Pow(r.Base, -2*float64(pair)/float64(r.Dims))
		if factors != nil {
			frequency /= float64(factors[pair])
		}
		angle := float64(pos) * (frequency/r.Factor*(1-kept(r, pair)) + frequency*kept(r, pair))
		z := complex(head[i], head[j]) * cmplx.Rect(1, angle)
		if r.Magnitude != 0 {
			z *= complex(r.Magnitude, 0)
		}
		out[i], out[j] = real(z), imag(z)
	}
	return out
}

// longest is how many tokens the longest text of these tests has. Models that distinguish long from
// short ones take it for long at any length, or for short.
const longest = 20

// kept returns which part of a frequency YaRN keeps: by the number of a pair, between those that turn Fast
// and Slow times in the original context.
func kept(r graph.RopeSpec, pair int) float64 {
	if r.Yarn.Fast == 0 {
		return 0
	}
	number := func(turns float64) float64 { // of the pair of wave length Original/turns
		return math.Log(float64(r.Original)/turns/(2*math.Pi)) / math.Log(r.Base) * float64(r.Dims) / 2
	}
	low, high := number(r.Yarn.Fast), number(r.Yarn.Slow)
	if !r.Yarn.Fractional {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = math.Max(low, 0), math.Min(high, float64(r.Dims-1))
	return 1 - math.Max(0, math.Min(1, (float64(pair)-low)/(high-low)))
}

func (n naive) network(p, suffix string, expert int, net graph.Network, x []float64) []float64 {
	var gate, up []float64
	switch {
	case net.Fused:
		both := n.multiply(p+"ffn_up"+suffix, expert, 2*net.Hidden, x)
		gate, up = both[:net.Hidden], both[net.Hidden:]
	case net.Ungated:
		gate, up = n.multiply(p+"ffn_up"+suffix, expert, net.Hidden, x), make([]float64, net.Hidden)
		for i := range up {
			up[i] = 1
		}
	default:
		gate, up = n.multiply(p+"ffn_gate"+suffix, expert, net.Hidden, x), n.multiply(p+"ffn_up"+suffix, expert, net.Hidden, x)
	}
	cut(net, gate)
	for i, g := range gate {
		if net.Activation == graph.SwiGLUOAI {
			g = math.Min(g, 7)
			up[i] = g / (1 + math.Exp(-1.702*g)) * (math.Max(-7, math.Min(7, up[i])) + 1)
			continue
		}
		up[i] *= activated(net, g)
	}
	return n.multiply(p+"ffn_down"+suffix, expert, n.Width, up)
}

func activated(net graph.Network, g float64) float64 {
	switch x := net.XIELU; {
	case net.Activation == graph.GELUTanh:
		return g / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g)))
	case net.Activation == graph.GELU:
		return g * 0.5 * math.Erfc(-g/math.Sqrt2)
	case net.Activation == graph.ReLU2:
		return math.Pow(math.Max(g, 0), 2)
	case net.Activation == graph.XIELU && g > 0:
		return x.AlphaP*g*g + x.Beta*g
	case net.Activation == graph.XIELU:
		return x.AlphaN*(math.Exp(math.Min(g, x.Epsilon))-1) - x.AlphaN*g + x.Beta*g
	}
	return g / (1 + math.Exp(-g))
}

// mixture adds the experts' results to sum.
func (n naive) mixture(p string, m graph.Mixture, x, sum []float64) {
	h, routed := n.norm(p, m.Norm, 0, x), n.norm(p, m.Router, 0, x)
	for i := range routed {
		if m.Router != (graph.Norm{}) {
			routed[i] *= float64(n.get(p + "ffn_gate_inp.scale")[i]) / math.Sqrt(float64(n.Width))
		}
	}
	logits := n.multiply(p+"ffn_gate_inp", 0, m.Experts, routed)
	scores := softmax(logits)
	if m.Gating == graph.SigmoidGating {
		for e, x := range logits {
			scores[e] = 1 / (1 + math.Exp(-x))
		}
	}
	ranks := append([]float64(nil), scores...)
	if m.Biased {
		for e, bias := range n.get(p + "exp_probs_b.bias") {
			ranks[e] += float64(bias)
		}
	}
	var order []int
	best := descending(groups(m, ranks))
	for e := range ranks {
		if g := m.Groups; g.Count == 0 || slices.Contains(best[:g.Used], e*g.Count/m.Experts) {
			order = append(order, e)
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return ranks[order[i]] > ranks[order[j]] })
	total := 1.0
	if m.NormTopKProb {
		total = 0
		for _, e := range order[:m.Used] {
			total += scores[e]
		}
	}
	for _, e := range order[:m.Used] {
		network := graph.Network{Hidden: m.Hidden, Activation: m.Activation, Ungated: m.Ungated}
		weight, seen := scores[e]/total*m.WeightsScale, append([]float64(nil), h...)
		if m.Scaled {
			weight *= float64(n.get(p + "ffn_down_exps.scale")[e])
		}
		if m.WeighFirst {
			for i := range seen {
				seen[i] *= weight
			}
			weight = 1
		}
		if m.Fused {
			add(sum, n.fusedExpert(p, e, network, seen), weight)
		} else {
			add(sum, n.network(p, "_exps", e, network, seen), weight)
		}
	}
	if m.Shared.Hidden > 0 {
		weight := 1.0
		if m.Shared.Gated {
			weight = 1 / (1 + math.Exp(-n.multiply(p+"ffn_gate_inp_shexp", 0, 1, h)[0]))
		}
		add(sum, n.network(p, "_shexp", 0, graph.Network{Hidden: m.Shared.Hidden, Activation: m.Activation, Ungated: m.Ungated}, h), weight)
	}
}

// fusedExpert is network with one matrix for gate and up.
func (n naive) fusedExpert(p string, e int, net graph.Network, x []float64) []float64 {
	both := n.multiply(p+"ffn_gate_up_exps", e, 2*net.Hidden, x)
	for i, g := range both[:net.Hidden] {
		both[i] = activated(net, g) * both[net.Hidden+i]
	}
	return n.multiply(p+"ffn_down_exps", e, n.Width, both[:net.Hidden])
}

// groups returns the sums of the best ranks of each group.
func groups(m graph.Mixture, ranks []float64) []float64 {
	sums := make([]float64, m.Groups.Count)
	for g := range sums {
		group := append([]float64(nil), ranks[g*m.Experts/len(sums):(g+1)*m.Experts/len(sums)]...)
		for _, i := range descending(group)[:m.Groups.Tops] {
			sums[g] += group[i]
		}
	}
	return sums
}

// descending returns the indices of x, that of the largest first.
func descending(x []float64) []int {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return x[order[i]] > x[order[j]] })
	return order
}

// multiply is matrix `expert` of a stack of rows x len(x) matrices, times x.
func (n naive) multiply(name string, expert, rows int, x []float64) []float64 {
	n.inputs.see(name+".weight", expert, x)
	return n.times(name, expert, rows, x)
}

// times is multiply unseen.
func (n naive) times(name string, expert, rows int, x []float64) []float64 {
	w, bias := n.get(name+".weight"), n.get(name+".bias")
	y := make([]float64, rows)
	for r := range y {
		if bias != nil {
			y[r] = float64(bias[expert*rows+r])
		}
		for c := range x {
			y[r] += float64(w[(expert*rows+r)*len(x)+c]) * x[c]
		}
	}
	return y
}

// norm returns x itself if there is no norm. The weights are those from number first on.
func (n naive) norm(p string, norm graph.Norm, first int, x []float64) []float64 {
	if norm == (graph.Norm{}) {
		return x
	}
	mean, square := 0.0, 0.0
	if norm.Kind == graph.LayerNorm {
		for _, v := range x {
			mean += v / float64(len(x))
		}
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / float64(len(x))
	}
	weight, bias := n.get(p+norm.Name+".weight"), n.get(p+norm.Name+".bias")
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) / math.Sqrt(square+norm.Epsilon)
		if norm.Name != "" {
			y[i] *= float64(weight[first+i])
		}
		if bias != nil {
			y[i] += float64(bias[first+i])
		}
	}
	return y
}

func capped(x float64, c float32) float64 {
	if c == 0 {
		return x
	}
	return float64(c) * math.Tanh(x/float64(c))
}

func softmax(x []float64) []float64 {
	y, sum := make([]float64, len(x)), 0.0
	for i, v := range x {
		y[i] = math.Exp(v)
		sum += y[i]
	}
	for i := range y {
		y[i] /= sum
	}
	return y
}

func add(x, y []float64, factor float64) {
	for i := range x {
		x[i] += factor * y[i]
	}
}
