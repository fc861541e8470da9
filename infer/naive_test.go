package infer_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"sort"
	"strings"
)

// naive computes the logits at every position of a chunk in float64 and by the
// plainest loops, token by token: what Forward is compared with.
func (s spec) naive(src *source, tokens []int32) [][]float64 {
	// multiply is row `expert` of a stack of rows x len(x) matrices, times x.
	multiply := func(name string, expert, rows int, x []float64) []float64 {
		w, bias := src.get(name+".weight"), src.get(name+".bias")
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
	norm := func(name string, x []float64) []float64 {
		w, sum := src.get(name), 0.0
		for _, v := range x {
			sum += v * v / float64(len(x))
		}
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = v / math.Sqrt(sum+float64(float32(1e-5))) * float64(w[i])
		}
		return y
	}
	// branch normalises what is added, if there is such a norm.
	branch := func(name string, x []float64) []float64 {
		if src.get(name) == nil {
			return x
		}
		return norm(name, x)
	}
	capped := func(x float64, c float32) float64 {
		if c == 0 {
			return x
		}
		return float64(c) * math.Tanh(x/float64(c))
	}
	normHeads := func(name string, x []float64) {
		if src.get(name) == nil {
			return
		}
		for at := 0; at < len(x); at += s.keyLen {
			copy(x[at:], norm(name, x[at:][:s.keyLen]))
		}
	}
	rotate := func(x []float64, pos int) {
		for n := range len(x) / 2 {
			head, pair := n/(s.keyLen/2)*s.keyLen, n%(s.keyLen/2)
			i, j := head+2*pair, head+2*pair+1
			if strings.HasPrefix(s.arch, "qwen") || s.arch == "gemma2" {
				i, j = head+pair, head+pair+s.keyLen/2
			}
			angle := float64(pos) * math.Pow(500, -2*float64(pair)/float64(s.keyLen))
			if s.ropeScale > 0 {
				angle /= float64(s.ropeScale)
			}
			if s.ropeFactors != nil {
				angle /= float64(s.ropeFactors[pair])
			}
			z := complex(x[i], x[j]) * cmplx.Rect(1, angle)
			x[i], x[j] = real(z), imag(z)
		}
	}
	softmax := func(x []float64) []float64 {
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
	network := func(p, suffix string, expert, hidden int, x []float64) []float64 {
		gate, up := multiply(p+"ffn_gate"+suffix, expert, hidden, x), multiply(p+"ffn_up"+suffix, expert, hidden, x)
		for i, g := range gate {
			if s.arch == "gemma2" {
				up[i] *= g / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g)))
			} else {
				up[i] *= g / (1 + math.Exp(-g))
			}
		}
		return multiply(p+"ffn_down"+suffix, expert, s.width, up)
	}
	add := func(x, y []float64, factor float64) {
		for i := range x {
			x[i] += factor * y[i]
		}
	}

	keys, values := make([][][]float64, s.layers), make([][][]float64, s.layers) // layer, position
	var logits [][]float64
	for pos, id := range tokens {
		x := make([]float64, s.width)
		for i, v := range src.get("token_embd.weight")[int(id)*s.width:][:s.width] {
			x[i] = float64(v)
			if s.arch == "gemma2" {
				x[i] *= math.Sqrt(float64(s.width))
			}
		}
		for layer := range s.layers {
			p := fmt.Sprintf("blk.%d.", layer)
			h := norm(p+"attn_norm.weight", x)
			q := multiply(p+"attn_q", 0, s.heads*s.keyLen, h)
			k := multiply(p+"attn_k", 0, s.kvHeads*s.keyLen, h)
			normHeads(p+"attn_q_norm.weight", q)
			normHeads(p+"attn_k_norm.weight", k)
			rotate(q, pos)
			rotate(k, pos)
			keys[layer] = append(keys[layer], k)
			values[layer] = append(values[layer], multiply(p+"attn_v", 0, s.kvHeads*s.valueLen, h))
			out := make([]float64, s.heads*s.valueLen)
			for head := range s.heads {
				kv := head * s.kvHeads / s.heads
				scores := make([]float64, pos+1)
				for t := range scores {
					for i := range s.keyLen {
						scores[t] += q[head*s.keyLen+i] * keys[layer][t][kv*s.keyLen+i] / math.Sqrt(float64(s.keyLen))
					}
					scores[t] = capped(scores[t], s.scoreCap)
					if s.window > 0 && layer%2 == 0 && t <= pos-s.window {
						scores[t] = math.Inf(-1)
					}
				}
				for t, weight := range softmax(scores) {
					add(out[head*s.valueLen:][:s.valueLen], values[layer][t][kv*s.valueLen:], weight)
				}
			}
			add(x, branch(p+"post_attention_norm.weight", multiply(p+"attn_output", 0, s.width, out)), 1)

			h = norm(p+"ffn_norm.weight", x)
			if s.experts == 0 || layer < s.denseBlocks {
				add(x, branch(p+"post_ffw_norm.weight", network(p, "", 0, s.hidden, h)), 1)
				continue
			}
			probabilities := softmax(multiply(p+"ffn_gate_inp", 0, s.experts, h))
			order := make([]int, s.experts)
			for e := range order {
				order[e] = e
			}
			sort.SliceStable(order, func(i, j int) bool { return probabilities[order[i]] > probabilities[order[j]] })
			sum := 1.0
			if s.arch != "qwen2moe" && s.arch != "deepseek" {
				sum = 0
				for _, e := range order[:s.used] {
					sum += probabilities[e]
				}
			}
			if s.expertScale != 0 {
				sum /= float64(s.expertScale)
			}
			expertHidden := s.hidden
			if s.expertHidden > 0 {
				expertHidden = s.expertHidden
			}
			for _, e := range order[:s.used] {
				add(x, network(p, "_exps", e, expertHidden, h), probabilities[e]/sum)
			}
			switch {
			case s.sharedHidden == 0:
			case s.arch == "deepseek":
				add(x, network(p, "_shexp", 0, s.sharedHidden, h), 1)
			case s.arch == "qwen2moe":
				gate := multiply(p+"ffn_gate_inp_shexp", 0, 1, h)[0]
				add(x, network(p, "_shexp", 0, s.sharedHidden, h), 1/(1+math.Exp(-gate)))
			}
		}
		h := norm("output_norm.weight", x)
		output := "output"
		if s.tied {
			output = "token_embd"
		}
		y := multiply(output, 0, s.vocabulary, h)
		for i := range y {
			y[i] = capped(y[i], s.logitCap)
		}
		logits = append(logits, y)
	}
	return logits
}
