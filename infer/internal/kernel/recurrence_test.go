package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// recurrenceCase is a recurrence over some tokens, which run computes with the kernels, and want in float64 by the plainest loops.
// Both return the result of all tokens and then what is remembered, columns first.
type recurrenceCase struct {
	run  func() []float32
	want []float64
}

// unpanelled returns rows of panels of a width as rows.
func unpanelled(x []float32, rows, cols, width int) []float32 {
	out := make([]float32, rows*cols)
	for first := 0; first < cols; first += width {
		n := min(width, cols-first)
		for r := range rows {
			copy(out[r*cols+first:], x[first*rows+r*n:][:n])
		}
	}
	return out
}

// spread returns n random rows that are further apart than they are long.
func spread(rng *rand.Rand, n, length int) kernel.Rows {
	return kernel.Rows{Data: random(rng, n*(length+3)), Stride: length + 3}
}

func element(r kernel.Rows, t, i int) float64 { return float64(r.Data[t*r.Stride+i]) }

func positive(r kernel.Rows) kernel.Rows {
	for i, v := range r.Data {
		r.Data[i] = float32(math.Abs(float64(v)))
	}
	return r
}

func below1(r kernel.Rows) kernel.Rows {
	for i, v := range r.Data {
		r.Data[i] = float32(math.Exp(-math.Abs(float64(v))))
	}
	return r
}

func mambaCase(rng *rand.Rand, tokens, states, channels int) recurrenceCase {
	a, state := random(rng, states*channels), random(rng, states*channels)
	for i, v := range a {
		a[i] = -float32(math.Abs(float64(v)))
	}
	args := kernel.MambaArgs{
		Tokens: tokens, States: states, Channels: channels, A: kernel.Panels(a, states, channels), D: random(rng, channels),
		Step: positive(spread(rng, tokens, channels)), B: spread(rng, tokens, states), C: spread(rng, tokens, states),
	}
	x := spread(rng, tokens, channels)
	c := recurrenceCase{run: func() []float32 {
		y, h := kernel.Rows{Data: slices.Clone(x.Data), Stride: x.Stride}, kernel.Panels(state, states, channels)
		kernel.Mamba(args, y, h)
		return append(y.Data, unpanelled(h, states, channels, 16)...)
	}}
	for _, v := range x.Data {
		c.want = append(c.want, float64(v))
	}
	h := make([]float64, len(state))
	for i, v := range state {
		h[i] = float64(v)
	}
	for t := range tokens {
		for i := range channels {
			step, sum := element(args.Step, t, i), float64(args.D[i])*element(x, t, i)
			for n := range states {
				at := n*channels + i
				h[at] = math.Exp(step*float64(a[at]))*h[at] + element(args.B, t, n)*step*element(x, t, i)
				sum += element(args.C, t, n) * h[at]
			}
			c.want[t*x.Stride+i] = sum
		}
	}
	c.want = append(c.want, h...)
	return c
}

func mamba2Case(rng *rand.Rand, tokens, states, length int) recurrenceCase {
	state := random(rng, states*length)
	args := kernel.Mamba2Args{
		Tokens: tokens, States: states, Length: length, D: 0.7, X: spread(rng, tokens, length), B: spread(rng, tokens, states),
		C: spread(rng, tokens, states), Step: positive(spread(rng, tokens, 1)), Decay: below1(spread(rng, tokens, 1)),
	}
	var c recurrenceCase
	c.run = func() []float32 {
		y, h := kernel.Rows{Data: make([]float32, tokens*(length+1)), Stride: length + 1}, kernel.Panels(state, states, length)
		kernel.Mamba2(args, y, h)
		return append(y.Data, unpanelled(h, states, length, 16)...)
	}
	h := make([]float64, len(state))
	for i, v := range state {
		h[i] = float64(v)
	}
	for t := range tokens {
		for i := range length {
			sum := 0.7 * element(args.X, t, i)
			for n := range states {
				at := n*length + i
				h[at] = element(args.Decay, t, 0)*h[at] + element(args.B, t, n)*element(args.Step, t, 0)*element(args.X, t, i)
				sum += element(args.C, t, n) * h[at]
			}
			c.want = append(c.want, sum)
		}
		c.want = append(c.want, 0)
	}
	c.want = append(c.want, h...)
	return c
}

func deltaRuleCase(rng *rand.Rand, tokens, keyLen, valueLen int) recurrenceCase {
	state := random(rng, keyLen*valueLen)
	unit := func(r kernel.Rows) kernel.Rows {
		for i := range r.Data {
			r.Data[i] /= float32(math.Sqrt(float64(keyLen)))
		}
		return r
	}
	args := kernel.DeltaRuleArgs{
		Tokens: tokens, KeyLen: keyLen, ValueLen: valueLen, Query: unit(spread(rng, tokens, keyLen)), Key: unit(spread(rng, tokens, keyLen)),
		Value: spread(rng, tokens, valueLen), Beta: below1(spread(rng, tokens, 1)), Decay: below1(spread(rng, tokens, 1)),
	}
	var c recurrenceCase
	c.run = func() []float32 {
		y, s := kernel.Rows{Data: make([]float32, tokens*valueLen), Stride: valueLen}, make([]float32, 0, len(state))
		for first := 0; first < valueLen; first += 32 { // panels of 32
			for i := range keyLen {
				s = append(s, state[i*valueLen+first:][:min(32, valueLen-first)]...)
			}
		}
		kernel.DeltaRule(args, y, s, make([]float32, kernel.DeltaRuleWork))
		return append(y.Data, unpanelled(s, keyLen, valueLen, 32)...)
	}
	s := make([]float64, len(state))
	for i, v := range state {
		s[i] = float64(v)
	}
	for t := range tokens {
		for j := range valueLen {
			var known, out float64
			for i := range keyLen {
				s[i*valueLen+j] *= element(args.Decay, t, 0)
				known += element(args.Key, t, i) * s[i*valueLen+j]
			}
			for i := range keyLen {
				s[i*valueLen+j] += element(args.Key, t, i) * element(args.Beta, t, 0) * (element(args.Value, t, j) - known)
				out += element(args.Query, t, i) * s[i*valueLen+j]
			}
			c.want = append(c.want, out)
		}
	}
	c.want = append(c.want, s...)
	return c
}

// TestRecurrences holds recurrences against float64, and all instruction sets against each other, bit by bit.
func TestRecurrences(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	cases := map[string]recurrenceCase{}
	for _, size := range [][3]int{{1, 16, 16}, {9, 16, 64}, {7, 5, 37}, {3, 128, 64}, {5, 12, 70}, {6, 9, 32}, {2, 1, 1}, {0, 8, 32}} {
		name := fmt.Sprintf("%d tokens, %d x %d", size[0], size[1], size[2])
		cases["Mamba, "+name] = mambaCase(rng, size[0], size[1], size[2])
		cases["Mamba 2, "+name] = mamba2Case(rng, size[0], size[1], size[2])
		cases["delta rule, "+name] = deltaRuleCase(rng, size[0], size[1], size[2])
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var first []float32
			isatest.ForEach(t, func(t *testing.T) {
				got := c.run()
				require.Len(t, got, len(c.want))
				for i, v := range got {
					require.InDelta(t, c.want[i], v, 2e-5*(1+math.Abs(c.want[i])), "element %d", i)
				}
				if first == nil {
					first = got
				}
				require.Equal(t, first, got)
			})
		})
	}
}

func TestSoftplusOfEveryLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	x := random(rng, 70)
	for i := range x {
		x[i] *= 20
	}
	x[3], x[17], x[18] = 0, 80, -80
	isatest.ForEach(t, func(t *testing.T) {
		for n := range x {
			got := slices.Clone(x)
			kernel.Softplus(got[:n])
			for i, v := range x[:n] {
				require.InEpsilon(t, math.Log1p(math.Exp(float64(v))), got[i], 0x1p-20, "softplus(%v)", v)
			}
			require.Equal(t, x[n:], got[n:])
		}
	})
}

func TestMulAddOfEveryLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	x, w, sums := random(rng, 70), random(rng, 70), random(rng, 70)
	isatest.ForEach(t, func(t *testing.T) {
		for n := range x {
			got := slices.Clone(sums)
			kernel.MulAdd(got[:n], x, w)
			for i := range n {
				require.Equal(t, fused(x[i], w[i], sums[i]), got[i])
			}
			require.Equal(t, sums[n:], got[n:])
		}
	})
}
