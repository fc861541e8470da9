//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

//go:generate go run -C ../../_asm ./columns -pkg kernel -out ../internal/kernel/columns_amd64.s -stubs ../internal/kernel/columns_stubs_amd64.go

// ColumnsQ40 does ColumnsQ40 of package quant for columns from the first on, and returns
// for how many.
func ColumnsQ40(dst []byte, stride int, d []uint16, words []byte, width int) int {
	n := len(d) &^ 7
	if n == 0 || isa.Current() == isa.Generic {
		return 0
	}
	_, _ = dst[stride*(n-1):][:18], words[4*(3*width):][:4*n]
	columnsQ40AVX2(&dst[0], stride, &d[0], &words[0], width, n)
	return n
}
