package quant

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
	return affineSearch{n: n, first: -0.9, step: 0.05, steps: 36}
}

// quantizeAffine does what Q4_K and Q5_K have in common without importances: it
// fits the eight sub-blocks one by one, each value weighted by its magnitude plus
// the root mean square of its sub-block, stores d, dmin, scales and minima in the
// head of the block, such that the largest scale and minimum become 63, and
// rounds the values again with what was stored.
func quantizeAffine(head *[16]byte, q *[256]uint8, x *[256]float32, search affineSearch) {
	var scales, minima [8]float32
	var weights [256]float32
	for s := range scales {
		x, weights := (*[32]float32)(x[32*s:]), (*[32]float32)(weights[32*s:])
		rms := sqrt(sumSquares(x[:]) / 32)
		for i, v := range x {
			weights[i] = rms + abs(v)
		}
	}
	fitAffines(q[:], x[:], weights[:], scales[:], minima[:], search)
	largestScale, inverseScale := greatest(scales[:], 63)
	largestMin, inverseMin := greatest(minima[:], 63)
	putHalf(head[:], largestScale/63)
	putHalf(head[2:], largestMin/63)
	d, dmin := half(head[:]), half(head[2:])

	packed := (*[12]byte)(head[4:])
	clear(packed[:])
	for s := range scales {
		scale := min(63, uint8(nearestInt(inverseScale*scales[s])))
		minimum := min(63, uint8(nearestInt(inverseMin*minima[s])))
		putScaleMin(packed, s, scale, minimum)
		round(q[32*s:][:32], x[32*s:][:32], d*float32(scale), float32(dmin*float32(minimum)), 0, search.n)
	}
}

// quantizeAffineWeighted is quantizeAffine with importances. There, d and dmin
// are fitted too, to the scales and minima weighted by the sums of their
// sub-blocks.
func quantizeAffineWeighted(head *[16]byte, q *[256]uint8, x, importance *[256]float32, n int32) {
	variance := 2 * sumSquares(x[:]) / 256
	var scales, minima, sums [8]float32
	var weights [256]float32
	weigh(weights[:], x[:], importance[:], variance)
	for s := range sums {
		sums[s] = total(weights[32*s:][:32])
	}
	fitAffines(q[:], x[:], weights[:], scales[:], minima[:], weightedSearch(n))
	var scaleLevels, minLevels [8]uint8
	putHalf(head[:], fitPositive(scaleLevels[:], scales[:], sums[:], 63))
	putHalf(head[2:], fitPositive(minLevels[:], minima[:], sums[:], 63))
	d, dmin := half(head[:]), half(head[2:])

	packed := (*[12]byte)(head[4:])
	clear(packed[:])
	for s := range scales {
		scale, minimum := min(63, scaleLevels[s]), min(63, minLevels[s])
		putScaleMin(packed, s, scale, minimum)
		round(q[32*s:][:32], x[32*s:][:32], d*float32(scale), float32(dmin*float32(minimum)), 0, n)
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
