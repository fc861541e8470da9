//go:build arm64 && !purego

package kernel

import (
	"unsafe"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// rowKernels has the kernels of each type. points are those of its grid, if it has
// one.
var rowKernels = map[gguf.Type]struct {
	neon, dotProd func(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)
}{
	gguf.Q4_0:    {dotQ4_0NEON, dotQ4_0DotProd},
	gguf.Q4_1:    {dotQ4_1NEON, dotQ4_1DotProd},
	gguf.Q5_0:    {dotQ5_0NEON, dotQ5_0DotProd},
	gguf.Q5_1:    {dotQ5_1NEON, dotQ5_1DotProd},
	gguf.Q8_0:    {dotQ8_0NEON, dotQ8_0DotProd},
	gguf.Q2_K:    {dotQ2_KNEON, dotQ2_KDotProd},
	gguf.Q3_K:    {dotQ3_KNEON, dotQ3_KDotProd},
	gguf.Q4_K:    {dotQ4_KNEON, dotQ4_KDotProd},
	gguf.Q5_K:    {dotQ5_KNEON, dotQ5_KDotProd},
	gguf.Q6_K:    {dotQ6_KNEON, dotQ6_KDotProd},
	gguf.IQ1_S:   {dotIQ1_SNEON, dotIQ1_SDotProd},
	gguf.IQ1_M:   {dotIQ1_MNEON, dotIQ1_MDotProd},
	gguf.IQ2_XXS: {dotIQ2_XXSNEON, dotIQ2_XXSDotProd},
	gguf.IQ2_XS:  {dotIQ2_XSNEON, dotIQ2_XSDotProd},
	gguf.IQ2_S:   {dotIQ2_SNEON, dotIQ2_SDotProd},
	gguf.IQ3_XXS: {dotIQ3_XXSNEON, dotIQ3_XXSDotProd},
	gguf.IQ3_S:   {dotIQ3_SNEON, dotIQ3_SDotProd},
	gguf.IQ4_NL:  {dotIQ4_NLNEON, dotIQ4_NLDotProd},
	gguf.IQ4_XS:  {dotIQ4_XSNEON, dotIQ4_XSDotProd},
	gguf.TQ1_0:   {dotTQ1_0NEON, dotTQ1_0DotProd},
	gguf.TQ2_0:   {dotTQ2_0NEON, dotTQ2_0DotProd},
	gguf.MXFP4:   {dotMXFP4NEON, dotMXFP4DotProd},
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
	dot := rowKernels[t].neon
	if isa.Has(isa.DotProd) {
		dot = rowKernels[t].dotProd
	}
	dot(&dst[0], len(dst), &rows[0], &x[0].Q[0], len(x), unsafe.SliceData(quant.Grid(t)))
}
