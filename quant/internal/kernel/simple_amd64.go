//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

//go:generate go run -C ../../_asm ./simple -pkg kernel -out ../internal/kernel/simple_amd64.s -stubs ../internal/kernel/simple_stubs_amd64.go

// The functions below make blocks as those of package quant do that have the same
// names, without importances, from the first on, and return how many they made:
// they stop at a block that is for the generic code, such as one with a value
// that is not finite.

// operands returns the number of blocks of x, which have size values each, and
// limits dst to their bytes.
func operands(dst []byte, blockBytes int, x []float32, size int) (_ []byte, _ []float32, n int) {
	n = len(x) / size
	return dst[:blockBytes*n], x[:size*n], n
}

// QuantizeQ80 does quantizeQ80 for blocks of x.
func QuantizeQ80(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 34, x, 32)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeQ80AVX512(&dst[0], &x[0], n)
	default:
		return quantizeQ80AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeQ40 does quantizeQ40 for blocks of x.
func QuantizeQ40(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 18, x, 32)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeQ40AVX512(&dst[0], &x[0], n)
	default:
		return quantizeQ40AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeQ41 does quantizeQ41 for blocks of x.
func QuantizeQ41(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 20, x, 32)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeQ41AVX512(&dst[0], &x[0], n)
	default:
		return quantizeQ41AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeQ50 does quantizeQ50 for blocks of x.
func QuantizeQ50(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 22, x, 32)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeQ50AVX512(&dst[0], &x[0], n)
	default:
		return quantizeQ50AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeQ51 does quantizeQ51 for blocks of x.
func QuantizeQ51(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 24, x, 32)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeQ51AVX512(&dst[0], &x[0], n)
	default:
		return quantizeQ51AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeMXFP4 does quantizeMXFP4 for blocks of x.
func QuantizeMXFP4(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 17, x, 32)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeMXFP4AVX512(&dst[0], &x[0], n)
	default:
		return quantizeMXFP4AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeNVFP4 does quantizeNVFP4 for blocks of x.
func QuantizeNVFP4(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 36, x, 64)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeNVFP4AVX512(&dst[0], &x[0], n)
	default:
		return quantizeNVFP4AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeF16 does quantizeF16 for chunks of 16 values of x.
func QuantizeF16(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 32, x, 16)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeF16AVX512(&dst[0], &x[0], n)
	default:
		return quantizeF16AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeBF16 does quantizeBF16 for chunks of 16 values of x.
func QuantizeBF16(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 32, x, 16)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeBF16AVX512(&dst[0], &x[0], n)
	default:
		return quantizeBF16AVX2(&dst[0], &x[0], n)
	}
}

// SignsQ10 makes blocks as quantizeQ10 does, but for d.
func SignsQ10(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 18, x, 128)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return signsQ10AVX512(&dst[0], &x[0], n)
	default:
		return signsQ10AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeQ20 does quantizeQ20 for blocks of x.
func QuantizeQ20(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 18, x, 64)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeQ20AVX512(&dst[0], &x[0], n)
	default:
		return quantizeQ20AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeTQ10 does quantizeTQ10 for blocks of x.
func QuantizeTQ10(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 54, x, 256)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeTQ10AVX512(&dst[0], &x[0], n)
	default:
		return quantizeTQ10AVX2(&dst[0], &x[0], n)
	}
}

// QuantizeTQ20 does quantizeTQ20 for blocks of x.
func QuantizeTQ20(dst []byte, x []float32) int {
	dst, x, n := operands(dst, 66, x, 256)
	switch tier := isa.Current(); {
	case n == 0 || tier == isa.Generic:
		return 0
	case tier == isa.AVX512:
		return quantizeTQ20AVX512(&dst[0], &x[0], n)
	default:
		return quantizeTQ20AVX2(&dst[0], &x[0], n)
	}
}
