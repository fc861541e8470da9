package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// mamba2 is a mixer of Mamba 2: a state for each head, that decays and takes something up with
// each token. Keys and queries (B and C) are those of groups of heads.
type mamba2 struct {
	width                               int64 // of the stream
	inner, state, heads, groups, kernel int64
	bare                                bool // without a norm of what comes out
}

// check refuses sizes that do not divide.
func (s *mamba2) check(r *reader) {
	if r.err == nil && (s.inner%s.heads != 0 || s.heads%s.groups != 0) {
		r.fail(gguf.ErrCorrupt, "%d values of %d heads in %d groups", s.inner, s.heads, s.groups)
	}
}

func (s *mamba2) keys(k *keys) {
	k.set("ssm.conv_kernel", uint32(s.kernel))
	k.set("ssm.inner_size", uint32(s.inner))
	k.set("ssm.state_size", uint32(s.state))
	k.set("ssm.time_step_rank", uint32(s.heads))
	k.set("ssm.group_count", uint32(s.groups))
}

// hybridKeys is keys in the order of models that have other layers, too.
func (s *mamba2) hybridKeys(k *keys) {
	k.set("ssm.conv_kernel", uint32(s.kernel))
	k.set("ssm.state_size", uint32(s.state))
	k.set("ssm.group_count", uint32(s.groups))
	k.set("ssm.inner_size", uint32(s.inner))
	k.set("ssm.time_step_rank", uint32(s.heads))
}

// convolved returns how many channels go through the convolution: those of inputs, B and C.
func (s *mamba2) convolved() int64 { return s.inner + 2*s.groups*s.state }

// tensors maps a mixer, of which the names begin so.
func (s *mamba2) tensors(layer mapper, start string) {
	s.scaledTensors(layer, start, func(r weights.Rows) weights.Rows { return r }, func(r weights.Rows) weights.Rows { return r })
}

// scaledTensors is tensors, with what becomes of the matrices that make its inputs, z, x, B, C
// and dt, and its output.
func (s *mamba2) scaledTensors(layer mapper, start string, in, out func(weights.Rows) weights.Rows) {
	layer.put("ssm_a", weights.Reshape(decay(layer.get(start+"A_log", s.heads)), s.heads, 1))
	layer.put("ssm_d", weights.Reshape(layer.get(start+"D", s.heads), s.heads, 1))
	convolution(layer, start, s.convolved(), s.kernel)
	layer.take(start+"dt_bias", "ssm_dt.bias", s.heads)
	layer.put("ssm_in.weight", in(layer.get(start+"in_proj.weight", s.inner+s.convolved()+s.heads, s.width)))
	if !s.bare {
		layer.put("ssm_norm.weight", weights.Reshape(layer.get(start+"norm.weight", s.inner), s.groups, s.inner/s.groups))
	}
	layer.put("ssm_out.weight", out(layer.get(start+"out_proj.weight", s.width, s.inner)))
}

// convolution maps one of each of so many channels with its own past, of a kernel of so many
// tokens.
func convolution(layer mapper, start string, channels, kernel int64) {
	layer.takeAny(start+"conv1d.bias", "ssm_conv1d.bias", channels)
	layer.put("ssm_conv1d.weight", weights.Reshape(layer.get(start+"conv1d.weight", channels, 1, kernel), channels, kernel))
}

// decay returns how states decay, -exp(log), of the logarithms that checkpoints have.
func decay(log weights.Rows) weights.Rows {
	return weights.Map(log, func(values []float32) {
		for i, v := range values {
			values[i] = -exp(v)
		}
	}, func(values []float32) {
		for i, v := range values {
			values[i] = logOf(-v)
		}
	})
}

// logOf returns a number whose exp is v, if there is one.
func logOf(v float32) float32 {
	near := float32(math.Log(float64(v)))
	for _, to := range []float32{math.MaxFloat32, -math.MaxFloat32} {
		for x, i := near, 0; i < 16; i++ {
			if exp(x) == v {
				return x
			}
			x = math.Nextafter32(x, to)
		}
	}
	return near
}

// exp returns what PyTorch's exp does on CPUs with AVX2 or better: the result of the function
// of that name in SLEEF (Shibata and Petrogalli, "SLEEF: A Portable Vectorized Library of C
// Standard Mathematical Functions", 2020), whose last bit is not always that of the nearest
// float32. The multiple of ln 2 nearest to x is taken off in two steps, and the rest goes
// through a polynomial; all steps are fused.
func exp(x float32) float32 {
	switch {
	case x < -104:
		return 0
	case x > 100:
		return float32(math.Inf(1))
	case x != x:
		return x
	}
	const ln2High, ln2Low = 0.693145751953125, 1.428606765330187045e-06
	n := float32(math.RoundToEven(float64(x * math.Log2E)))
	rest := fma(n, -ln2Low, fma(n, -ln2High, x))
	sum := float32(0.000198527617612853646278381)
	for _, c := range [...]float32{0.00139304355252534151077271, 0.00833336077630519866943359, 0.0416664853692054748535156, 0.166666671633720397949219, 0.5} {
		sum = fma(sum, rest, c)
	}
	return float32(math.Ldexp(float64(1+fma(float32(rest*rest), sum, rest)), int(n)))
}

// fma returns a*b + c, rounded once. In float64 the product is exact; the sum is rounded to an
// odd last bit where it is not, so that rounding it again gives what rounding it once would.
func fma(a, b, c float32) float32 {
	product, add := float64(a)*float64(b), float64(c)
	sum := product + add
	part := sum - product
	lost := (product - (sum - part)) + (add - part)
	if lost != 0 && math.Float64bits(sum)&1 == 0 {
		sum = math.Nextafter(sum, math.Inf(int(math.Copysign(1, lost))))
	}
	return float32(sum)
}
