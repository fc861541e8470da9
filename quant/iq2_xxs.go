package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
)

// An IQ2_XXS block is 8 sub-blocks of 32 values x = d*(s + 1/2)/4 * iq2Values[l]:
//
//	0  d   F16
//	2  8 sub-blocks of
//	   0  p   4 bytes, points of iq2XXSGrid, each of which has the levels l of 8 values
//	   4      uint32: four times seven signs, the eighth being such that an even
//	          number is negative, and four bits of s
//
// Points are found by gridSearch; d makes the largest scale 31/8.
var _ = register(gguf.IQ2_XXS, codec{quantize: quantizeIQ2XXS, dequantize: dequantizeIQ2XXS, grid: &iq2XXSGrid, needsImportance: true})

// iq2Values are the magnitudes of the levels of IQ2 types: about 8 times 1, 3
// and 5.
var iq2Values = [8]float32{8, 25, 43}

var iq2XXSSearch = gridSearch{
	grid: &iq2XXSGrid, subBlock: 32, evenSigns: true, zero: negligible,
	steps: 6, step: 0.1, fitPeak: true, refine: refineAlways,
	variance: 1,
}

func quantizeIQ2XXS(dst []byte, src, importance []float32) {
	var b gridBlock
	for ; len(src) > 0; dst, src = dst[66:], src[256:] {
		block, x := (*[66]byte)(dst), (*[256]float32)(src)
		clear(block[:])
		largest := iq2XXSSearch.fit(&b, x, importance)
		importance = nextBlock(importance)
		if largest == 0 {
			continue
		}
		d := largest / 31
		putHalf(block[:], d)
		levels := scaleLevels(&b.Scales, d)
		for s := range 8 {
			word := uint32(levels[s]) << 28
			for i := range 4 {
				block[2+8*s+i] = byte(b.Points[4*s+i])
				word |= uint32(b.Signs[4*s+i]&127) << (7 * i)
			}
			binary.LittleEndian.PutUint32(block[2+8*s+4:], word)
		}
	}
}

func dequantizeIQ2XXS(dst []float32, src []byte) {
	points := iq2XXSGrid.read()
	for ; len(src) > 0; dst, src = dst[256:], src[66:] {
		block := (*[66]byte)(src)
		d := half(block[:])
		for s := range 8 {
			word := binary.LittleEndian.Uint32(block[2+8*s+4:])
			scale := d * (0.5 + float32(word>>28)) * 0.25
			for i, p := range block[2+8*s:][:4] {
				signs := evenParity(uint8(word >> (7 * i) & 127))
				putPoint(dst[32*s+8*i:], points[8*int(p):][:8], &iq2Values, scale, signs)
			}
		}
	}
}
