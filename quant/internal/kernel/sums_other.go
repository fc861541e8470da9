//go:build (!amd64 && !arm64) || purego

package kernel

// SumSquares does nothing: there is no kernel.
func SumSquares(sums, x []float32, size int) int { return 0 }

// SumMagnitudes does nothing: there is no kernel.
func SumMagnitudes(sums, x []float32, size int) int { return 0 }
