//go:build (!amd64 && !arm64) || purego

package kernel

// AffineWork is nothing: there is no kernel.
type AffineWork struct{}

// FitAffines does nothing.
func FitAffines(work *AffineWork, q []uint8, x, importance, variances, scales, minima, sums []float32, size int, s Affine) int {
	return 0
}

// RoundAffines does nothing.
func RoundAffines(q []uint8, x, scales, minima []float32, size int, n int32) bool { return false }

// PositiveErrors does nothing.
func PositiveErrors(errors, candidates *[8]float32, x, w []float32, n int32) bool { return false }
