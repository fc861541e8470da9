package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q2_0 block is 64 values x = d*(q - 1):
//
//	0  d   F16
//	2  q   16 bytes, byte i has elements 4*i to 4*i + 3 from the lowest bits up
//
// d is the largest magnitude, so q is 0, 1 or 2 when it comes from here.
var _ = register(gguf.Q2_0, codec{quantize: quantizeQ20, dequantize: dequantizeQ20})

func quantizeQ20(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[18:], src[64:] {
		n := kernel.QuantizeQ20(dst, src)
		if dst, src = dst[18*n:], src[64*n:]; len(src) == 0 {
			break
		}
		x, block := (*[64]float32)(src), (*[18]byte)(dst)
		clear(block[:])
		d := magnitude(x[:])
		inverse := reciprocal(d)
		putHalf(block[:], d)
		for i, v := range x {
			// What is not an integer, as with a subnormal d, becomes the least.
			if f := v * inverse; isInt32(f) {
				block[2+i/4] |= byte(clamp(int32(roundAway(f))+1, 0, 3)) << (i % 4 * 2)
			}
		}
	}
}

func dequantizeQ20(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[64:], src[18:] {
		x, block := (*[64]float32)(dst), (*[18]byte)(src)
		d := half(block[:])
		for i := range x {
			q := block[2+i/4] >> (i % 4 * 2) & 3
			x[i] = float32(int(q)-1) * d
		}
	}
}
