package quant

import "github.com/ggufkit/ggufkit/gguf"

// A Q4_0 block is 32 values x = d*(q - 8):
//
//	0  d   F16
//	2  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// d is the value of largest magnitude over -8, so that this value is exact
// up to the rounding of d. With importances, d is fitted.
var q40 = codec{quantize: quantizeQ40, dequantize: dequantizeQ40, float: gguf.F16, floats: []int{0}}

func quantizeQ40(dst []byte, src, importance []float32) {
	variance := meanSquare(src, importance)
	for ; len(src) > 0; dst, src = dst[18:], src[32:] {
		x, block := (*[32]float32)(src), (*[18]byte)(dst)
		var q [32]uint8
		if importance == nil {
			d := extreme(x[:]) / -8
			putHalf(block[:], d)
			inverse := reciprocal(d)
			for i, v := range x {
				q[i] = uint8(min(15, truncate(float32(v*inverse)+8.5)))
			}
		} else {
			var weights [32]float32
			weigh(weights[:], x[:], importance, variance)
			putHalf(block[:], fitSymmetric(q[:], x[:], weights[:], 8))
			importance = importance[32:]
		}
		packNibbles((*[16]byte)(block[2:]), &q)
	}
}

// packNibbles stores bits 0 to 3 of element i in the low and of i+16 in the high
// bits of byte i.
func packNibbles(packed *[16]byte, q *[32]uint8) {
	for i := range packed {
		packed[i] = q[i]&15 | q[i+16]<<4
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
