package quant

import "github.com/ggufkit/ggufkit/quant/internal/kernel"

// What the K types share besides the searches in scale.go.

// greatest returns the largest of scales, none of which counts if it is
// negative, and the factor that makes it n: 0 if it is 0.
func greatest(scales []float32, n float32) (largest, inverse float32) {
	for _, s := range scales {
		if s > largest {
			largest = s
		}
	}
	if largest > 0 {
		inverse = n / largest
	}
	return largest, inverse
}

// round stores (x + minimum)/scale, rounded and limited to [low, high], counting
// from low. If the scale is 0, q stays as it is.
func round(q []uint8, x []float32, scale, minimum float32, low, high int32) {
	if scale == 0 {
		return
	}
	q = q[:len(x)]
	for i, v := range x {
		q[i] = uint8(clamp(nearestInt((v+minimum)/scale), low, high) - low)
	}
}

// weightedSearch is what Q2_K, Q4_1, Q4_K, Q5_1 and Q5_K search with
// importances, n being the largest integer.
func weightedSearch(n int32) affineSearch {
	return affineSearch{n: n, first: -0.9, step: 0.05, steps: 36, weighing: kernel.ByImportance, variance: 2}
}

// fitSuperBlocks fits the sub-blocks of super-blocks.
func (f *affineFits) fitSuperBlocks(x, importance []float32, size int, search affineSearch) {
	var variances [affineBatch / 16]float32
	if importance != nil {
		var sums [4]float32
		if len(x) == affineBatch {
			sums = sumSquares4((*[affineBatch]float32)(x))
		} else {
			for b := range len(x) / 256 {
				sums[b] = sumSquares(x[256*b:][:256])
			}
		}
		for s := range len(x) / size {
			variances[s] = search.variance * sums[s*size/256] / 256
		}
	}
	f.fit(x, importance, variances[:], size, search)
}

// quantizeAffine does what Q4_K and Q5_K have in common for the next
// super-blocks of src, the number of which it returns: it fits the sub-blocks one
// by one, stores d, dmin, scales and minima in the heads of the blocks, and
// rounds the values again with what was stored.
func (f *affineFits) quantizeAffine(dst []byte, blockBytes int, src, importance []float32, search affineSearch) int {
	x := src[:min(len(src), affineBatch)]
	f.fitSuperBlocks(x, importance, 32, search)
	count := len(x) / 256
	for b := range count {
		head := (*[16]byte)(dst[b*blockBytes:])
		scales, minima := (*[8]float32)(f.scales[8*b:]), (*[8]float32)(f.minima[8*b:])
		if importance == nil {
			putAffine(head, scales, minima)
		} else {
			putAffineWeighted(head, scales, minima, (*[8]float32)(f.sums[8*b:]))
		}
	}
	f.round(x, 32, search.n)
	return count
}

// putAffine stores scales and minima such that the largest become 63. It makes
// them what was stored.
func putAffine(head *[16]byte, scales, minima *[8]float32) {
	largestScale, inverseScale := greatest(scales[:], 63)
	largestMin, inverseMin := greatest(minima[:], 63)
	putHalf(head[:], largestScale/63)
	putHalf(head[2:], largestMin/63)
	var scaleLevels, minLevels [8]uint8
	for s := range scales {
		scaleLevels[s] = uint8(nearestInt(inverseScale * scales[s]))
		minLevels[s] = uint8(nearestInt(inverseMin * minima[s]))
	}
	putScaleMins(head, scales, minima, &scaleLevels, &minLevels)
}

// putAffineWeighted is putAffine with importances: d and dmin are fitted too, to
// the scales and minima weighted by the sums of their sub-blocks.
func putAffineWeighted(head *[16]byte, scales, minima, sums *[8]float32) {
	var scaleLevels, minLevels [8]uint8
	putHalf(head[:], fitPositive(scaleLevels[:], scales[:], sums[:], 63))
	putHalf(head[2:], fitPositive(minLevels[:], minima[:], sums[:], 63))
	putScaleMins(head, scales, minima, &scaleLevels, &minLevels)
}

// putScaleMins stores the levels of scales and minima, at most 63, beside d and
// dmin, and makes scales and minima what they stand for.
func putScaleMins(head *[16]byte, scales, minima *[8]float32, scaleLevels, minLevels *[8]uint8) {
	d, dmin, packed := half(head[:]), half(head[2:]), (*[12]byte)(head[4:])
	clear(packed[:])
	for s := range scales {
		scale, minimum := min(63, scaleLevels[s]), min(63, minLevels[s])
		putScaleMin(packed, s, scale, minimum)
		scales[s], minima[s] = d*float32(scale), float32(dmin*float32(minimum))
	}
}

// scaleMin returns the scale and the minimum of sub-block s. Those of the first
// four are the low six bits of bytes s and s+4; those of the others have bits 0
// to 3 in byte s+4, and bits 4 and 5 at the top of bytes s-4 and s.
func scaleMin(packed *[12]byte, s int) (scale, minimum uint8) {
	if s < 4 {
		return packed[s] & 63, packed[s+4] & 63
	}
	return packed[s+4]&15 | packed[s-4]>>6<<4, packed[s+4]>>4 | packed[s]>>6<<4
}

// putScaleMin stores what scaleMin returns, in zeroed bytes.
func putScaleMin(packed *[12]byte, s int, scale, minimum uint8) {
	if s < 4 {
		packed[s] |= scale
		packed[s+4] |= minimum
		return
	}
	packed[s+4] |= scale&15 | minimum<<4
	packed[s-4] |= scale >> 4 << 6
	packed[s] |= minimum >> 4 << 6
}
