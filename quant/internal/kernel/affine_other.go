//go:build !amd64 || purego

package kernel

// FitAffine does nothing: there is no kernel.
func FitAffine(q []uint8, x, w, scales, minima []float32, size int, s Affine) int { return 0 }
