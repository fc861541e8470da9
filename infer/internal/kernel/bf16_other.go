//go:build !amd64 || purego

package kernel

func hasBF16() bool { return false }

func tileBF16(c []float32, ldc int, a, b []Pair) { tileBF16Generic(c, ldc, a, b) }
func roundPairs(dst []Pair, src []float32)       { roundPairsGeneric(dst, src) }
