package weights

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Dtype is the data type of a tensor, by its name in safetensors files.
type Dtype string

// The data types that can be read. Others are refused.
const (
	F64    Dtype = "F64"
	F32    Dtype = "F32"
	F16    Dtype = "F16"
	BF16   Dtype = "BF16"
	F8E4M3 Dtype = "F8_E4M3" // without infinities; NaN is S.1111.111
	F8E5M2 Dtype = "F8_E5M2" // the upper half of an F16
	F8E8M0 Dtype = "F8_E8M0" // powers of two: scales
	I64    Dtype = "I64"
	I32    Dtype = "I32"
	I16    Dtype = "I16"
	I8     Dtype = "I8"
	U64    Dtype = "U64"
	U32    Dtype = "U32"
	U16    Dtype = "U16"
	U8     Dtype = "U8"
	Bool   Dtype = "BOOL"
)

// Size returns the bytes of one element, 0 for an unknown type.
func (d Dtype) Size() int {
	switch d {
	case F64, I64, U64:
		return 8
	case F32, I32, U32:
		return 4
	case F16, BF16, I16, U16:
		return 2
	case F8E4M3, F8E5M2, F8E8M0, I8, U8, Bool:
		return 1
	}
	return 0
}

// Float reports whether d holds floating-point numbers.
func (d Dtype) Float() bool {
	switch d {
	case F64, F32, F16, BF16, F8E4M3, F8E5M2, F8E8M0:
		return true
	}
	return false
}

// Float32 converts len(dst) elements to float32, rounding to nearest even
// where they have more bits. It panics if src is not exactly their size or if
// d is unknown.
func (d Dtype) Float32(dst []float32, src []byte) {
	size := d.Size()
	if size == 0 || len(src) != size*len(dst) {
		panic(fmt.Sprintf("weights: %d elements of %q do not take %d bytes", len(dst), d, len(src)))
	}
	le := binary.LittleEndian
	switch d {
	case F32:
		dequantize(gguf.F32, dst, src)
	case F16:
		dequantize(gguf.F16, dst, src)
	case BF16:
		dequantize(gguf.BF16, dst, src)
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case F8E4M3:
		for i := range dst {
			dst[i] = e4m3[src[i]]
		}
	case F8E5M2:
		for i := range dst {
			dst[i] = e5m2[src[i]]
		}
	case F8E8M0:
		for i := range dst {
			dst[i] = e8m0[src[i]]
		}
	case I64:
		for i := range dst {
			dst[i] = float32(int64(le.Uint64(src[8*i:])))
		}
	case I32:
		for i := range dst {
			dst[i] = float32(int32(le.Uint32(src[4*i:])))
		}
	case I16:
		for i := range dst {
			dst[i] = float32(int16(le.Uint16(src[2*i:])))
		}
	case I8:
		for i := range dst {
			dst[i] = float32(int8(src[i]))
		}
	case U64:
		for i := range dst {
			dst[i] = float32(le.Uint64(src[8*i:]))
		}
	case U32:
		for i := range dst {
			dst[i] = float32(le.Uint32(src[4*i:]))
		}
	case U16:
		for i := range dst {
			dst[i] = float32(le.Uint16(src[2*i:]))
		}
	case U8:
		for i := range dst {
			dst[i] = float32(src[i])
		}
	case Bool:
		for i := range dst {
			dst[i] = 0
			if src[i] != 0 {
				dst[i] = 1
			}
		}
	}
}

// GGUF returns the tensor type of GGUF that has the same numbers, in the same bytes:
// for F32, F16 and BF16.
func (d Dtype) GGUF() (gguf.Type, bool) {
	switch d {
	case F32:
		return gguf.F32, true
	case F16:
		return gguf.F16, true
	case BF16:
		return gguf.BF16, true
	}
	return 0, false
}

// Encode stores values, rounded to nearest even. It panics if d is none of F32, F16 and
// BF16 or dst is not of their size.
func (d Dtype) Encode(dst []byte, values []float32) {
	t, ok := d.GGUF()
	if !ok {
		panic(fmt.Sprintf("weights: numbers of type %q are not written", d))
	}
	if err := quant.Quantize(t, dst, values, len(values), nil); err != nil {
		panic(err) // plain floats always have a codec
	}
}

// Round rounds values to numbers of type d if that is F16 or BF16.
func (d Dtype) Round(values []float32) {
	if d != F16 && d != BF16 {
		return
	}
	buf := raw.get(int64(len(values) * d.Size()))
	defer raw.put(buf)
	d.Encode(*buf, values)
	d.Float32(values, *buf)
}

func dequantize(t gguf.Type, dst []float32, src []byte) {
	if err := quant.Dequantize(t, dst, src, len(dst)); err != nil {
		panic(err) // plain floats always have a codec
	}
}

// e4m3, e5m2 and e8m0 have all numbers of 8 bits.
var e4m3, e5m2, e8m0 = table(float32E4M3), table(float32E5M2), table(float32E8M0)

func table(decode func(byte) float32) (t [256]float32) {
	for i := range t {
		t[i] = decode(byte(i))
	}
	return t
}

// float32E4M3 decodes 4 exponent bits of bias 7 and 3 mantissa bits (OCP 8-bit
// Floating Point Specification, E4M3).
func float32E4M3(b byte) float32 {
	exponent, mantissa := int(b>>3&15), float32(b&7)
	var f float32
	switch {
	case b&0x7f == 0x7f:
		return float32(math.NaN())
	case exponent == 0:
		f = mantissa / 512
	default:
		f = float32(math.Ldexp(float64(8+mantissa), exponent-10))
	}
	if b&0x80 != 0 {
		return -f
	}
	return f
}

// float32E5M2 decodes the upper half of an F16.
func float32E5M2(b byte) float32 {
	var f [1]float32
	dequantize(gguf.F16, f[:], []byte{0, b})
	return f[0]
}

// float32E8M0 decodes an exponent of bias 127 (OCP Microscaling Formats Specification).
func float32E8M0(b byte) float32 {
	if b == 0xff {
		return float32(math.NaN())
	}
	return float32(math.Ldexp(1, int(b)-127))
}
