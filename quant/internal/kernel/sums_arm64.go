//go:build arm64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// sumLanes is how many rows the kernels sum at a time.
const sumLanes = 4

// sumSquaresNEON stores the sums of squares of 4 rows of size values, a multiple of
// 4.
//
//go:noescape
func sumSquaresNEON(sums, x *float32, size int)

// sumMagnitudesNEON is sumSquaresNEON for magnitudes.
//
//go:noescape
func sumMagnitudesNEON(sums, x *float32, size int)

// SumSquares stores the sums of the squares of rows of size values, a multiple of
// 4, which follow each other in x, and returns for how many rows: 4, or 0 if there
// are fewer, or if a sum is NaN, of which there may be several.
func SumSquares(sums, x []float32, size int) int {
	if !summable(sums, x, size) {
		return 0
	}
	sumSquaresNEON(&sums[0], &x[0], size)
	return summed(sums)
}

// SumMagnitudes is SumSquares for sums of magnitudes.
func SumMagnitudes(sums, x []float32, size int) int {
	if !summable(sums, x, size) {
		return 0
	}
	sumMagnitudesNEON(&sums[0], &x[0], size)
	return summed(sums)
}

// summable reports whether there are rows and kernels to sum them.
func summable(sums, x []float32, size int) bool {
	if isa.Current() == isa.Generic || len(sums) < sumLanes || size <= 0 || size%4 != 0 {
		return false
	}
	_ = x[:sumLanes*size]
	return true
}

// summed returns how many rows were summed: none where a sum is NaN.
func summed(sums []float32) int {
	for _, s := range sums[:sumLanes] {
		if s != s {
			return 0
		}
	}
	return sumLanes
}
