//go:build !amd64 || purego

package kernel

func tile(c []float32, ldc int, a, b []float32) { tileGeneric(c, ldc, a, b) }
func expSum(x []float32, scale float32) float32 { return expSumGeneric(x, scale) }
func siLUMul(gate, up []float32)                { siLUMulGeneric(gate, up) }

func tilesInt8(c []float32, a []int8, starts []int32, scales []float32, b []uint8, rightScales []float32) {
	tilesInt8Generic(c, a, starts, scales, b, rightScales)
}

func topBits(x *[Int8Block]float32) uint32 { return topBitsGeneric(x) }

func roundInt8(q *[Int8Block]int8, x *[Int8Block]float32, factor float32) int32 {
	return roundInt8Generic(q, x, factor)
}

func hasBF16() bool { return false }

func tileBF16(c []float32, ldc int, a, b []Pair) { tileBF16Generic(c, ldc, a, b) }
func roundPairs(dst []Pair, src []float32)       { roundPairsGeneric(dst, src) }
