package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
)

// A Q5_1 block is 32 values x = d*q + m:
//
//	0  d    F16
//	2  m    F16
//	4  qh   uint32, bit i is bit 4 of element i
//	8  ql   16 bytes, byte i has bits 0 to 3 of element i in the low and of
//	        i+16 in the high bits
//
// m is the least value, d a 31st of the range.
var q51 = codec{quantizeQ51, dequantizeQ51, gguf.F16, []int{0, 2}}

func quantizeQ51(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[24:], src[32:] {
		x, block := (*[32]float32)(src), (*[24]byte)(dst)
		low, high := limits(x[:])
		d := (high - low) / 31
		inverse := reciprocal(d)
		putHalf(block[:], d)
		putHalf(block[2:], low)
		quantize := func(v float32) byte {
			return byte(truncate(float32((v-low)*inverse) + 0.5))
		}
		var bits4 uint32
		for i := range 16 {
			a, b := quantize(x[i]), quantize(x[i+16])
			block[8+i] = a&15 | b<<4
			bits4 |= uint32(a>>4&1)<<i | uint32(b>>4&1)<<(i+16)
		}
		binary.LittleEndian.PutUint32(block[4:], bits4)
	}
}

func dequantizeQ51(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[24:] {
		x, block := (*[32]float32)(dst), (*[24]byte)(src)
		d, m := half(block[:]), half(block[2:])
		high := binary.LittleEndian.Uint32(block[4:])
		for i := range 16 {
			q := block[8+i]
			x[i] = float32(float32(uint32(q&15)|high>>i&1<<4)*d) + m
			x[i+16] = float32(float32(uint32(q>>4)|high>>(i+16)&1<<4)*d) + m
		}
	}
}
