package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
)

// An IQ2_XS block is 16 sub-blocks of 16 values x = d*(s + 1/2)/4 * iq2Values[l]:
//
//	 0  d   F16
//	 2  p   32 uint16: nine bits of a point of iq2XSGrid, which has the levels l of 8
//	        values, and seven signs as in IQ2_XXS
//	66  s   8 bytes, byte i has scale 2*i in the low and 2*i+1 in the high bits
//
// Points are found by gridSearch; d makes the largest scale 31/8.
var _ = register(gguf.IQ2_XS, codec{quantize: quantizeIQ2XS, dequantize: dequantizeIQ2XS, grid: &iq2XSGrid, needsImportance: true})

var iq2XSSearch = gridSearch{
	grid: &iq2XSGrid, subBlock: 16, evenSigns: true, zero: negligible,
	steps: 9, step: 0.1, refine: refineOffGrid,
	variance: 1,
}

func quantizeIQ2XS(dst []byte, src, importance []float32) {
	var b gridBlock
	for ; len(src) > 0; dst, src = dst[74:], src[256:] {
		block, x := (*[74]byte)(dst), (*[256]float32)(src)
		clear(block[:])
		largest := iq2XSSearch.fit(&b, x, importance)
		importance = nextBlock(importance)
		if largest == 0 {
			continue
		}
		d := largest / 31
		putHalf(block[:], d)
		levels := scaleLevels(&b.Scales, d)
		for i := range 32 {
			binary.LittleEndian.PutUint16(block[2+2*i:], b.Points[i]|uint16(b.Signs[i]&127)<<9)
		}
		for i := range 8 {
			block[66+i] = levels[2*i] | levels[2*i+1]<<4
		}
	}
}

func dequantizeIQ2XS(dst []float32, src []byte) {
	points := iq2XSGrid.read()
	for ; len(src) > 0; dst, src = dst[256:], src[74:] {
		block := (*[74]byte)(src)
		d := half(block[:])
		for i := range 32 {
			word := binary.LittleEndian.Uint16(block[2+2*i:])
			scale := d * (0.5 + float32(block[66+i/4]>>(i/2%2*4)&15)) * 0.25
			putPoint(dst[8*i:], points[8*int(word&511):][:8], &iq2Values, scale, evenParity(uint8(word>>9)))
		}
	}
}
