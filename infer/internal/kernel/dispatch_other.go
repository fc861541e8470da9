//go:build (!amd64 && !arm64) || purego

package kernel

func tile(c []float32, ldc int, a, b []float32) { tileGeneric(c, ldc, a, b) }
func expSum(x []float32, scale float32) float32 { return expSumGeneric(x, scale) }
func siLUMul(gate, up []float32)                { siLUMulGeneric(gate, up) }

func tilesInt8(c []float32, a []int8, starts []int32, scales []float32, b []uint8, rightScales []float32) {
	tilesInt8Generic(c, a, starts, scales, b, rightScales)
}

func quantizeInt8(q []int8, x, scales []float32, sums []int32) {
	quantizeInt8Generic(q, x, scales, sums)
}
