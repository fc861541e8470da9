//go:build arm64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// dotQ8_0NEON is DotRows for Q8_0.
//
//go:noescape
func dotQ8_0NEON(dst *float32, rows int, w *byte, x *int8, vectors int)

// dotQ4KNEON is DotRows for Q4_K.
//
//go:noescape
func dotQ4KNEON(dst *float32, rows int, w *byte, x *int8, vectors int)

// dotQ6KNEON is DotRows for Q6_K.
//
//go:noescape
func dotQ6KNEON(dst *float32, rows int, w *byte, x *int8, vectors int)

// dotQ8_0DotProd is DotRows for Q8_0. It needs FEAT_DotProd.
//
//go:noescape
func dotQ8_0DotProd(dst *float32, rows int, w *byte, x *int8, vectors int)

// dotQ4KDotProd is DotRows for Q4_K. It needs FEAT_DotProd.
//
//go:noescape
func dotQ4KDotProd(dst *float32, rows int, w *byte, x *int8, vectors int)

// dotQ6KDotProd is DotRows for Q6_K. It needs FEAT_DotProd.
//
//go:noescape
func dotQ6KDotProd(dst *float32, rows int, w *byte, x *int8, vectors int)

func canDotRows(t gguf.Type) bool {
	return isa.Current() != isa.Generic && (t == gguf.Q8_0 || t == gguf.Q4_K || t == gguf.Q6_K)
}

// dotRows is DotRows for at least one row and Vector8.
func dotRows(t gguf.Type, dst []float32, rows []byte, x []Vector8) {
	d, n, w, v, vectors := &dst[0], len(dst), &rows[0], &x[0].Q[0], len(x)
	neon := isa.Current() == isa.NEON
	switch {
	case t == gguf.Q8_0 && isa.Has(isa.DotProd):
		dotQ8_0DotProd(d, n, w, v, vectors)
	case neon && t == gguf.Q8_0:
		dotQ8_0NEON(d, n, w, v, vectors)
	case t == gguf.Q4_K && isa.Has(isa.DotProd):
		dotQ4KDotProd(d, n, w, v, vectors)
	case neon && t == gguf.Q4_K:
		dotQ4KNEON(d, n, w, v, vectors)
	case t == gguf.Q6_K && isa.Has(isa.DotProd):
		dotQ6KDotProd(d, n, w, v, vectors)
	case neon && t == gguf.Q6_K:
		dotQ6KNEON(d, n, w, v, vectors)
	default:
		panic("kernel: no product for rows of " + t.String())
	}
}
