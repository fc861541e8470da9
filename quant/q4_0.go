package quant

import "github.com/ggufkit/ggufkit/gguf"

// A Q4_0 block is 32 values x = d*(q - 8):
//
//	0  d   F16
//	2  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// d is the value of largest magnitude over -8, so that this value is exact
// up to the rounding of d.
var q40 = codec{quantizeQ40, dequantizeQ40, gguf.F16, []int{0}}

func quantizeQ40(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[18:], src[32:] {
		x, block := (*[32]float32)(src), (*[18]byte)(dst)
		d := extreme(x[:]) / -8
		inverse := reciprocal(d)
		putHalf(block[:], d)
		quantize := func(v float32) byte {
			return byte(min(15, truncate(float32(v*inverse)+8.5)))
		}
		for i := range 16 {
			block[2+i] = quantize(x[i]) | quantize(x[i+16])<<4
		}
	}
}

func dequantizeQ40(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[18:] {
		x, block := (*[32]float32)(dst), (*[18]byte)(src)
		d := half(block[:])
		for i := range 16 {
			q := block[2+i]
			x[i] = float32(int(q&15)-8) * d
			x[i+16] = float32(int(q>>4)-8) * d
		}
	}
}
