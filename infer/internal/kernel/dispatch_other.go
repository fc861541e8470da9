//go:build !amd64 || purego

package kernel

func tile(c []float32, ldc int, a, b []float32) { tileGeneric(c, ldc, a, b) }
func expSum(x []float32, scale float32) float32 { return expSumGeneric(x, scale) }
func siLUMul(gate, up []float32)                { siLUMulGeneric(gate, up) }
