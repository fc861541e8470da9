package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q4_1 block is 32 values x = d*q + m:
//
//	0  d   F16
//	2  m   F16
//	4  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// m is the least value, d a fifteenth of the range. With importances, both are
// fitted.
var _ = register(gguf.Q4_1, codec{quantize: quantizeQ41, dequantize: dequantizeQ41})

func quantizeQ41(dst []byte, src, importance []float32) {
	if importance != nil {
		quantizeWeightedQ41(dst, src, importance)
		return
	}
	for ; len(src) > 0; dst, src = dst[20:], src[32:] {
		if importance == nil {
			n := kernel.QuantizeQ41(dst, src)
			if dst, src = dst[20*n:], src[32*n:]; len(src) == 0 {
				break
			}
		}
		x, block := (*[32]float32)(src), (*[20]byte)(dst)
		low, high := limits(x[:])
		d := (high - low) / 15
		putHalf(block[:], d)
		putHalf(block[2:], low)
		inverse := reciprocal(d)
		var q [32]uint8
		for i, v := range x {
			q[i] = uint8(min(15, truncate(float32((v-low)*inverse)+0.5)))
		}
		packNibbles((*[16]byte)(block[4:]), &q)
	}
}

func quantizeWeightedQ41(dst []byte, src, importance []float32) {
	var variances [affineBatch / 32]float32
	variance := meanSquare(src, importance)
	for i := range variances {
		variances[i] = variance
	}
	search := weightedSearch(15)
	var f affineFits
	for len(src) > 0 {
		n := min(len(src), affineBatch) / 32
		f.fit(src[:32*n], importance, variances[:], 32, search)
		for b := range n {
			block, q := (*[20]byte)(dst[20*b:]), (*[32]uint8)(f.q[32*b:])
			putHalf(block[:], f.scales[b])
			putHalf(block[2:], -f.minima[b])
			packNibbles((*[16]byte)(block[4:]), q)
		}
		dst, src, importance = dst[20*n:], src[32*n:], importance[32*n:]
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
