package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

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
var _ = register(gguf.Q6_K, codec{quantize: quantizeQ6K, dequantize: dequantizeQ6K})

func quantizeQ6K(dst []byte, src, importance []float32) {
	var work symmetricBatch
	for len(src) > 0 {
		n := min(batch, len(src)/256)
		x := src[:256*n]
		var weights []float32 // those of x^2
		if importance != nil {
			weights, importance = importance[:256*n], importance[256*n:]
		}
		q, levels, scales, d := work.q[:256*n], work.levels[:16*n], work.scales[:16*n], work.d[:n]
		fitSymmetrics(q, x, weights, scales, nil, 32)
		fitScales(levels, scales, d, 128, negligible)
		blocks := dst[:210*n]
		for b := range d {
			block, levels := (*[210]byte)(blocks[210*b:]), (*[16]uint8)(levels[16*b:])
			putHalf(block[208:], d[b])
			d := half(block[208:])
			for s, level := range levels {
				stored := int8(level - 128)
				block[192+s] = byte(stored)
				scales[16*b+s] = d * float32(stored)
			}
		}
		roundSubBlocks(q, x, scales, 32)
		packQ6K(blocks, q)
		for b := range d {
			if d[b] == 0 {
				clear(blocks[210*b:][:210])
			}
		}
		dst, src = dst[210*n:], src[256*n:]
	}
}

// packQ6K stores the integers of super-blocks.
func packQ6K(blocks, q []uint8) {
	if kernel.PackQ6K(blocks, q) {
		return
	}
	for ; len(q) > 0; blocks, q = blocks[210:], q[256:] {
		for h := range 2 {
			ql, q := (*[64]byte)(blocks[64*h:]), (*[128]uint8)(q[128*h:])
			for i := 0; i < 64; i += 8 {
				low := eightBytes(q[i:])&ofEach(15) | eightBytes(q[i+64:])&ofEach(15)<<4
				binary.LittleEndian.PutUint64(ql[i:], low)
			}
			packPairs((*[32]byte)(blocks[128+32*h:]), q, 4)
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
