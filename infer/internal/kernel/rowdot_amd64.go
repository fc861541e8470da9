//go:build amd64 && !purego

package kernel

import (
	"unsafe"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./rowdot -pkg kernel -out ../internal/kernel/rowdot_amd64.s -stubs ../internal/kernel/rowdot_stubs_amd64.go

// rowKernels has the kernels of each type. points are those of its grid, if it has one.
var rowKernels = map[gguf.Type]struct {
	avx2, avx512 func(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)
}{
	gguf.Q4_0:    {dotQ4_0AVX2, dotQ4_0AVX512},
	gguf.Q4_1:    {dotQ4_1AVX2, dotQ4_1AVX512},
	gguf.Q5_0:    {dotQ5_0AVX2, dotQ5_0AVX512},
	gguf.Q5_1:    {dotQ5_1AVX2, dotQ5_1AVX512},
	gguf.Q8_0:    {dotQ8_0AVX2, dotQ8_0AVX512},
	gguf.Q2_K:    {dotQ2_KAVX2, dotQ2_KAVX512},
	gguf.Q3_K:    {dotQ3_KAVX2, dotQ3_KAVX512},
	gguf.Q4_K:    {dotQ4_KAVX2, dotQ4_KAVX512},
	gguf.Q5_K:    {dotQ5_KAVX2, dotQ5_KAVX512},
	gguf.Q6_K:    {dotQ6_KAVX2, dotQ6_KAVX512},
	gguf.IQ1_S:   {dotIQ1_SAVX2, dotIQ1_SAVX512},
	gguf.IQ1_M:   {dotIQ1_MAVX2, dotIQ1_MAVX512},
	gguf.IQ2_XXS: {dotIQ2_XXSAVX2, dotIQ2_XXSAVX512},
	gguf.IQ2_XS:  {dotIQ2_XSAVX2, dotIQ2_XSAVX512},
	gguf.IQ2_S:   {dotIQ2_SAVX2, dotIQ2_SAVX512},
	gguf.IQ3_XXS: {dotIQ3_XXSAVX2, dotIQ3_XXSAVX512},
	gguf.IQ3_S:   {dotIQ3_SAVX2, dotIQ3_SAVX512},
	gguf.IQ4_NL:  {dotIQ4_NLAVX2, dotIQ4_NLAVX512},
	gguf.IQ4_XS:  {dotIQ4_XSAVX2, dotIQ4_XSAVX512},
	gguf.TQ1_0:   {dotTQ1_0AVX2, dotTQ1_0AVX512},
	gguf.TQ2_0:   {dotTQ2_0AVX2, dotTQ2_0AVX512},
	gguf.MXFP4:   {dotMXFP4AVX2, dotMXFP4AVX512},
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
	dot(&dst[0], len(dst), &rows[0], &x[0].Q[0], len(x), unsafe.SliceData(quant.Grid(t)))
}
