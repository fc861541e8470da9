package kernel

import "github.com/ggufkit/ggufkit/gguf"

// floatPart is what the length of rows of floats is a multiple of.
const floatPart = 16

// CanDotFloatRows reports whether DotFloatRows and AddFloatRows can do n elements of rows of a
// type, which depends on the instruction set.
func CanDotFloatRows(t gguf.Type, n int) bool {
	return n > 0 && n%floatPart == 0 && canDotFloatRows(t)
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

// DotEach sets each element of dst to Dot of a row, one after another in rows, and x.
func DotEach(dst, rows, x []float32) {
	rows = rows[:len(dst)*len(x)]
	if len(dst) > 0 && CanDotFloatRows(gguf.F32, len(x)) {
		dotFloats(dst, rows, x)
		return
	}
	for i := range dst {
		dst[i] = Dot(x, rows[i*len(x):][:len(x)])
	}
}

// AddFloatRows adds to dst each of as many rows as there are factors, times its factor: of rows of rowLen elements of type t the
// first, as many as dst has. The result is, bit for bit, that of AddScaled of one after the other in float32.
//
// AddFloatRows panics if CanDotFloatRows says no of as many elements as dst has.
func AddFloatRows(t gguf.Type, dst []float32, rows []byte, rowLen int, factors []float32) {
	if !CanDotFloatRows(t, len(dst)) || len(dst) > rowLen {
		panic("kernel: no sum of rows of " + t.String())
	}
	stride := int(t.RowBytes(int64(rowLen)))
	rows = rows[:len(factors)*stride]
	if len(rows) > 0 {
		addFloatRows(t, dst, rows, stride, factors)
	}
}
