package kernel

import "math"

// Constants of exp: the polynomial of Cephes' expf for e^r with |r| <= ln 2 / 2,
// and ln 2 in two parts, where n times the first is exact.
const (
	ln2Hi = 0.693359375
	ln2Lo = -2.12194440e-4
	expC0 = 1.9875691500e-4
	expC1 = 1.3981999507e-3
	expC2 = 8.3334519073e-3
	expC3 = 4.1665795894e-2
	expC4 = 1.6666665459e-1
	expC5 = 5.0000001201e-1

	// rounder, added to and subtracted from a small float32, rounds it to an
	// integer.
	rounder = 3 << 22
)

// exp returns e^x for x <= 0, with a relative error below 2⁻²² as long as the
// result is a normal float32, and 0 below about -87.7.
func exp(x float32) float32 {
	if x < -88 {
		return 0
	}
	t := fma(x, math.Log2E, rounder)
	n := t - rounder
	r := fma(-n, ln2Lo, fma(-n, ln2Hi, x))
	p := fma(expC0, r, expC1)
	p = fma(p, r, expC2)
	p = fma(p, r, expC3)
	p = fma(p, r, expC4)
	p = fma(p, r, expC5)
	p = fma(p, r*r, r) + 1
	// The low bits of t are n; n = -127 gives the factor 0.
	return p * math.Float32frombits(math.Float32bits(t)<<23+math.Float32bits(1))
}

func expSumGeneric(x []float32, scale float32) float32 {
	top := x[0]
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	var sums [lanes]float32
	for i, v := range x {
		x[i] = exp(scale * (v - top))
		sums[i%lanes] += x[i]
	}
	return addLanes(&sums)
}

// lanes is the widest vector in floats, and how many sums there are of what vectors add.
const lanes = 16

func addLanes(sums *[lanes]float32) float32 {
	var sum float64
	for _, v := range sums {
		sum += float64(v)
	}
	return float32(sum)
}

func siLUMulGeneric(gate, up []float32) {
	for i, x := range gate {
		// With e = e^-|x| nothing overflows: 1/(1+e⁻ˣ) is e/(1+e) for x < 0.
		e := exp(-float32(math.Abs(float64(x))))
		gate[i] = fma(e, min(x, 0), max(x, 0)) / (1 + e) * up[i]
	}
}

// ExpSum replaces each x[i] by exp(scale·(x[i] - m)), where m is the largest,
// and returns their sum: the numerators and the denominator of softmax. scale
// must not be negative. The relative error of a term is below 2⁻²¹ plus what
// rounding scale·(x[i] - m) costs; terms below 10⁻³⁸ may become 0.
func ExpSum(x []float32, scale float32) float32 {
	if len(x) == 0 {
		return 0
	}
	return expSum(x, scale)
}

// GELUMul sets gate[i] to gelu(gate[i])·up[i], in the form with tanh, where gelu(x) =
// x / (1 + e⁻ᶻ) and z = √(8/π) · (x + 0.044715 x³), with a relative error below 2⁻¹⁸. up
// is at least as long as gate, and overwritten.
func GELUMul(gate, up []float32) {
	up = up[:len(gate)]
	for i, x := range gate {
		// z = x·t. Beyond |x| = 12 e⁻ᶻ counts no more, or nothing else does.
		t := float32(1.5957691216) * (1 + float32(0.044715*min(float32(x*x), 144)))
		gate[i], up[i] = x*t, up[i]/t
	}
	siLUMul(gate, up)
}

// SiLUMul sets gate[i] to silu(gate[i])·up[i], where silu(x) = x / (1 + e⁻ˣ),
// with a relative error below 2⁻²⁰. up is at least as long as gate.
func SiLUMul(gate, up []float32) { siLUMul(gate, up[:len(gate)]) }
