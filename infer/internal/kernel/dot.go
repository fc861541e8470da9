package kernel

// dotStep is how many products are summed side by side.
const dotStep = 64

// Dot returns the sum of a[i]*b[i]; b is as long as a. Every 64th product is
// summed on its own, and then the sums in pairs, so that the error is at most
// (len/64 + 7)·2⁻²⁴·Σ|a·b|, to first order. Multiplications and additions are fused,
// but for those at the end: all instruction sets give the same bits.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	var lanes [dotStep]float32
	whole := len(a) / dotStep * dotStep
	if whole > 0 {
		dotLanes(&lanes, a[:whole], b[:whole])
	}
	for i, v := range a[whole:] {
		lanes[i] += float32(v * b[whole+i])
	}
	for n := dotStep / 2; n > 0; n /= 2 {
		for i := range n {
			lanes[i] += lanes[i+n]
		}
	}
	return lanes[0]
}

// dotLanesGeneric sets the lanes to the sums of every 64th product.
func dotLanesGeneric(lanes *[dotStep]float32, a, b []float32) {
	for ; len(a) > 0; a, b = a[dotStep:], b[dotStep:] {
		x, y := a[:dotStep], b[:dotStep]
		for i := range lanes {
			lanes[i] = fma(x[i], y[i], lanes[i])
		}
	}
}

// AddScaled adds factor*x[i] to dst[i]; x is as long as dst. Each is rounded once, but for
// those after the last 64, which are rounded twice: on every instruction set.
func AddScaled(dst, x []float32, factor float32) {
	x = x[:len(dst)]
	whole := len(dst) / dotStep * dotStep
	if whole > 0 {
		addScaled(dst[:whole], x[:whole], factor)
	}
	for i, v := range x[whole:] {
		dst[whole+i] += float32(v * factor)
	}
}

func addScaledGeneric(dst, x []float32, factor float32) {
	for i, v := range x {
		dst[i] = fma(v, factor, dst[i])
	}
}
