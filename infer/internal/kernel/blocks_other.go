//go:build !amd64 || purego

package kernel

func hasBlocksInt8() bool { return false }

func blocksInt8([]float32, []int8, []int32, []float32, []uint8, []float32, int) {
	panic("kernel: no instructions for whole rows")
}
