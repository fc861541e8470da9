package quant

import "github.com/ggufkit/ggufkit/gguf"

// An IQ2_S block is 16 sub-blocks of 16 values x = d*(s + 1/2)/4 * iq2Values[l]:
//
//	 0  d       F16
//	 2  p       32 bytes, bits 0 to 7 of points of iq2SGrid, each of which has the
//	            levels l of 8 values
//	34  signs   32 bytes, bit j of byte i is that of element 8*i + j
//	66  ph      8 bytes, bits 8 and 9 of four points each, from the lowest bits up
//	74  s       8 bytes, byte i has scale 2*i in the low and 2*i+1 in the high bits
//
// Points are found by gridSearch; d makes the largest scale 31/8, less an eightieth.
var _ = register(gguf.IQ2_S, codec{quantize: quantizeIQ2S, dequantize: dequantizeIQ2S, grid: &iq2SGrid})

var iq2SSearch = gridSearch{
	grid: &iq2SGrid, subBlock: 16, zero: 1e-8,
	steps: 9, step: 0.1, refine: refineOffGrid,
	variance: 2, base: 0.25,
}

func quantizeIQ2S(dst []byte, src, importance []float32) {
	var b gridBlock
	for ; len(src) > 0; dst, src = dst[82:], src[256:] {
		block, x := (*[82]byte)(dst), (*[256]float32)(src)
		clear(block[:])
		largest := iq2SSearch.fit(&b, x, importance)
		importance = nextBlock(importance)
		copy(block[34:], b.Signs[:])
		for i, p := range b.Points[:32] {
			block[2+i] = byte(p)
			block[66+i/4] |= byte(p>>8) << (i % 4 * 2)
		}
		if largest == 0 {
			continue
		}
		d := largest / 31
		putHalf(block[:], d*0.9875)
		levels := scaleLevels(&b.Scales, d)
		for i := range 8 {
			block[74+i] = levels[2*i] | levels[2*i+1]<<4
		}
	}
}

func dequantizeIQ2S(dst []float32, src []byte) {
	points := iq2SGrid.read()
	for ; len(src) > 0; dst, src = dst[256:], src[82:] {
		block := (*[82]byte)(src)
		d := half(block[:])
		for i := range 32 {
			p := int(block[2+i]) | int(block[66+i/4]>>(i%4*2)&3)<<8
			scale := d * (0.5 + float32(block[74+i/4]>>(i/2%2*4)&15)) * 0.25
			putPoint(dst[8*i:], points[8*p:][:8], &iq2Values, scale, block[34+i])
		}
	}
}
