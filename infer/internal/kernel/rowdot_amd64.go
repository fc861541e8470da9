//go:build amd64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./rowdot -pkg kernel -out ../internal/kernel/rowdot_amd64.s -stubs ../internal/kernel/rowdot_stubs_amd64.go

func canDotRow() bool { return isa.Current() != isa.Generic }

// dotRow is DotRow for at least one Vector8.
func dotRow(t gguf.Type, row []byte, x []Vector8) float32 {
	w, v, n := &row[0], &x[0].Q[0], len(x)
	tier := isa.Current()
	switch {
	case t == gguf.Q8_0 && tier == isa.AVX512:
		return dotQ8_0AVX512(w, v, n)
	case t == gguf.Q8_0 && tier == isa.AVX2:
		return dotQ8_0AVX2(w, v, n)
	case t == gguf.Q4_K && tier == isa.AVX512:
		return dotQ4KAVX512(w, v, n)
	case t == gguf.Q4_K && tier == isa.AVX2:
		return dotQ4KAVX2(w, v, n)
	case t == gguf.Q6_K && tier == isa.AVX512:
		return dotQ6KAVX512(w, v, n)
	case t == gguf.Q6_K && tier == isa.AVX2:
		return dotQ6KAVX2(w, v, n)
	}
	panic("kernel: no product for rows of " + t.String())
}
