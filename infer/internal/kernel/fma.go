//go:build !arm64

package kernel

import "math"

// fma returns x·y + z, rounded once: what the vector units of amd64 and arm64 do, and
// the compiler where it may take the instruction for granted (fma_arm64.go). The
// product of two floats is exact in float64. Rounding its sum with z twice, to float64 and
// then to float32, is rounding it once, unless the first leaves a tie to the second.
// Results that are not normal numbers may be off by one unit.
func fma(x, y, z float32) float32 {
	sum := float64(x)*float64(y) + float64(z)
	if math.Float64bits(sum)<<35 == 1<<63 { // of the bits that float32 has not
		return fmaTie(x, y, z)
	}
	return float32(sum)
}

// fmaTie is fma where the float64 is a tie: it rounds to the side of what is missing in
// that.
func fmaTie(x, y, z float32) float32 {
	product, addend := float64(x)*float64(y), float64(z)
	sum := product + addend
	part := sum - product
	missing := (product - (sum - part)) + (addend - part) // exact (Knuth's TwoSum)
	switch {
	case missing > 0:
		sum = math.Nextafter(sum, math.Inf(1))
	case missing < 0:
		sum = math.Nextafter(sum, math.Inf(-1))
	}
	return float32(sum)
}
