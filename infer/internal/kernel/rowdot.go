package kernel

import (
	"math"

	"github.com/ggufkit/ggufkit/gguf"
)

// Vector8 is 256 elements of a vector as integers: x is about Scale*Q. Sums has
// those of sixteen integers each.
type Vector8 struct {
	Q     [256]int8
	Sums  [16]int16
	Scale float32
	_     [28]byte // the assembly counts on 320 bytes
}

// QuantizeVector fills dst with x, which has 256 times as many elements: the
// largest magnitude of 256 becomes 127, and halves are rounded to even.
func QuantizeVector(dst []Vector8, x []float32) {
	for b := range dst {
		v, x := &dst[b], x[256*b:][:256]
		var largest float32
		for _, f := range x {
			largest = max(largest, math.Float32frombits(math.Float32bits(f)&^(1<<31)))
		}
		v.Scale = largest / 127
		var inverse float32
		if v.Scale > 0 {
			inverse = 1 / v.Scale
		}
		for s := range v.Sums {
			var sum int16
			for i := 16 * s; i < 16*s+16; i++ {
				// 1.5 * 2^23 leaves the integer in the low bits of the mantissa.
				q := int8(math.Float32bits(float32(x[i]*inverse) + 12582912))
				v.Q[i] = q
				sum += int16(q)
			}
			v.Sums[s] = sum
		}
	}
}

// CanDotRows reports whether DotRows can do rows of a type, which depends on the
// instruction set.
func CanDotRows(t gguf.Type) bool {
	return canDotRows(t)
}

// DotRows sets each element of dst to the product of a row, blocks of type t one
// after another, and a vector of as many elements. The sums of products of integers
// are exact; what they are worth is added in float32, so a result differs from that
// of Dot and the dequantized row by at most (elements/32 + 16)·2⁻²⁴·Σ|w·x|, to
// first order, where that counts the parts of w, scale times integer and
// minimum, one by one.
//
// DotRows panics if CanDotRows says no.
func DotRows(t gguf.Type, dst []float32, rows []byte, x []Vector8) {
	rows = rows[:int64(len(dst))*t.RowBytes(int64(256*len(x)))]
	if len(rows) > 0 {
		dotRows(t, dst, rows, x)
	}
}
