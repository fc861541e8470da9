package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A TQ2_0 block is 256 values x = d*(q - 1):
//
//	 0  q   64 bytes
//	64  d   F16
//
// Each half of the block, 128 values, has 32 bytes of q. Byte i has elements i,
// i+32, i+64 and i+96 from the lowest bits up.
//
// d is the largest magnitude, so q is 0, 1 or 2 when it comes from here.
var _ = register(gguf.TQ2_0, codec{quantize: quantizeTQ20, dequantize: dequantizeTQ20})

func quantizeTQ20(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[66:], src[256:] {
		n := kernel.QuantizeTQ20(dst, src)
		if dst, src = dst[66*n:], src[256*n:]; len(src) == 0 {
			break
		}
		x, block := (*[256]float32)(src), (*[66]byte)(dst)
		clear(block[:])
		d := magnitude(x[:])
		inverse := reciprocal(d)
		putHalf(block[64:], d)
		for i, v := range x {
			block[i/128*32+i%32] |= ternary(v*inverse) & 3 << (i / 32 % 4 * 2)
		}
	}
}

func dequantizeTQ20(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[66:] {
		x, block := (*[256]float32)(dst), (*[66]byte)(src)
		d := half(block[64:])
		for i := range x {
			q := block[i/128*32+i%32] >> (i / 32 % 4 * 2) & 3
			x[i] = float32(int(q)-1) * d
		}
	}
}
