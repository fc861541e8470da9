package kernel

import "math"

// Rows are rows of a matrix: number t begins at Data[t·Stride].
type Rows struct {
	Data   []float32
	Stride int
}

// at returns the first n elements of a row.
func (r Rows) at(t, n int) []float32 { return r.Data[t*r.Stride:][:n] }

// from returns the rows from number t on.
func (r Rows) from(t int) Rows { return Rows{r.Data[t*r.Stride:], r.Stride} }

// recurrentTokens is how many tokens a recurrence takes through one part of what it remembers after the other: their rows,
// which are far apart, stay in the first cache, and in its list of pages.
const recurrentTokens = 16

// panel is how many columns of a matrix that a recurrence remembers lie side by side, as wide as a vector may be.
const panel = 16

// Panels returns a matrix in the form in which recurrences remember theirs: 16 columns of all rows, then the next 16.
// The last may be fewer.
func Panels(x []float32, rows, cols int) []float32 {
	out := make([]float32, 0, rows*cols)
	for first := 0; first < cols; first += panel {
		for r := range rows {
			out = append(out, x[r*cols+first:][:min(panel, cols-first)]...)
		}
	}
	return out
}

// MambaArgs are those of Mamba: of some channels, for some tokens in turn.
type MambaArgs struct {
	Tokens, States, Channels int
	A                        []float32 // States x Channels, in Panels
	D                        []float32 // of each channel
	Step                     Rows      // Channels of each token
	B, C                     Rows      // States of each token
}

// Mamba replaces x, Channels of each token, by what comes out of the selective state space of arXiv 2312.00752, and brings what
// it remembers up to date, States x Channels in Panels. For a channel, token by token,
//
//	h[n] ← e^(step·A[n])·h[n] + B[n]·(step·x)
//	x ← D·x + Σ C[n]·h[n]
//
// in the order of n, each sum with one factor fused. A must be negative or 0 and steps not negative.
func Mamba(a MambaArgs, x Rows, state []float32) {
	for first := 0; first < a.Channels; first += panel {
		width := min(panel, a.Channels-first)
		h, decays := state[first*a.States:][:width*a.States], a.A[first*a.States:][:width*a.States]
		if width == panel && mambaPanel(a, x, first, h, decays) {
			continue
		}
		for t := range a.Tokens {
			row, step := x.at(t, first+width)[first:], a.Step.at(t, first+width)[first:]
			b, c := a.B.at(t, a.States), a.C.at(t, a.States)
			for i, v := range row {
				scaled, sum := float32(step[i]*v), float32(a.D[first+i]*v)
				for n := range b {
					at := n*width + i
					h[at] = fma(b[n], scaled, float32(exp(float32(step[i]*decays[at]))*h[at]))
					sum = fma(c[n], h[at], sum)
				}
				row[i] = sum
			}
		}
	}
}

// Mamba2Args are those of Mamba2: of one head, for some tokens in turn.
type Mamba2Args struct {
	Tokens, States, Length int
	D                      float32
	X                      Rows // Length of each token
	B, C                   Rows // States of each token
	Step, Decay            Rows // a number of each token
}

// Mamba2 sets y to what comes out of a head of the selective state space of arXiv 2405.21060, Length of each token, and brings what it remembers up to
// date, States x Length in Panels. Token by token,
//
//	H[n] ← decay·H[n] + B[n]·(step·x)
//	y = D·x + Σ C[n]·H[n]
//
// in the order of n, each sum with one factor fused.
func Mamba2(a Mamba2Args, y Rows, state []float32) {
	for ; a.Tokens > recurrentTokens; a.Tokens -= recurrentTokens {
		some := a
		some.Tokens = recurrentTokens
		mamba2(some, y, state)
		y = y.from(recurrentTokens)
		a.X, a.B, a.C = a.X.from(recurrentTokens), a.B.from(recurrentTokens), a.C.from(recurrentTokens)
		a.Step, a.Decay = a.Step.from(recurrentTokens), a.Decay.from(recurrentTokens)
	}
	mamba2(a, y, state)
}

func mamba2(a Mamba2Args, y Rows, state []float32) {
	for t := range a.Tokens {
		row, x := y.at(t, a.Length), a.X.at(t, a.Length)
		for i, v := range x {
			row[i] = a.D * v
		}
	}
	for first := 0; first < a.Length; first += panel {
		width := min(panel, a.Length-first)
		h := state[first*a.States:][:width*a.States]
		done := 0 // of the states
		if width == panel {
			done = mamba2Panel(a, y, first, h)
		}
		for t := range a.Tokens {
			row, x := y.at(t, first+width)[first:], a.X.at(t, first+width)[first:]
			b, c := a.B.at(t, a.States), a.C.at(t, a.States)
			step, decay := a.Step.at(t, 1)[0], a.Decay.at(t, 1)[0]
			for i, v := range x {
				scaled := float32(step * v)
				for n := done; n < a.States; n++ {
					at := n*width + i
					h[at] = fma(b[n], scaled, float32(decay*h[at]))
					row[i] = fma(c[n], h[at], row[i])
				}
			}
		}
	}
}

// DeltaRuleArgs are those of DeltaRule: of one head, for some tokens in turn.
type DeltaRuleArgs struct {
	Tokens, KeyLen, ValueLen int
	Query, Key               Rows // KeyLen of each token
	Value                    Rows // ValueLen of each token
	Beta, Decay              Rows // a number of each token
}

// deltaPanel is how many columns of what the delta rule remembers are computed together: panels that are neighbours.
const deltaPanel = 2 * panel

// DeltaRuleWork is how many floats DeltaRule needs as its work.
const DeltaRuleWork = deltaPanel

// DeltaRule sets y to what comes out of a head of the gated delta rule (arXiv 2412.06464), ValueLen of each token, and brings what it remembers up
// to date, KeyLen x ValueLen in panels of 32 columns as Panels has 16. Token by token,
//
//	r, s = Σ key[i]·S[i], Σ query[i]·S[i]
//	u = beta·(value - decay·r)
//	S[i] ← decay·S[i] + key[i]·u
//	y = decay·s + (query·key)·u
//
// where the sums of even and of odd i are added in their order, each with one factor fused, and then both.
func DeltaRule(a DeltaRuleArgs, y Rows, state, work []float32) {
	for start := 0; start < a.Tokens; start += recurrentTokens {
		end := min(a.Tokens, start+recurrentTokens)
		var matches [recurrentTokens]float32
		for t := start; t < end; t++ {
			matches[t-start] = Dot(a.Query.at(t, a.KeyLen), a.Key.at(t, a.KeyLen))
		}
		for first := 0; first < a.ValueLen; first += deltaPanel {
			width := min(deltaPanel, a.ValueLen-first)
			s, u := state[first*a.KeyLen:][:width*a.KeyLen], work[:width]
			for t := start; t < end; t++ {
				key, gates := a.Key.at(t, a.KeyLen), deltaGates{a.Beta.at(t, 1)[0], a.Decay.at(t, 1)[0], matches[t-start]}
				deltaResult(u, y.at(t, first+width)[first:], s, key, a.Query.at(t, a.KeyLen), a.Value.at(t, first+width)[first:], gates)
				deltaUpdate(s, key, u, gates.decay)
			}
		}
	}
}

// deltaGates are the numbers of a token: match is query·key.
type deltaGates struct{ beta, decay, match float32 }

// deltaResultGeneric sets u and out, y of DeltaRule.
func deltaResultGeneric(u, out, s, key, query, value []float32, g deltaGates) {
	for j, v := range value {
		var keys, queries [2]float32
		for i, k := range key {
			v := s[i*len(value)+j]
			keys[i%2] = fma(k, v, keys[i%2])
			queries[i%2] = fma(query[i], v, queries[i%2])
		}
		r, q := keys[0]+keys[1], queries[0]+queries[1]
		u[j] = g.beta * fma(-g.decay, r, v)
		out[j] = fma(g.match, u[j], float32(g.decay*q))
	}
}

// deltaUpdateGeneric multiplies s with decay and adds the products of key and u.
func deltaUpdateGeneric(s, key, u []float32, decay float32) {
	for i, k := range key {
		row := s[i*len(u):][:len(u)]
		for j, v := range row {
			row[j] = fma(k, u[j], float32(decay*v))
		}
	}
}

// Softplus replaces each x by ln(1 + eˣ), with a relative error below 2⁻²⁰.
func Softplus(x []float32) { softplus(x) }

// softplusGeneric computes ln(1 + e) with e = e^-|x| as 2·artanh(e/(2+e)), by its series.
func softplusGeneric(x []float32) {
	for i, v := range x {
		e := exp(-float32(math.Abs(float64(v))))
		s := e / (2 + e)
		square := s * s
		p := float32(softplusSeries[0])
		for _, c := range softplusSeries[1:] {
			p = fma(p, square, c)
		}
		x[i] = fma(s, p, max(v, 0))
	}
}

// softplusSeries are the coefficients of 2·artanh(s)/s, of s¹² first.
var softplusSeries = [...]float32{2. / 13, 2. / 11, 2. / 9, 2. / 7, 2. / 5, 2. / 3, 2}

// MulAdd adds x[i]·w[i] to each dst[i], rounded once. x and w are at least as long as dst.
func MulAdd(dst, x, w []float32) { mulAdd(dst, x[:len(dst)], w[:len(dst)]) }

func mulAddGeneric(dst, x, w []float32) {
	for i, v := range x {
		dst[i] = fma(v, w[i], dst[i])
	}
}
