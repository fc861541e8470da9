package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q2_K block is 16 sub-blocks of 16 values x = d*s*q - dmin*m:
//
//	 0  sm     16 bytes, one per sub-block: s in the low, m in the high bits
//	16  q      64 bytes
//	80  d      F16
//	82  dmin   F16
//
// Each half of the block, 128 values, has 32 bytes of q. Byte i has elements i,
// i+32, i+64 and i+96 from the lowest bits up.
//
// Sub-blocks are fitted one by one, with the magnitudes of the values as
// weights; d and dmin make the largest scale and minimum 15, and the values are
// rounded again with what was stored. With importances, d and dmin are fitted
// like a sub-block.
var _ = register(gguf.Q2_K, codec{quantize: quantizeQ2K, dequantize: dequantizeQ2K})

func quantizeQ2K(dst []byte, src, importance []float32) {
	search := affineSearch{n: 3, first: -0.5, step: 0.1, steps: 15, absolute: true, weighing: kernel.ByMagnitude}
	if importance != nil {
		search = weightedSearch(3)
		search.variance = 1
	}
	var f affineFits
	for len(src) > 0 {
		x := src[:min(len(src), affineBatch)]
		n := len(x) / 256
		f.fitSuperBlocks(x, importance, 16, search)
		for b := range n {
			block := (*[84]byte)(dst[84*b:])
			scales, minima := (*[16]float32)(f.scales[16*b:]), (*[16]float32)(f.minima[16*b:])
			if importance == nil {
				putQ2K(block, scales, minima)
			} else {
				putWeightedQ2K(block, scales, minima, (*[16]float32)(f.sums[16*b:]))
			}
			d, dmin := half(block[80:]), half(block[82:])
			for s, sm := range block[:16] {
				scales[s], minima[s] = d*float32(sm&15), float32(dmin*float32(sm>>4))
			}
		}
		f.round(x, 16, search.n)
		for b := range n {
			block := (*[84]byte)(dst[84*b:])
			for h := range 2 {
				packed, q := (*[32]byte)(block[16+32*h:]), (*[128]uint8)(f.q[256*b+128*h:])
				for i := range 32 {
					packed[i] = q[i] | q[i+32]<<2 | q[i+64]<<4 | q[i+96]<<6
				}
			}
		}
		dst, src = dst[84*n:], src[256*n:]
		if importance != nil {
			importance = importance[256*n:]
		}
	}
}

// putQ2K stores scales and minima such that the largest become 15.
func putQ2K(block *[84]byte, scales, minima *[16]float32) {
	largestScale, inverseScale := greatest(scales[:], 15)
	largestMin, inverseMin := greatest(minima[:], 15)
	putHalf(block[80:], largestScale/15)
	putHalf(block[82:], largestMin/15)
	for s := range scales {
		block[s] = byte(nearestInt(inverseScale*scales[s])) | byte(nearestInt(inverseMin*minima[s]))<<4
	}
}

// putWeightedQ2K is putQ2K with importances. It fits d and dmin too, to the scales
// and minima weighted by the sums of their sub-blocks.
func putWeightedQ2K(block *[84]byte, scales, minima, sums *[16]float32) {
	var scaleLevels, minLevels [16]uint8
	putHalf(block[80:], fitPositive(scaleLevels[:], scales[:], sums[:], 15))
	putHalf(block[82:], fitPositive(minLevels[:], minima[:], sums[:], 15))
	for s := range scales {
		block[s] = scaleLevels[s] | minLevels[s]<<4
	}
}

func dequantizeQ2K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[84:] {
		x, block := (*[256]float32)(dst), (*[84]byte)(src)
		d, dmin := half(block[80:]), half(block[82:])
		for part := range 16 {
			scale := d * float32(block[part]&15)
			minimum := float32(dmin * float32(block[part]>>4))
			packed := (*[32]byte)(block[16+part/8*32:])
			for i := 16 * part; i < 16*part+16; i++ {
				q := packed[i&31] >> (i >> 5 & 3 << 1) & 3
				x[i] = float32(scale*float32(q)) - minimum
			}
		}
	}
}
