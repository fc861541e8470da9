package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

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
var _ = register(gguf.Q3_K, codec{quantize: quantizeQ3K, dequantize: dequantizeQ3K})

func quantizeQ3K(dst []byte, src, importance []float32) {
	var work symmetricBatch
	var weights []float32
	if importance != nil {
		weights = make([]float32, 256*batch)
	}
	for len(src) > 0 {
		n := min(batch, len(src)/256)
		x := src[:256*n]
		q, levels, scales, d := work.q[:256*n], work.levels[:16*n], work.scales[:16*n], work.d[:n]
		if importance == nil {
			fitByDescents(q, x, scales, 4)
			fitScales(levels, scales, d, 32, 0)
		} else {
			work.fitWeightedQ3K(x, importance[:256*n], weights[:256*n])
			importance = importance[256*n:]
		}
		blocks := dst[:110*n]
		for b := range d {
			block, levels := (*[110]byte)(blocks[110*b:]), (*[16]uint8)(levels[16*b:])
			putHalf(block[108:], d[b])
			d := half(block[108:])
			for s, level := range levels {
				scales[16*b+s] = d * float32(int(level)-32)
			}
			packScalesQ3K((*[12]byte)(block[96:]), levels)
		}
		roundSubBlocks(q, x, scales, 4)
		packQ3K(blocks, q)
		dst, src = dst[110*n:], src[256*n:]
	}
}

// fitWeightedQ3K finds the integers of values and scales, and d, with
// importances. weights has room for those it makes. It fits d too, to the scales
// weighted by the sums of their sub-blocks.
func (work *symmetricBatch) fitWeightedQ3K(x, importance, weights []float32) {
	n := len(x) / 256
	scales, totals := work.scales[:16*n], work.totals[:16*n]
	var sums [batch]float32
	sumsOfSquares(sums[:n], x, 256)
	for b := range n {
		variance := 2 * sums[b] / 256
		weighAll(weights[256*b:][:256], x[256*b:][:256], importance[256*b:][:256], variance)
	}
	fitSymmetrics(work.q[:256*n], x, weights, scales, totals, 4)
	fitSymmetrics(work.levels[:16*n], scales, totals, work.d[:n], nil, 32)
}

// packScalesQ3K stores the scales of the sub-blocks.
func packScalesQ3K(packed *[12]byte, levels *[16]uint8) {
	low := eightBytes(levels[:])&ofEach(15) | eightBytes(levels[8:])&ofEach(15)<<4
	binary.LittleEndian.PutUint64(packed[:], low)
	var high uint32
	for part := range 4 {
		high |= binary.LittleEndian.Uint32(levels[4*part:]) >> 4 & 0x03030303 << (2 * part)
	}
	binary.LittleEndian.PutUint32(packed[8:], high)
}

// packQ3K stores the integers of super-blocks.
func packQ3K(blocks, q []uint8) {
	if kernel.PackQ3K(blocks, q) {
		return
	}
	for ; len(q) > 0; blocks, q = blocks[110:], q[256:] {
		for i := 0; i < 32; i += 8 {
			var high uint64
			for part := range 8 {
				high |= eightBytes(q[32*part+i:]) >> 2 & ofEach(1) << part
			}
			binary.LittleEndian.PutUint64(blocks[i:], high)
		}
		for h := range 2 {
			packPairs((*[32]byte)(blocks[32+32*h:]), (*[128]uint8)(q[128*h:]), 0)
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
