//go:build amd64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./rowdot -pkg kernel -out ../internal/kernel/rowdot_amd64.s -stubs ../internal/kernel/rowdot_stubs_amd64.go

// rowKernels has the kernels of each type.
var rowKernels = map[gguf.Type]struct {
	avx2, avx512 func(dst *float32, rows int, w *byte, x *int8, vectors int)
}{
	gguf.Q4_0:   {dotQ4_0AVX2, dotQ4_0AVX512},
	gguf.Q8_0:   {dotQ8_0AVX2, dotQ8_0AVX512},
	gguf.IQ4_NL: {dotIQ4NLAVX2, dotIQ4NLAVX512},
	gguf.IQ4_XS: {dotIQ4XSAVX2, dotIQ4XSAVX512},
	gguf.Q2_K:   {dotQ2KAVX2, dotQ2KAVX512},
	gguf.Q3_K:   {dotQ3KAVX2, dotQ3KAVX512},
	gguf.Q4_K:   {dotQ4KAVX2, dotQ4KAVX512},
	gguf.Q5_K:   {dotQ5KAVX2, dotQ5KAVX512},
	gguf.Q6_K:   {dotQ6KAVX2, dotQ6KAVX512},
}

func canDotRows(t gguf.Type) bool {
	_, ok := rowKernels[t]
	return ok && isa.Current() != isa.Generic
}

// dotRows is DotRows for at least one row and Vector8.
func dotRows(t gguf.Type, dst []float32, rows []byte, x []Vector8) {
	if !canDotRows(t) {
		panic("kernel: no product for rows of " + t.String())
	}
	dot := rowKernels[t].avx2
	if isa.Current() == isa.AVX512 {
		dot = rowKernels[t].avx512
	}
	dot(&dst[0], len(dst), &rows[0], &x[0].Q[0], len(x))
}
