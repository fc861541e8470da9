//go:build amd64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./rowdot -pkg kernel -out ../internal/kernel/rowdot_amd64.s -stubs ../internal/kernel/rowdot_stubs_amd64.go

func canDotRows(t gguf.Type) bool {
	switch t {
	case gguf.Q4_0, gguf.Q8_0, gguf.IQ4_NL, gguf.IQ4_XS, gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K:
		return isa.Current() != isa.Generic
	default:
		return false
	}
}

// dotRows is DotRows for at least one row and Vector8.
func dotRows(t gguf.Type, dst []float32, rows []byte, x []Vector8) {
	d, n, w, v, vectors := &dst[0], len(dst), &rows[0], &x[0].Q[0], len(x)
	tier := isa.Current()
	switch {
	case t == gguf.Q4_0 && tier == isa.AVX512:
		dotQ4_0AVX512(d, n, w, v, vectors)
	case t == gguf.Q4_0 && tier == isa.AVX2:
		dotQ4_0AVX2(d, n, w, v, vectors)
	case t == gguf.IQ4_NL && tier == isa.AVX512:
		dotIQ4NLAVX512(d, n, w, v, vectors)
	case t == gguf.IQ4_NL && tier == isa.AVX2:
		dotIQ4NLAVX2(d, n, w, v, vectors)
	case t == gguf.IQ4_XS && tier == isa.AVX512:
		dotIQ4XSAVX512(d, n, w, v, vectors)
	case t == gguf.IQ4_XS && tier == isa.AVX2:
		dotIQ4XSAVX2(d, n, w, v, vectors)
	case t == gguf.Q8_0 && tier == isa.AVX512:
		dotQ8_0AVX512(d, n, w, v, vectors)
	case t == gguf.Q8_0 && tier == isa.AVX2:
		dotQ8_0AVX2(d, n, w, v, vectors)
	case t == gguf.Q4_K && tier == isa.AVX512:
		dotQ4KAVX512(d, n, w, v, vectors)
	case t == gguf.Q4_K && tier == isa.AVX2:
		dotQ4KAVX2(d, n, w, v, vectors)
	case t == gguf.Q6_K && tier == isa.AVX512:
		dotQ6KAVX512(d, n, w, v, vectors)
	case t == gguf.Q6_K && tier == isa.AVX2:
		dotQ6KAVX2(d, n, w, v, vectors)
	case t == gguf.Q5_K && tier == isa.AVX512:
		dotQ5KAVX512(d, n, w, v, vectors)
	case t == gguf.Q5_K && tier == isa.AVX2:
		dotQ5KAVX2(d, n, w, v, vectors)
	case t == gguf.Q3_K && tier == isa.AVX512:
		dotQ3KAVX512(d, n, w, v, vectors)
	case t == gguf.Q3_K && tier == isa.AVX2:
		dotQ3KAVX2(d, n, w, v, vectors)
	case t == gguf.Q2_K && tier == isa.AVX512:
		dotQ2KAVX512(d, n, w, v, vectors)
	case t == gguf.Q2_K && tier == isa.AVX2:
		dotQ2KAVX2(d, n, w, v, vectors)
	default:
		panic("kernel: no product for rows of " + t.String())
	}
}
