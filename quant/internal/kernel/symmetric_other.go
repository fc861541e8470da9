//go:build (!amd64 && !arm64) || purego

package kernel

// FitSymmetric does nothing: there is no kernel.
func FitSymmetric(q []uint8, x, w, scales, totals []float32, size int, n float32) int { return 0 }

// FitByDescent does nothing: there is no kernel.
func FitByDescent(q []uint8, x, scales []float32, n float32) int { return 0 }

// FitScales does nothing: there is no kernel.
func FitScales(levels []uint8, scales, d []float32, n float32) int { return 0 }

// RoundSubBlocks does nothing: there is no kernel.
func RoundSubBlocks(q []uint8, x, scales []float32, n float32) bool { return false }

// WeighValues does nothing: there is no kernel.
func WeighValues(w, x, importance []float32, variance float32) int { return 0 }

// PackQ6K does nothing: there is no kernel.
func PackQ6K(blocks, q []uint8) bool { return false }

// PackQ3K does nothing: there is no kernel.
func PackQ3K(blocks, q []uint8) bool { return false }
