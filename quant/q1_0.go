package quant

import "github.com/ggufkit/ggufkit/gguf"

// A Q1_0 block is 128 values x = d or -d:
//
//	0  d   F16
//	2  q   16 bytes, bit j of byte i is 1 if element 8*i + j is not negative
//
// d is the mean magnitude.
var q10 = codec{quantize: quantizeQ10, dequantize: dequantizeQ10, float: gguf.F16, floats: []int{0}}

func quantizeQ10(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[18:], src[128:] {
		x, block := (*[128]float32)(src), (*[18]byte)(dst)
		clear(block[:])
		var sum float32
		for i, v := range x {
			sum += abs(v)
			if v >= 0 {
				block[2+i/8] |= 1 << (i % 8)
			}
		}
		putHalf(block[:], sum/128)
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
