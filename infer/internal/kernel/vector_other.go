//go:build !amd64 || purego

package kernel

func expSum(x []float32, scale float32) float32 { return expSumGeneric(x, scale) }
func siLUMul(gate, up []float32)                { siLUMulGeneric(gate, up) }

func hasBF16() bool { return false }

func tileBF16(c []float32, ldc int, a, b []Pair) { tileBF16Generic(c, ldc, a, b) }
func roundPairs(dst []Pair, src []float32)       { roundPairsGeneric(dst, src) }
