//go:build (amd64 || arm64) && !purego

package kernel

import (
	"unsafe"

	"github.com/ggufkit/ggufkit/quant/isa"
)

// QuantizeF32 stores values as they are in memory, little-endian, and returns how many.
func QuantizeF32(dst []byte, x []float32) int {
	if isa.Current() == isa.Generic {
		return 0
	}
	return copy(dst[:4*len(x)], unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))) / 4
}
