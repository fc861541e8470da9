package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q5_1 block is 32 values x = d*q + m:
//
//	0  d    F16
//	2  m    F16
//	4  qh   uint32, bit i is bit 4 of element i
//	8  ql   16 bytes, byte i has bits 0 to 3 of element i in the low and of
//	        i+16 in the high bits
//
// m is the least value, d a 31st of the range. With importances, both are fitted.
var _ = register(gguf.Q5_1, codec{quantize: quantizeQ51, dequantize: dequantizeQ51})

func quantizeQ51(dst []byte, src, importance []float32) {
	if importance != nil {
		quantizeWeightedQ51(dst, src, importance)
		return
	}
	for ; len(src) > 0; dst, src = dst[24:], src[32:] {
		if importance == nil {
			n := kernel.QuantizeQ51(dst, src)
			if dst, src = dst[24*n:], src[32*n:]; len(src) == 0 {
				break
			}
		}
		x, block := (*[32]float32)(src), (*[24]byte)(dst)
		low, high := limits(x[:])
		d := (high - low) / 31
		putHalf(block[:], d)
		putHalf(block[2:], low)
		inverse := reciprocal(d)
		var q [32]uint8
		for i, v := range x {
			q[i] = uint8(truncate(float32((v-low)*inverse) + 0.5))
		}
		binary.LittleEndian.PutUint32(block[4:], fifthBits(&q))
		packNibbles((*[16]byte)(block[8:]), &q)
	}
}

func quantizeWeightedQ51(dst []byte, src, importance []float32) {
	var variances [affineBatch / 32]float32
	variance := meanSquare(src, importance)
	for i := range variances {
		variances[i] = variance
	}
	search := weightedSearch(31)
	var f affineFits
	for len(src) > 0 {
		n := min(len(src), affineBatch) / 32
		f.fit(src[:32*n], importance, variances[:], 32, search)
		for b := range n {
			block, q := (*[24]byte)(dst[24*b:]), (*[32]uint8)(f.q[32*b:])
			putHalf(block[:], f.scales[b])
			putHalf(block[2:], -f.minima[b])
			binary.LittleEndian.PutUint32(block[4:], fifthBits(q))
			packNibbles((*[16]byte)(block[8:]), q)
		}
		dst, src, importance = dst[24*n:], src[32*n:], importance[32*n:]
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
