package quant

import "github.com/ggufkit/ggufkit/gguf"

// A Q3_K block is 16 sub-blocks of 16 values x = d*(s - 32)*(q - 4):
//
//	  0  qh   32 bytes, bit 2: bit j of byte i is that of element 32*j + i
//	 32  ql   64 bytes, bits 0 and 1
//	 96  s    12 bytes, 16 integers of six bits
//	108  d    F16
//
// Each half of the block, 128 values, has 32 bytes of ql. Byte i has elements i,
// i+32, i+64 and i+96 from the lowest bits up. Bits 0 to 3 of the first eight
// scales are in the low bits of the first eight bytes of s, those of the others
// in the high bits; bits 4 and 5 of scale j are in byte 8 + j%4, at bit 2*(j/4).
//
// Sub-blocks are fitted one by one, d makes the largest of their scales -32,
// and the values are rounded again with the scales as stored. With importances,
// d is fitted like a sub-block.
var q3K = codec{quantize: quantizeQ3K, dequantize: dequantizeQ3K, float: gguf.F16, floats: []int{108}}

func quantizeQ3K(dst []byte, src, importance []float32) {
	for ; len(src) > 0; dst, src = dst[110:], src[256:] {
		block, x := (*[110]byte)(dst), (*[256]float32)(src)
		clear(block[:])
		var q [256]uint8
		if importance == nil {
			fitQ3K(block, &q, x)
		} else {
			fitWeightedQ3K(block, &q, x, (*[256]float32)(importance))
			importance = importance[256:]
		}
		packQ3K(block, &q)
	}
}

// fitQ3K finds the integers of a block, and stores all but them.
func fitQ3K(block *[110]byte, q *[256]uint8, x *[256]float32) {
	var scales [16]float32
	for s := range scales {
		scales[s] = fitByDescent(q[16*s:][:16], x[16*s:][:16], 4)
	}
	largest := extreme(scales[:])
	if largest == 0 {
		return
	}
	inverse := -32 / largest
	putHalf(block[108:], 1/inverse)
	var levels [16]uint8
	for s, scale := range scales {
		levels[s] = uint8(clamp(int32(int8(nearestInt(inverse*scale))), -32, 31) + 32)
	}
	roundQ3K(block, q, x, &levels)
}

// fitWeightedQ3K is fitQ3K with importances. It fits d too, to the scales
// weighted by the sums of their sub-blocks.
func fitWeightedQ3K(block *[110]byte, q *[256]uint8, x, importance *[256]float32) {
	variance := 2 * sumSquares(x[:]) / 256
	var scales, sums [16]float32
	for s := range scales {
		x := x[16*s:][:16]
		var weights [16]float32
		weigh(weights[:], x, importance[16*s:], variance)
		sums[s] = total(weights[:])
		scales[s] = fitSymmetric(q[16*s:][:16], x, weights[:], 4)
	}
	var levels [16]uint8
	putHalf(block[108:], fitSymmetric(levels[:], scales[:], sums[:], 32))
	roundQ3K(block, q, x, &levels)
}

// roundQ3K stores the scales of the sub-blocks, counted from 0, and rounds the
// values with them.
func roundQ3K(block *[110]byte, q *[256]uint8, x *[256]float32, levels *[16]uint8) {
	d, packed := half(block[108:]), block[96:108]
	for s, level := range levels {
		packed[s%8] |= level & 15 << (s / 8 * 4)
		packed[8+s%4] |= level >> 4 << (s / 4 * 2)
		round(q[16*s:][:16], x[16*s:][:16], d*float32(int(level)-32), 0, -4, 3)
	}
}

// packQ3K stores the integers.
func packQ3K(block *[110]byte, q *[256]uint8) {
	for i, v := range q {
		block[i%32] |= v >> 2 << (i / 32)
	}
	for h := range 2 {
		ql, q := (*[32]byte)(block[32+32*h:]), (*[128]uint8)(q[128*h:])
		for i := range 32 {
			ql[i] = q[i]&3 | q[i+32]&3<<2 | q[i+64]&3<<4 | q[i+96]&3<<6
		}
	}
}

func dequantizeQ3K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[110:] {
		x, block := (*[256]float32)(dst), (*[110]byte)(src)
		qh, s := (*[32]byte)(block[:]), (*[12]byte)(block[96:])
		d := half(block[108:])
		for part := range 16 {
			bits := s[part%8]>>(part/8*4)&15 | s[8+part%4]>>(part/4*2)&3<<4
			scale := d * float32(int(bits)-32)
			ql := (*[32]byte)(block[32+part/8*32:])
			for i := 16 * part; i < 16*part+16; i++ {
				low := ql[i&31] >> (i >> 5 & 3 << 1) & 3
				high := qh[i&31] >> (i >> 5) & 1
				x[i] = scale * float32(int(low|high<<2)-4)
			}
		}
	}
}
