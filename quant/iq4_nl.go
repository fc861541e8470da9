package quant

import "github.com/ggufkit/ggufkit/gguf"

// An IQ4_NL block is 32 values x = d*iq4Levels[q]:
//
//	0  d   F16
//	2  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// d is fitted by fitIQ4; the values are rounded with it before it is rounded
// itself.
var iq4NL = codec{quantize: quantizeIQ4NL, dequantize: dequantizeIQ4NL, float: gguf.F16, floats: []int{0}}

// iq4Levels are the values of the integers of IQ4_NL and IQ4_XS, closer to each
// other where weights are more frequent (kvalues_iq4nl of ggml-common.h).
var iq4Levels = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

func quantizeIQ4NL(dst []byte, src, importance []float32) {
	for ; len(src) > 0; dst, src = dst[18:], src[32:] {
		x, block := (*[32]float32)(src), (*[18]byte)(dst)
		var weights [32]float32
		if importance == nil {
			weighSquares(weights[:], x[:])
		} else {
			weigh(weights[:], x[:], importance, 2*sumSquares(x[:])/32)
			importance = importance[32:]
		}
		d := fitIQ4(x[:], weights[:])
		putHalf(block[:], d)
		packIQ4((*[16]byte)(block[2:]), x, reciprocal(d))
	}
}

// fitIQ4 finds a scale s such that x is about s times levels, weighted by w: the
// best of 16 around the one that sends the value of largest magnitude to the
// lowest level, as fitSymmetric does it. It is the first half of
// quantize_row_iq4_nl_impl of ggml-quants.c.
func fitIQ4(x, w []float32) float32 {
	peak := extreme(x)
	if abs(peak) < negligible {
		return 0
	}
	sums := func(inverse float32) (xq, qq float32) {
		for i, v := range x {
			l := iq4Levels[nearestIQ4(inverse*v)]
			wl := float32(w[i] * l)
			xq += float32(wl * v)
			qq += float32(wl * l)
		}
		return xq, qq
	}
	lowest := iq4Levels[0]
	var scale float32
	xq, qq := sums(1 / (-peak / lowest))
	if qq > 0 {
		scale = xq / qq
	}
	best := scale * xq
	for step := -7; step <= 7; step++ {
		xq, qq := sums((float32(step) + lowest) / peak)
		if qq > 0 && xq*xq > best*qq {
			scale = xq / qq
			best = scale * xq
		}
	}
	return scale
}

// nearestIQ4 returns the integer the level of which is next to f, the higher one
// of two.
func nearestIQ4(f float32) uint8 {
	low, high := uint8(0), uint8(15)
	if f <= iq4Levels[low] {
		return low
	}
	if f >= iq4Levels[high] {
		return high
	}
	for high-low > 1 {
		if middle := (low + high) / 2; f < iq4Levels[middle&15] {
			high = middle
		} else {
			low = middle
		}
	}
	if f-iq4Levels[low&15] < iq4Levels[high&15]-f {
		return low
	}
	return high
}

// packIQ4 rounds and stores 32 values.
func packIQ4(packed *[16]byte, x *[32]float32, inverse float32) {
	var q [32]uint8
	for i, v := range x {
		q[i] = nearestIQ4(inverse * v)
	}
	packNibbles(packed, &q)
}

func dequantizeIQ4NL(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[18:] {
		unpackIQ4((*[32]float32)(dst), (*[16]byte)(src[2:]), half(src))
	}
}

func unpackIQ4(x *[32]float32, packed *[16]byte, d float32) {
	for i, q := range packed {
		x[i] = d * iq4Levels[q&15]
		x[i+16] = d * iq4Levels[q>>4]
	}
}
