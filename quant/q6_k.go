package quant

import "github.com/ggufkit/ggufkit/gguf"

// A Q6_K block is 16 sub-blocks of 16 values x = d*s*(q - 32):
//
//	  0  ql   128 bytes, bits 0 to 3
//	128  qh   64 bytes, bits 4 and 5
//	192  s    16 int8, one per sub-block
//	208  d    F16
//
// Each half of the block, 128 values, has 64 bytes of ql and 32 of qh. Byte i of
// ql has element i in the low and i+64 in the high bits; byte i of qh has i, i+32,
// i+64 and i+96 from the lowest bits up.
//
// Sub-blocks are fitted one by one, weighted by x^2 or by the importances alone,
// d makes the largest of their scales -128, and the values are rounded again with
// the scales as stored.
var q6K = codec{quantize: quantizeQ6K, dequantize: dequantizeQ6K, float: gguf.F16, floats: []int{208}}

func quantizeQ6K(dst []byte, src, importance []float32) {
	for ; len(src) > 0; dst, src = dst[210:], src[256:] {
		x := (*[256]float32)(src)
		var weights [256]float32
		if importance == nil {
			weighSquares(weights[:], x[:])
		} else {
			importance = importance[copy(weights[:], importance):]
		}
		quantizeBlockQ6K((*[210]byte)(dst), x, &weights)
	}
}

func quantizeBlockQ6K(block *[210]byte, x, weights *[256]float32) {
	var q [256]uint8
	var scales [16]float32
	for s := range scales {
		scales[s] = fitSymmetric(q[16*s:][:16], x[16*s:][:16], weights[16*s:], 32)
	}
	largest := extreme(scales[:])
	if abs(largest) < negligible {
		clear(block[:])
		return
	}
	inverse := -128 / largest
	putHalf(block[208:], 1/inverse)
	d := half(block[208:])
	for s, scale := range scales {
		stored := int8(min(127, nearestInt(inverse*scale)))
		block[192+s] = byte(stored)
		round(q[16*s:][:16], x[16*s:][:16], d*float32(stored), 0, -32, 31)
	}
	for h := range 2 {
		ql, qh, q := (*[64]byte)(block[64*h:]), (*[32]byte)(block[128+32*h:]), (*[128]uint8)(q[128*h:])
		for i := range 32 {
			ql[i] = q[i]&15 | q[i+64]<<4
			ql[i+32] = q[i+32]&15 | q[i+96]<<4
			qh[i] = q[i]>>4 | q[i+32]>>4<<2 | q[i+64]>>4<<4 | q[i+96]>>4<<6
		}
	}
}

func dequantizeQ6K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[210:] {
		block := (*[210]byte)(src)
		d := half(block[208:])
		for h := range 2 {
			ql, qh, s := (*[64]byte)(block[64*h:]), (*[32]byte)(block[128+32*h:]), (*[8]byte)(block[192+8*h:])
			x := (*[128]float32)(dst[128*h:])
			for part := range 8 {
				scale := d * float32(int8(s[part]))
				for i := 16 * part; i < 16*part+16; i++ {
					low := ql[i&63] >> (i >> 6 << 2) & 15
					high := qh[i&31] >> (i >> 5 << 1) & 3
					x[i] = scale * float32(int(low|high<<4)-32)
				}
			}
		}
	}
}
