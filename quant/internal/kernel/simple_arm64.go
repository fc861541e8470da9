//go:build arm64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// The functions below make blocks as those of package quant do that have the same
// names, without importances, from the first on, and return how many they made:
// they stop at a block that has a value which is not finite, or values so small that
// the reciprocal of d is not, and those with a minimum where it is 0.

//go:noescape
func quantizeQ40NEON(dst *byte, src *float32, blocks int) (done int)

//go:noescape
func quantizeQ41NEON(dst *byte, src *float32, blocks int) (done int)

//go:noescape
func quantizeQ50NEON(dst *byte, src *float32, blocks int) (done int)

//go:noescape
func quantizeQ51NEON(dst *byte, src *float32, blocks int) (done int)

//go:noescape
func quantizeQ80NEON(dst *byte, src *float32, blocks int) (done int)

//go:noescape
func quantizeF16NEON(dst *byte, src *float32, blocks int)

//go:noescape
func quantizeBF16NEON(dst *byte, src *float32, blocks int)

// QuantizeQ80 does quantizeQ80 for blocks of x.
func QuantizeQ80(dst []byte, x []float32) int {
	n := len(x) / 32
	if dst = dst[:34*n]; n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	return quantizeQ80NEON(&dst[0], &x[0], n)
}

// QuantizeQ40 does quantizeQ40 for blocks of x.
func QuantizeQ40(dst []byte, x []float32) int {
	n := len(x) / 32
	if dst = dst[:18*n]; n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	return quantizeQ40NEON(&dst[0], &x[0], n)
}

// QuantizeQ41 does quantizeQ41 for blocks of x.
func QuantizeQ41(dst []byte, x []float32) int {
	n := len(x) / 32
	if dst = dst[:20*n]; n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	return quantizeQ41NEON(&dst[0], &x[0], n)
}

// QuantizeQ50 does quantizeQ50 for blocks of x.
func QuantizeQ50(dst []byte, x []float32) int {
	n := len(x) / 32
	if dst = dst[:22*n]; n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	return quantizeQ50NEON(&dst[0], &x[0], n)
}

// QuantizeQ51 does quantizeQ51 for blocks of x.
func QuantizeQ51(dst []byte, x []float32) int {
	n := len(x) / 32
	if dst = dst[:24*n]; n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	return quantizeQ51NEON(&dst[0], &x[0], n)
}

// QuantizeF16 does quantizeF16 for chunks of 16 values of x.
func QuantizeF16(dst []byte, x []float32) int {
	n := len(x) / 16
	if dst = dst[:32*n]; n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	quantizeF16NEON(&dst[0], &x[0], n)
	return n
}

// QuantizeBF16 does quantizeBF16 for chunks of 16 values of x.
func QuantizeBF16(dst []byte, x []float32) int {
	n := len(x) / 16
	if dst = dst[:32*n]; n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	quantizeBF16NEON(&dst[0], &x[0], n)
	return n
}

// QuantizeMXFP4 does nothing: there is no kernel.
func QuantizeMXFP4(_ []byte, _ []float32) int { return 0 }

// QuantizeNVFP4 does nothing: there is no kernel.
func QuantizeNVFP4(_ []byte, _ []float32) int { return 0 }

// SignsQ10 does nothing: there is no kernel.
func SignsQ10(_ []byte, _ []float32) int { return 0 }

// QuantizeQ20 does nothing: there is no kernel.
func QuantizeQ20(_ []byte, _ []float32) int { return 0 }

// QuantizeTQ10 does nothing: there is no kernel.
func QuantizeTQ10(_ []byte, _ []float32) int { return 0 }

// QuantizeTQ20 does nothing: there is no kernel.
func QuantizeTQ20(_ []byte, _ []float32) int { return 0 }
