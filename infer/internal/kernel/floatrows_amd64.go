//go:build amd64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// floatRowKernels has the kernels of each type.
var floatRowKernels = map[gguf.Type]struct {
	avx2, avx512 func(dst *float32, rows int, w *byte, x *float32, n int)
}{
	gguf.F32:  {dotRowsF32AVX2, dotRowsF32AVX512},
	gguf.F16:  {dotRowsF16AVX2, dotRowsF16AVX512},
	gguf.BF16: {dotRowsBF16AVX2, dotRowsBF16AVX512},
}

func canDotFloatRows(t gguf.Type) bool {
	_, ok := floatRowKernels[t]
	return ok && isa.Current() != isa.Generic
}

// dotFloatRows is DotFloatRows for at least one row.
func dotFloatRows(t gguf.Type, dst []float32, rows []byte, x []float32) {
	dot := floatRowKernels[t].avx2
	if isa.Current() == isa.AVX512 {
		dot = floatRowKernels[t].avx512
	}
	dot(&dst[0], len(dst), &rows[0], &x[0], len(x))
}
