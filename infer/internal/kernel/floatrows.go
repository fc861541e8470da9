package kernel

import "github.com/ggufkit/ggufkit/gguf"

// CanDotFloatRows reports whether DotFloatRows can do rows of n elements of a
// type, which depends on the instruction set.
func CanDotFloatRows(t gguf.Type, n int) bool {
	return n > 0 && n%dotStep == 0 && canDotFloatRows(t)
}

// DotFloatRows sets each element of dst to the product of a row, elements of type
// t, and x. The result is, bit for bit, that of Dot and the row in float32.
//
// DotFloatRows panics if CanDotFloatRows says no.
func DotFloatRows(t gguf.Type, dst []float32, rows []byte, x []float32) {
	if !CanDotFloatRows(t, len(x)) {
		panic("kernel: no product for rows of " + t.String())
	}
	rows = rows[:int64(len(dst))*t.RowBytes(int64(len(x)))]
	if len(rows) > 0 {
		dotFloatRows(t, dst, rows, x)
	}
}
