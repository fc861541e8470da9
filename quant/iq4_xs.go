package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
)

// An IQ4_XS block is 8 sub-blocks of 32 values x = d*(s - 32)*iq4Levels[q]:
//
//	0  d    F16
//	2  sh   uint16, bits 4 and 5 of the scale of sub-block i at bit 2*i
//	4  sl   4 bytes, bits 0 to 3: byte i has scale 2*i in the low and 2*i+1 in the
//	        high bits
//	8  q    128 bytes, 16 for each sub-block as in IQ4_NL
//
// Sub-blocks are fitted one by one as in IQ4_NL, d makes the largest of their
// scales -32, and the values are rounded with the scales as stored, but with d as
// it was before it was rounded.
var _ = register(gguf.IQ4_XS, codec{quantize: quantizeIQ4XS, dequantize: dequantizeIQ4XS})

func quantizeIQ4XS(dst []byte, src, importance []float32) {
	for len(src) > 0 {
		n := min(iq4Batch, len(src)/32)
		x := src[:32*n]
		var scaleArray, varianceArray [iq4Batch]float32
		scales := scaleArray[:n]
		if importance == nil {
			fitIQ4s(scales, x, nil, nil)
		} else {
			var sums [iq4Batch / 8]float32
			sumsOfSquares(sums[:n/8], x, 256)
			variances := varianceArray[:n]
			for s := range variances {
				variances[s] = sums[s/8] * (2.0 / 256)
			}
			fitIQ4s(scales, x, importance[:32*n], variances)
			importance = importance[32*n:]
		}
		for ; len(x) > 0; dst, src, x, scales = dst[136:], src[256:], x[256:], scales[8:] {
			storeIQ4XS((*[136]byte)(dst), (*[256]float32)(x), (*[8]float32)(scales))
		}
	}
}

// storeIQ4XS makes the block of sub-blocks with the given scales.
func storeIQ4XS(block *[136]byte, x *[256]float32, scales *[8]float32) {
	clear(block[:8])
	d := -extreme(scales[:]) / 32
	putHalf(block[:], d)
	inverse := reciprocal(d)
	var high uint16
	var inverses [8]float32
	for s, scale := range scales {
		level := clamp(nearestInt(inverse*scale), -32, 31)
		inverses[s] = reciprocal(d * float32(level))
		bits := byte(level + 32)
		block[4+s/2] |= bits & 15 << (s % 2 * 4)
		high |= uint16(bits>>4) << (2 * s)
	}
	binary.LittleEndian.PutUint16(block[2:], high)
	packIQ4s(block[8:], 16, x[:], inverses[:])
}

func dequantizeIQ4XS(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[136:] {
		block := (*[136]byte)(src)
		d, high := half(block[:]), binary.LittleEndian.Uint16(block[2:])
		for s := range 8 {
			bits := block[4+s/2]>>(s%2*4)&15 | byte(high>>(2*s)&3)<<4
			unpackIQ4((*[32]float32)(dst[32*s:]), (*[16]byte)(block[8+16*s:]), d*float32(int(bits)-32))
		}
	}
}
