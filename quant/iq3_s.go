package quant

import "github.com/ggufkit/ggufkit/gguf"

// An IQ3_S block is 8 sub-blocks of 32 values x = d*(2*s + 1)*(2*l + 1), with signs:
//
//	  0  d       F16
//	  2  p       64 bytes, bits 0 to 7 of points of iq3SGrid, each of which has the
//	             levels l of 4 values
//	 66  ph      8 bytes, bit j of byte i is bit 8 of point 8*i + j
//	 74  signs   32 bytes, bit j of byte i is that of element 8*i + j
//	106  s       4 bytes, byte i has scale 2*i in the low and 2*i+1 in the high bits
//
// Points are found by gridSearch; d makes the largest scale 31, and a thirtieth
// more. After a sub-block of zeros, ggml writes bits 0 to 7 and the signs of those
// that follow one place too early, and so they are here; values of such blocks are
// not what was meant.
var _ = register(gguf.IQ3_S, codec{quantize: quantizeIQ3S, dequantize: dequantizeIQ3S, grid: &iq3SGrid})

// iq3SValues are the magnitudes of the levels.
var iq3SValues = [8]float32{1, 3, 5, 7, 9, 11, 13, 15}

var iq3SSearch = gridSearch{
	grid: &iq3SGrid, subBlock: 32,
	steps: 9, step: 0.2, refine: refineIfOffGrid,
	variance: 2,
}

func quantizeIQ3S(dst []byte, src, importance []float32) {
	var b gridBlock
	for ; len(src) > 0; dst, src = dst[110:], src[256:] {
		block, x := (*[110]byte)(dst), (*[256]float32)(src)
		clear(block[:])
		largest := iq3SSearch.fit(&b, x, importance)
		importance = nextBlock(importance)
		at := 0
		for s := range 8 {
			if b.Scales[s] == 0 && magnitude(x[32*s:][:32]) == 0 {
				continue
			}
			for i, p := range b.Points[8*s:][:8] {
				block[2+8*at+i] = byte(p)
				block[66+s] |= byte(p>>8) << i
			}
			copy(block[74+4*at:], b.Signs[4*s:][:4])
			at++
		}
		if largest == 0 {
			continue
		}
		d := largest / 31
		putHalf(block[:], d*1.033)
		levels := scaleLevels(&b.Scales, d)
		for i := range 4 {
			block[106+i] = levels[2*i] | levels[2*i+1]<<4
		}
	}
}

func dequantizeIQ3S(dst []float32, src []byte) {
	points := iq3SGrid.read()
	for ; len(src) > 0; dst, src = dst[256:], src[110:] {
		block := (*[110]byte)(src)
		d := half(block[:])
		for i := range 64 {
			p := int(block[2+i]) | int(block[66+i/8]>>(i%8)&1)<<8
			scale := d * float32(1+2*(block[106+i/16]>>(i/8%2*4)&15))
			putPoint(dst[4*i:], points[4*p:][:4], &iq3SValues, scale, block[74+i/2]>>(i%2*4))
		}
	}
}
