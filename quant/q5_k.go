package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q5_K block is 8 sub-blocks of 32 values x = d*s*q - dmin*m:
//
//	 0  d      F16
//	 2  dmin   F16
//	 4  sm     12 bytes, 8 scales s and 8 minima m of six bits: see scaleMin
//	16  qh     32 bytes, bit 4: bit j of byte i is that of element 32*j + i
//	48  ql     128 bytes, bits 0 to 3
//
// Each 64 values have 32 bytes of ql. Byte i has element i in the low and i+32 in
// the high bits.
//
// Without importances, errors are weighted as those of Q4_K.
var _ = register(gguf.Q5_K, codec{quantize: quantizeQ5K, dequantize: dequantizeQ5K})

func quantizeQ5K(dst []byte, src, importance []float32) {
	search := affineSearch{n: 31, first: -0.5, step: 0.1, steps: 15, weighing: kernel.ByRMS}
	if importance != nil {
		search = weightedSearch(31)
	}
	var f affineFits
	for len(src) > 0 {
		n := f.quantizeAffine(dst, 176, src, importance, search)
		for b := range n {
			block, q := (*[176]byte)(dst[176*b:]), (*[256]uint8)(f.q[256*b:])
			high := (*[32]byte)(block[16:])
			clear(high[:])
			for part := range 4 {
				packed, q := (*[32]byte)(block[48+32*part:]), (*[64]uint8)(q[64*part:])
				for i := range packed {
					packed[i] = q[i]&15 | q[i+32]<<4
					high[i] |= (q[i]>>4 | q[i+32]>>4<<1) << (2 * part)
				}
			}
		}
		dst, src = dst[176*n:], src[256*n:]
		if importance != nil {
			importance = importance[256*n:]
		}
	}
}

func dequantizeQ5K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[176:] {
		block := (*[176]byte)(src)
		head := readAffineHead(block[:])
		high := (*[32]byte)(block[16:])
		for part := range 4 {
			q, x := (*[32]byte)(block[48+32*part:]), (*[64]float32)(dst[64*part:])
			scale0, min0 := head.scaleMin(2 * part)
			scale1, min1 := head.scaleMin(2*part + 1)
			for i, v := range q {
				bits := high[i] >> (2 * part)
				x[i] = float32(scale0*float32(v&15|bits&1<<4)) - min0
				x[i+32] = float32(scale1*float32(v>>4|bits>>1&1<<4)) - min1
			}
		}
	}
}
