package quant

import "github.com/ggufkit/ggufkit/gguf"

// A Q4_1 block is 32 values x = d*q + m:
//
//	0  d   F16
//	2  m   F16
//	4  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// m is the least value, d a fifteenth of the range.
var q41 = codec{quantizeQ41, dequantizeQ41, gguf.F16, []int{0, 2}}

func quantizeQ41(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[20:], src[32:] {
		x, block := (*[32]float32)(src), (*[20]byte)(dst)
		low, high := limits(x[:])
		d := (high - low) / 15
		inverse := reciprocal(d)
		putHalf(block[:], d)
		putHalf(block[2:], low)
		quantize := func(v float32) byte {
			return byte(min(15, truncate(float32((v-low)*inverse)+0.5)))
		}
		for i := range 16 {
			block[4+i] = quantize(x[i]) | quantize(x[i+16])<<4
		}
	}
}

func dequantizeQ41(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[20:] {
		x, block := (*[32]float32)(dst), (*[20]byte)(src)
		d, m := half(block[:]), half(block[2:])
		for i := range 16 {
			q := block[4+i]
			x[i] = float32(float32(q&15)*d) + m
			x[i+16] = float32(float32(q>>4)*d) + m
		}
	}
}
