package quant

import (
	"encoding/binary"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// BF16 is the upper half of a binary32 number, little-endian.
var _ = register(gguf.BF16, codec{quantize: quantizeBF16, dequantize: dequantizeBF16})

// quantizeBF16 rounds to nearest, ties to even; a NaN becomes quiet.
func quantizeBF16(dst []byte, src, _ []float32) {
	for len(src) > 0 {
		n := 16 * kernel.QuantizeBF16(dst, src)
		dst, src = dst[2*n:], src[n:]
		n = min(16, len(src))
		for i, v := range src[:n] {
			bits := math.Float32bits(v)
			if bits&^(1<<31) > 0x7f800000 {
				bits |= 1 << 22
			} else {
				bits += 0x7fff + bits>>16&1
			}
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(bits>>16))
		}
		dst, src = dst[2*n:], src[n:]
	}
}

func dequantizeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}
