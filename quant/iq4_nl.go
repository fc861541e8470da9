package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// An IQ4_NL block is 32 values x = d*iq4Levels[q]:
//
//	0  d   F16
//	2  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// d is fitted by fitIQ4; the values are rounded with it before it is rounded
// itself.
var _ = register(gguf.IQ4_NL, codec{quantize: quantizeIQ4NL, dequantize: dequantizeIQ4NL})

// iq4Levels are the values of the integers of IQ4_NL and IQ4_XS, closer to each
// other where weights are more frequent (kvalues_iq4nl of ggml-common.h).
var iq4Levels = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// iq4Batch is for how many blocks of 32 values fitIQ4s and packIQ4s are called at
// a time: a whole number of vectors, and 16 super-blocks of IQ4_XS.
const iq4Batch = 128

func quantizeIQ4NL(dst []byte, src, importance []float32) {
	for len(src) > 0 {
		n := min(iq4Batch, len(src)/32)
		x := src[:32*n]
		var scales, inverses, variances [iq4Batch]float32
		if importance == nil {
			fitIQ4s(scales[:n], x, nil, nil)
		} else {
			sumsOfSquares(variances[:n], x, 32)
			for b, sum := range variances[:n] {
				variances[b] = 2 * sum / 32
			}
			fitIQ4s(scales[:n], x, importance[:32*n], variances[:n])
			importance = importance[32*n:]
		}
		for b, d := range scales[:n] {
			putHalf(dst[18*b:], d)
			inverses[b] = reciprocal(d)
		}
		packIQ4s(dst[2:], 18, x, inverses[:n])
		dst, src = dst[18*n:], src[32*n:]
	}
}

// sumsOfSquares does sumSquares for each size values of x, which are as many as
// sums.
func sumsOfSquares(sums, x []float32, size int) {
	for i := 0; i < len(sums); {
		if n := kernel.SumSquares(sums[i:], x[i*size:], size); n > 0 {
			i += n
			continue
		}
		sums[i] = sumSquares(x[i*size:][:size])
		i++
	}
	for i, sum := range sums {
		if sum != sum {
			// Which NaN it is depends on the order of operands.
			sums[i] = sumSquares(x[i*size:][:size])
		}
	}
}

// fitIQ4s does fitIQ4 for the blocks of 32 values of x, which are as many as
// scales. The weights are those of weighSquares, or with importances those of
// weigh.
func fitIQ4s(scales, x, importance, variances []float32) {
	for b := 0; b < len(scales); {
		x := x[32*b:]
		var blockImportance, blockVariances []float32
		if importance != nil {
			blockImportance, blockVariances = importance[32*b:], variances[b:]
		}
		if n := kernel.FitIQ4(scales[b:], x, blockImportance, blockVariances); n > 0 {
			b += n
			continue
		}
		x = x[:32]
		var weights [32]float32
		if importance == nil {
			weighSquares(weights[:], x)
		} else {
			weigh(weights[:], x, blockImportance[:32], blockVariances[0])
		}
		scales[b] = fitIQ4(x, weights[:])
		b++
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
			l := iq4Levels[nearestIQ4(float32(inverse*v))]
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

// packIQ4s does packIQ4 for the blocks of 32 values of x, which are as many as
// inverses, into 16 bytes each, which begin stride bytes apart.
func packIQ4s(dst []byte, stride int, x, inverses []float32) {
	for b := kernel.PackIQ4(dst, stride, x, inverses); b < len(inverses); b++ {
		packIQ4((*[16]byte)(dst[stride*b:]), (*[32]float32)(x[32*b:]), inverses[b])
	}
}

// packIQ4 rounds and stores 32 values.
func packIQ4(packed *[16]byte, x *[32]float32, inverse float32) {
	var q [32]uint8
	for i, v := range x {
		q[i] = nearestIQ4(float32(inverse * v))
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
