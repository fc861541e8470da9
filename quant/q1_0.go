package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q1_0 block is 128 values x = d or -d:
//
//	0  d   F16
//	2  q   16 bytes, bit j of byte i is 1 if element 8*i + j is not negative
//
// d is the mean magnitude.
var _ = register(gguf.Q1_0, codec{quantize: quantizeQ10, dequantize: dequantizeQ10})

func quantizeQ10(dst []byte, src, _ []float32) {
	for len(src) > 0 {
		n := min(16, len(src)/128)
		x, blocks := src[:128*n], dst[:18*n]
		var sums [16]float32
		sumMagnitudes(sums[:n], x, 128)
		for b := kernel.SignsQ10(blocks, x); b < n; b++ {
			block := (*[18]byte)(blocks[18*b:])
			clear(block[:])
			for i, v := range x[128*b:][:128] {
				if v >= 0 {
					block[2+i/8] |= 1 << (i % 8)
				}
			}
		}
		for b, sum := range sums[:n] {
			putHalf(blocks[18*b:], sum/128)
		}
		dst, src = dst[18*n:], src[128*n:]
	}
}

// sumMagnitudes stores the sums of the magnitudes of each size values of x, which
// are as many as sums.
func sumMagnitudes(sums, x []float32, size int) {
	for i := 0; i < len(sums); {
		if n := kernel.SumMagnitudes(sums[i:], x[i*size:], size); n > 0 {
			i += n
			continue
		}
		var sum float32
		for _, v := range x[i*size:][:size] {
			sum += abs(v)
		}
		sums[i] = sum
		i++
	}
}

func dequantizeQ10(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[128:], src[18:] {
		x, block := (*[128]float32)(dst), (*[18]byte)(src)
		d := half(block[:])
		for i := range x {
			x[i] = -d
			if block[2+i/8]>>(i%8)&1 != 0 {
				x[i] = d
			}
		}
	}
}
