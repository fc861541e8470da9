package quant

import (
	"encoding/binary"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// F16 is IEEE 754 binary16, little-endian.
var _ = register(gguf.F16, codec{quantize: quantizeF16, dequantize: dequantizeF16})

func quantizeF16(dst []byte, src, _ []float32) {
	for len(src) > 0 {
		n := 16 * kernel.QuantizeF16(dst, src)
		dst, src = dst[2*n:], src[n:]
		n = min(16, len(src))
		for i, v := range src[:n] {
			putHalf(dst[2*i:], v)
		}
		dst, src = dst[2*n:], src[n:]
	}
}

func dequantizeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half(src[2*i:])
	}
}

// half returns the binary16 number that b starts with. A NaN becomes quiet.
func half(b []byte) float32 {
	bits := uint32(binary.LittleEndian.Uint16(b))
	sign, exponent, mantissa := bits>>15<<31, bits>>10&31, bits&0x3ff
	switch {
	case exponent == 0:
		const ulp = 1.0 / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(float32(mantissa)*ulp))
	case exponent < 31:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | mantissa<<13)
	case mantissa == 0:
		return math.Float32frombits(sign | 0x7f800000)
	default:
		return math.Float32frombits(sign | 0x7fc00000 | mantissa<<13)
	}
}

// putHalf stores f as binary16 in dst, rounded to nearest, ties to even. What
// rounds above 65504 becomes infinite; every NaN becomes the same quiet one
// with the sign kept, as in ggml.
func putHalf(dst []byte, f float32) {
	bits := math.Float32bits(f)
	sign, bits := uint16(bits>>16)&0x8000, bits&^(1<<31)
	const (
		infinity  = 0x7f800000
		overflow  = 0x477ff000 // 65520, halfway to what would come after 65504
		minNormal = 0x38800000 // 2^-14
	)
	var h uint16
	switch {
	case bits > infinity:
		h = 0x7e00
	case bits >= overflow:
		h = 0x7c00
	case bits < minNormal:
		// The last bit of a number next to 0.5 is worth as much as that of a
		// subnormal half, so this addition rounds at the right place.
		h = uint16(math.Float32bits(math.Float32frombits(bits)+0.5) - math.Float32bits(0.5))
	default:
		bits += 0xfff + bits>>13&1
		h = uint16((bits - (127-15)<<23) >> 13)
	}
	binary.LittleEndian.PutUint16(dst, sign|h)
}
