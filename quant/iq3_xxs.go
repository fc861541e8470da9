package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
)

// An IQ3_XXS block is 8 sub-blocks of 32 values x = d*(s + 1/2)/2 * iq3XXSValues[l]:
//
//	 0  d   F16
//	 2  p   64 bytes, points of iq3XXSGrid, each of which has the levels l of 4 values
//	66      8 uint32, one per sub-block: four times seven signs and s as in IQ2_XXS
//
// Points are found by gridSearch; d makes the largest scale 31/4, and an eightieth
// more.
var _ = register(gguf.IQ3_XXS, codec{quantize: quantizeIQ3XXS, dequantize: dequantizeIQ3XXS, grid: &iq3XXSGrid})

// iq3XXSValues are the magnitudes of the levels: 4 times 1, 3, ... 13 and 15.5.
var iq3XXSValues = [8]float32{4, 12, 20, 28, 36, 44, 52, 62}

var iq3XXSSearch = gridSearch{
	grid: &iq3XXSGrid, subBlock: 32, evenSigns: true, zero: 1e-8,
	steps: 15, step: 0.2, refine: refineOffGrid,
	variance: 2,
}

func quantizeIQ3XXS(dst []byte, src, importance []float32) {
	var b gridBlock
	for ; len(src) > 0; dst, src = dst[98:], src[256:] {
		block, x := (*[98]byte)(dst), (*[256]float32)(src)
		clear(block[:])
		largest := iq3XXSSearch.fit(&b, x, importance)
		importance = nextBlock(importance)
		if largest == 0 {
			continue
		}
		d := largest / 31
		putHalf(block[:], d*1.0125)
		levels := scaleLevels(&b.Scales, d)
		for i, p := range b.Points {
			block[2+i] = byte(p)
		}
		for s := range 8 {
			word := uint32(levels[s]) << 28
			for i, signs := range b.Signs[4*s:][:4] {
				word |= uint32(signs&127) << (7 * i)
			}
			binary.LittleEndian.PutUint32(block[66+4*s:], word)
		}
	}
}

func dequantizeIQ3XXS(dst []float32, src []byte) {
	points := iq3XXSGrid.read()
	for ; len(src) > 0; dst, src = dst[256:], src[98:] {
		block := (*[98]byte)(src)
		d := half(block[:])
		for i := range 32 {
			word := binary.LittleEndian.Uint32(block[66+i/4*4:])
			scale := d * (0.5 + float32(word>>28)) * 0.5
			signs := evenParity(uint8(word >> (i % 4 * 7) & 127))
			a, b := int(block[2+2*i]), int(block[2+2*i+1])
			putPoint(dst[8*i:], points[4*a:][:4], &iq3XXSValues, scale, signs)
			putPoint(dst[8*i+4:], points[4*b:][:4], &iq3XXSValues, scale, signs>>4)
		}
	}
}
