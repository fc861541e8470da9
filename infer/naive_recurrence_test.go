package infer_test

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// remembered is what a recurrence remembers of the text so far, by name, zeros at first.
func (n naive) remembered(name string, size int) []float64 {
	if n.keys[name] == nil {
		n.keys[name] = [][]float64{make([]float64, size)}
	}
	return n.keys[name][0]
}

// convolved takes channels through a causal convolution over what is remembered of those before, and then a SiLU or not.
func (n naive) convolved(name string, inputs int, silu bool, x []float64) []float64 {
	before := n.keys[name]
	for len(before) < inputs-1 {
		before = append(before, make([]float64, len(x)))
	}
	all := append(before, append([]float64(nil), x...))
	n.keys[name] = all[1:]
	weight, bias, y := n.get(name+".weight"), n.get(name+".bias"), make([]float64, len(x))
	for c := range y {
		for i := range inputs {
			y[c] += float64(weight[c*inputs+i]) * all[i][c]
		}
		if bias != nil {
			y[c] += float64(bias[c])
		}
		if silu {
			y[c] /= 1 + math.Exp(-y[c])
		}
	}
	return y
}

func (n naive) shortConv(p string, m graph.ShortConv, h []float64) []float64 {
	bcx := n.multiply(p+"shortconv.in_proj", 0, 3*m.Width, h)
	y := make([]float64, m.Width)
	for i := range y {
		y[i] = bcx[i] * bcx[2*m.Width+i]
	}
	y = n.convolved(p+"shortconv.conv", m.Inputs, false, y)
	for i := range y {
		y[i] *= bcx[m.Width+i]
	}
	return n.multiply(p+"shortconv.out_proj", 0, n.Width, y)
}

func (n naive) mamba(p string, m graph.Mamba, h []float64) []float64 {
	xz := n.multiply(p+"ssm_in", 0, 2*m.Inner, h)
	x, z := n.convolved(p+"ssm_conv1d", m.Inputs, true, xz[:m.Inner]), xz[m.Inner:]
	selected := n.multiply(p+"ssm_x", 0, m.Rank+2*m.States, x)
	step := n.multiply(p+"ssm_dt", 0, m.Inner, n.norm(p, m.StepNorm, 0, selected[:m.Rank]))
	b, c := n.norm(p, m.InputNorm, 0, selected[m.Rank:][:m.States]), n.norm(p, m.StateNorm, 0, selected[m.Rank+m.States:])
	a, d, state := n.get(p+"ssm_a"), n.get(p+"ssm_d"), n.remembered(p+"ssm", m.Inner*m.States)
	y := make([]float64, m.Inner)
	for i := range y {
		dt := math.Log(1 + math.Exp(step[i]))
		y[i] = float64(d[i]) * x[i]
		for s := range m.States {
			at := i*m.States + s
			state[at] = math.Exp(dt*float64(a[at]))*state[at] + dt*b[s]*x[i]
			y[i] += c[s] * state[at]
		}
		y[i] *= z[i] / (1 + math.Exp(-z[i]))
	}
	return n.multiply(p+"ssm_out", 0, n.Width, y)
}

func (n naive) mamba2(p string, m graph.Mamba2, h []float64) []float64 {
	shared := m.Groups * m.States
	all := n.multiply(p+"ssm_in", 0, 2*m.Inner+2*shared+m.Heads, h)
	z, steps := all[:m.Inner], all[2*m.Inner+2*shared:]
	xbc := n.convolved(p+"ssm_conv1d", m.Inputs, true, all[m.Inner:][:m.Inner+2*shared])
	x, b, c := xbc[:m.Inner], xbc[m.Inner:][:shared], xbc[m.Inner+shared:]
	a, d, bias, state := n.get(p+"ssm_a"), n.get(p+"ssm_d"), n.get(p+"ssm_dt.bias"), n.remembered(p+"ssm", m.Inner*m.States)
	y := make([]float64, m.Inner)
	for i := range y {
		head, group := i*m.Heads/m.Inner, i*m.Groups/m.Inner
		dt := math.Log(1 + math.Exp(steps[head]+float64(bias[head])))
		y[i] = float64(d[head]) * x[i]
		for s := range m.States {
			at := i*m.States + s
			state[at] = math.Exp(dt*float64(a[head]))*state[at] + dt*b[group*m.States+s]*x[i]
			y[i] += c[group*m.States+s] * state[at]
		}
		y[i] *= z[i] / (1 + math.Exp(-z[i]))
	}
	if m.Norm != (graph.Norm{}) {
		for at := 0; at < m.Inner; at += m.Inner / m.Groups {
			copy(y[at:], n.norm(p, m.Norm, at, y[at:][:m.Inner/m.Groups]))
		}
	}
	return n.multiply(p+"ssm_out", 0, n.Width, y)
}

func (n naive) deltaNet(p string, m graph.DeltaNet, h []float64) []float64 {
	keys, length := m.KeyHeads*m.KeyLen, m.Values/m.ValueHeads
	qkv := n.convolved(p+"ssm_conv1d", m.Inputs, true, n.multiply(p+"attn_qkv", 0, 2*keys+m.Values, h))
	z := n.multiply(p+"attn_gate", 0, m.Values, h)
	var betas, alphas []float64
	if m.Paired {
		both, each := n.multiply(p+"ssm_ba", 0, 2*m.ValueHeads, h), m.ValueHeads/m.KeyHeads
		for at := 0; at < len(both); at += 2 * each {
			betas, alphas = append(betas, both[at:][:each]...), append(alphas, both[at+each:][:each]...)
		}
	} else {
		betas, alphas = n.multiply(p+"ssm_beta", 0, m.ValueHeads, h), n.multiply(p+"ssm_alpha", 0, m.ValueHeads, h)
	}
	unit := func(x []float64) []float64 {
		square, y := 1e-6, make([]float64, len(x))
		for _, v := range x {
			square += v * v
		}
		for i, v := range x {
			y[i] = v / math.Sqrt(square)
		}
		return y
	}
	a, bias, state := n.get(p+"ssm_a"), n.get(p+"ssm_dt.bias"), n.remembered(p+"ssm", m.KeyLen*m.Values)
	var out []float64
	for head := range m.ValueHeads {
		key := head * m.KeyHeads / m.ValueHeads
		if m.Tiled {
			key = head % m.KeyHeads
		}
		q, k, v := unit(qkv[key*m.KeyLen:][:m.KeyLen]), unit(qkv[keys+key*m.KeyLen:][:m.KeyLen]), qkv[2*keys+head*length:][:length]
		decay := math.Exp(float64(a[head]) * math.Log(1+math.Exp(alphas[head]+float64(bias[head]))))
		s := func(i, j int) *float64 { return &state[(head*m.KeyLen+i)*length+j] }
		y := make([]float64, length)
		for j := range y {
			known := 0.0
			for i := range k {
				*s(i, j) *= decay
				known += k[i] * *s(i, j)
			}
			for i := range k {
				*s(i, j) += k[i] * (v[j] - known) / (1 + math.Exp(-betas[head]))
				y[j] += q[i] * *s(i, j) / math.Sqrt(float64(m.KeyLen))
			}
		}
		out = append(out, n.norm(p, m.Norm, 0, y)...)
	}
	for i, gate := range z {
		out[i] *= gate / (1 + math.Exp(-gate))
	}
	return n.multiply(p+"ssm_out", 0, n.Width, out)
}
