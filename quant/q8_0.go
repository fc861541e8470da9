package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q8_0 block is 32 values x = d*q:
//
//	0  d   F16
//	2  q   32 int8
//
// d is the largest magnitude over 127.
var _ = register(gguf.Q8_0, codec{quantize: quantizeQ80, dequantize: dequantizeQ80})

func quantizeQ80(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[34:], src[32:] {
		n := kernel.QuantizeQ80(dst, src)
		if dst, src = dst[34*n:], src[32*n:]; len(src) == 0 {
			break
		}
		x, block := (*[32]float32)(src), (*[34]byte)(dst)
		d := magnitude(x[:]) / 127
		inverse := reciprocal(d)
		putHalf(block[:], d)
		for i, v := range x {
			block[2+i] = byte(roundAway(float32(v * inverse)))
		}
	}
}

func dequantizeQ80(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[34:] {
		x, block := (*[32]float32)(dst), (*[34]byte)(src)
		d := half(block[:])
		for i := range x {
			x[i] = float32(int8(block[2+i])) * d
		}
	}
}
