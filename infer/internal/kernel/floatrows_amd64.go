//go:build amd64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

func canDotFloatRows() bool { return isa.Current() != isa.Generic }

// dotFloatRows is DotFloatRows for at least one row.
func dotFloatRows(t gguf.Type, dst []float32, rows []byte, x []float32) {
	d, n, w, v := &dst[0], len(dst), &rows[0], &x[0]
	tier := isa.Current()
	switch {
	case t == gguf.F32 && tier == isa.AVX512:
		dotRowsF32AVX512(d, n, w, v, len(x))
	case t == gguf.F32 && tier == isa.AVX2:
		dotRowsF32AVX2(d, n, w, v, len(x))
	case t == gguf.F16 && tier == isa.AVX512:
		dotRowsF16AVX512(d, n, w, v, len(x))
	case t == gguf.F16 && tier == isa.AVX2:
		dotRowsF16AVX2(d, n, w, v, len(x))
	case t == gguf.BF16 && tier == isa.AVX512:
		dotRowsBF16AVX512(d, n, w, v, len(x))
	case t == gguf.BF16 && tier == isa.AVX2:
		dotRowsBF16AVX2(d, n, w, v, len(x))
	}
}
