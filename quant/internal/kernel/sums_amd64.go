//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

//go:generate go run -C ../../_asm ./sums -pkg kernel -out ../internal/kernel/sums_amd64.s -stubs ../internal/kernel/sums_stubs_amd64.go

// SumSquares stores the sums of the squares of rows of size values, a multiple of
// 16, which follow each other in x, and returns for how many rows.
func SumSquares(sums, x []float32, size int) int {
	switch n := rowsToSum(sums, x, size); n {
	case 16:
		sumSquaresAVX512(&x[0], size, &sums[0])
		return n
	case 8:
		sumSquaresAVX2(&x[0], size, &sums[0])
		return n
	default:
		return 0
	}
}

// SumMagnitudes is SumSquares for sums of magnitudes.
func SumMagnitudes(sums, x []float32, size int) int {
	switch n := rowsToSum(sums, x, size); n {
	case 16:
		sumMagnitudesAVX512(&x[0], size, &sums[0])
		return n
	case 8:
		sumMagnitudesAVX2(&x[0], size, &sums[0])
		return n
	default:
		return 0
	}
}

// rowsToSum returns how many rows to sum: as many as there are lanes, or 0 if there
// are fewer.
func rowsToSum(sums, x []float32, size int) int {
	n := 0
	switch tier := isa.Current(); {
	case size <= 0 || size%16 != 0:
	case tier == isa.AVX512 && len(sums) >= 16:
		n = 16
	case tier != isa.Generic && len(sums) >= 8:
		n = 8
	}
	_ = x[:n*max(size, 0)]
	return n
}
