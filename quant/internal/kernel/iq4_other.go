//go:build (!amd64 && !arm64) || purego

package kernel

// FitIQ4 does nothing: there is no kernel.
func FitIQ4(scales, x, importance, variances []float32) int { return 0 }

// PackIQ4 does nothing: there is no kernel.
func PackIQ4(dst []byte, stride int, x, inverses []float32) int { return 0 }
