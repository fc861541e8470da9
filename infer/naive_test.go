package infer_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"sort"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// naive computes a graph in float64 and by the plainest loops, token by token: what Forward
// and Session are compared with.
type naive struct {
	*source
	graph.Spec
	keys, values map[string][][]float64 // by layer's prefix: of each position so far
}

// logitsOf returns those at every position of a chunk.
func logitsOf(g graph.Spec, src *source, tokens []int32) [][]float64 {
	n := naive{src, g, make(map[string][][]float64), make(map[string][][]float64)}
	var logits [][]float64
	for pos, id := range tokens {
		x := make([]float64, g.Width)
		for i, v := range n.get("token_embd.weight")[int(id)*g.Width:][:g.Width] {
			x[i] = float64(v)
			if g.EmbeddingScale != 0 {
				x[i] *= float64(g.EmbeddingScale)
			}
		}
		for i, layer := range g.Layers {
			for _, s := range layer {
				n.sublayer(fmt.Sprintf("blk.%d.", i), s, pos, x)
			}
		}
		output := "output"
		if n.get("output.weight") == nil {
			output = "token_embd"
		}
		y := n.multiply(output, 0, g.Vocabulary, n.norm("", g.OutputNorm, x))
		for i := range y {
			y[i] = capped(y[i], g.LogitCap)
		}
		logits = append(logits, y)
	}
	return logits
}

// sublayer adds a sub-layer to x. p is the prefix of its tensors' names.
func (n naive) sublayer(p string, s graph.Sublayer, pos int, x []float64) {
	h, sum := n.norm(p, s.Norm, x), make([]float64, len(x))
	for _, m := range s.Mixers {
		switch m := m.(type) {
		case graph.Attention:
			add(sum, n.attention(p, m, pos, h), 1)
		case graph.Network:
			add(sum, n.network(p, "", 0, m.Hidden, m.Activation, h), 1)
		case graph.Mixture:
			n.mixture(p, m, h, sum)
		}
	}
	scale := 1.0
	if s.Scale != 0 {
		scale = float64(s.Scale)
	}
	add(x, n.norm(p, s.PostNorm, sum), scale)
}

func (n naive) attention(p string, a graph.Attention, pos int, h []float64) []float64 {
	q, k := n.multiply(p+"attn_q", 0, a.Heads*a.KeyLen, h), n.multiply(p+"attn_k", 0, a.KVHeads*a.KeyLen, h)
	for at := 0; at < len(q); at += a.KeyLen {
		copy(q[at:], n.rotated(a.Rope, pos, n.norm(p, a.QNorm, q[at:][:a.KeyLen])))
	}
	for at := 0; at < len(k); at += a.KeyLen {
		copy(k[at:], n.rotated(a.Rope, pos, n.norm(p, a.KNorm, k[at:][:a.KeyLen])))
	}
	n.keys[p] = append(n.keys[p], k)
	n.values[p] = append(n.values[p], n.multiply(p+"attn_v", 0, a.KVHeads*a.ValueLen, h))
	out := make([]float64, a.Heads*a.ValueLen)
	for head := range a.Heads {
		kv := head * a.KVHeads / a.Heads
		scores := make([]float64, pos+1)
		for t := range scores {
			for i := range a.KeyLen {
				scores[t] += q[head*a.KeyLen+i] * n.keys[p][t][kv*a.KeyLen+i] * float64(a.Scale)
			}
			scores[t] = capped(scores[t], a.Cap)
			if a.Window > 0 && t <= pos-a.Window {
				scores[t] = math.Inf(-1)
			}
		}
		for t, weight := range softmax(scores) {
			add(out[head*a.ValueLen:][:a.ValueLen], n.values[p][t][kv*a.ValueLen:], weight)
		}
	}
	return n.multiply(p+"attn_output", 0, n.Width, out)
}

// rotated returns a head at a position.
func (n naive) rotated(r graph.RopeSpec, pos int, head []float64) []float64 {
	out, factors := make([]float64, len(head)), n.get(r.Factors)
	for pair := range len(head) / 2 {
		i, j := 2*pair, 2*pair+1
		if r.NeoX {
			i, j = pair, pair+len(head)/2
		}
		angle := float64(pos) / r.Factor * math.Pow(r.Base, -2*float64(pair)/float64(len(head)))
		if factors != nil {
			angle /= float64(factors[pair])
		}
		z := complex(head[i], head[j]) * cmplx.Rect(1, angle)
		out[i], out[j] = real(z), imag(z)
	}
	return out
}

func (n naive) network(p, suffix string, expert, hidden int, activation graph.Activation, x []float64) []float64 {
	gate, up := n.multiply(p+"ffn_gate"+suffix, expert, hidden, x), n.multiply(p+"ffn_up"+suffix, expert, hidden, x)
	for i, g := range gate {
		if activation == graph.GELUTanh {
			up[i] *= g / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g)))
		} else {
			up[i] *= g / (1 + math.Exp(-g))
		}
	}
	return n.multiply(p+"ffn_down"+suffix, expert, n.Width, up)
}

// mixture adds the experts' results to sum.
func (n naive) mixture(p string, m graph.Mixture, h, sum []float64) {
	probabilities := softmax(n.multiply(p+"ffn_gate_inp", 0, m.Experts, h))
	order := make([]int, m.Experts)
	for e := range order {
		order[e] = e
	}
	sort.SliceStable(order, func(i, j int) bool { return probabilities[order[i]] > probabilities[order[j]] })
	total := 1.0
	if m.NormTopKProb {
		total = 0
		for _, e := range order[:m.Used] {
			total += probabilities[e]
		}
	}
	for _, e := range order[:m.Used] {
		add(sum, n.network(p, "_exps", e, m.Hidden, m.Activation, h), probabilities[e]/total*m.WeightsScale)
	}
	if m.Shared.Hidden > 0 {
		weight := 1.0
		if m.Shared.Gated {
			weight = 1 / (1 + math.Exp(-n.multiply(p+"ffn_gate_inp_shexp", 0, 1, h)[0]))
		}
		add(sum, n.network(p, "_shexp", 0, m.Shared.Hidden, m.Activation, h), weight)
	}
}

// multiply is matrix `expert` of a stack of rows x len(x) matrices, times x.
func (n naive) multiply(name string, expert, rows int, x []float64) []float64 {
	w, bias := n.get(name+".weight"), n.get(name+".bias")
	y := make([]float64, rows)
	for r := range y {
		if bias != nil {
			y[r] = float64(bias[r])
		}
		for c := range x {
			y[r] += float64(w[(expert*rows+r)*len(x)+c]) * x[c]
		}
	}
	return y
}

// norm returns x itself if there is no norm.
func (n naive) norm(p string, norm graph.Norm, x []float64) []float64 {
	if norm.Name == "" {
		return x
	}
	w, mean := n.get(p+norm.Name+".weight"), 0.0
	for _, v := range x {
		mean += v * v / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(mean+norm.Epsilon) * float64(w[i])
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
