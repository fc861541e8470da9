package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q4_K block is 8 sub-blocks of 32 values x = d*s*q - dmin*m:
//
//	 0  d      F16
//	 2  dmin   F16
//	 4  sm     12 bytes, 8 scales s and 8 minima m of six bits: see scaleMin
//	16  q      128 bytes
//
// Each 64 values have 32 bytes of q. Byte i has element i in the low and i+32 in
// the high bits.
//
// Without importances, errors are weighted by the magnitude of the value plus
// the root mean square of its sub-block.
var _ = register(gguf.Q4_K, codec{quantize: quantizeQ4K, dequantize: dequantizeQ4K})

func quantizeQ4K(dst []byte, src, importance []float32) {
	search := affineSearch{n: 15, first: -1, step: 0.1, steps: 20, weighing: kernel.ByRMS}
	if importance != nil {
		search = weightedSearch(15)
	}
	var f affineFits
	for len(src) > 0 {
		n := f.quantizeAffine(dst, 144, src, importance, search)
		for b := range n {
			block, q := (*[144]byte)(dst[144*b:]), (*[256]uint8)(f.q[256*b:])
			for part := range 4 {
				packed, q := (*[32]byte)(block[16+32*part:]), (*[64]uint8)(q[64*part:])
				for i := range packed {
					packed[i] = q[i] | q[i+32]<<4
				}
			}
		}
		dst, src = dst[144*n:], src[256*n:]
		if importance != nil {
			importance = importance[256*n:]
		}
	}
}

func dequantizeQ4K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[144:] {
		block := (*[144]byte)(src)
		head := readAffineHead(block[:])
		for part := range 4 {
			q, x := (*[32]byte)(block[16+32*part:]), (*[64]float32)(dst[64*part:])
			scale0, min0 := head.scaleMin(2 * part)
			scale1, min1 := head.scaleMin(2*part + 1)
			for i, v := range q {
				x[i] = float32(scale0*float32(v&15)) - min0
				x[i+32] = float32(scale1*float32(v>>4)) - min1
			}
		}
	}
}
