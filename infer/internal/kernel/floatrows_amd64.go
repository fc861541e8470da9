//go:build amd64 && !purego

package kernel

import (
	"unsafe"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// floatRowKernels has the kernels of each type.
var floatRowKernels = map[gguf.Type]struct {
	avx2, avx512 floatRowKernel
}{
	gguf.F32:  {floatRowKernel{dotRowsF32AVX2, addRowsF32AVX2}, floatRowKernel{dotRowsF32AVX512, addRowsF32AVX512}},
	gguf.F16:  {floatRowKernel{dotRowsF16AVX2, addRowsF16AVX2}, floatRowKernel{dotRowsF16AVX512, addRowsF16AVX512}},
	gguf.BF16: {floatRowKernel{dotRowsBF16AVX2, addRowsBF16AVX2}, floatRowKernel{dotRowsBF16AVX512, addRowsBF16AVX512}},
}

type floatRowKernel struct {
	dot func(dst *float32, rows int, w *byte, x *float32, n int)
	add func(dst *float32, n int, w *byte, rows, stride int, factors *float32)
}

func canDotFloatRows(t gguf.Type) bool {
	_, ok := floatRowKernels[t]
	return ok && isa.Current() != isa.Generic
}

func floatRowKernelOf(t gguf.Type) floatRowKernel {
	if isa.Current() == isa.AVX512 {
		return floatRowKernels[t].avx512
	}
	return floatRowKernels[t].avx2
}

// dotFloatRows is DotFloatRows for at least one row.
func dotFloatRows(t gguf.Type, dst []float32, rows []byte, x []float32) {
	floatRowKernelOf(t).dot(&dst[0], len(dst), &rows[0], &x[0], len(x))
}

// dotFloats is DotEach for at least one row that dotFloatRows can do: in memory it is as those of files.
func dotFloats(dst, rows, x []float32) {
	floatRowKernelOf(gguf.F32).dot(&dst[0], len(dst), (*byte)(unsafe.Pointer(&rows[0])), &x[0], len(x))
}

// addFloatRows is AddFloatRows for at least one row.
func addFloatRows(t gguf.Type, dst []float32, rows []byte, stride int, factors []float32) {
	floatRowKernelOf(t).add(&dst[0], len(dst), &rows[0], len(factors), stride, &factors[0])
}
