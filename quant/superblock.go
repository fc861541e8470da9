package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

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

// batch is how many super-blocks are quantized together, so that each can be in a
// lane of its own.
const batch = 16

// symmetricBatch has what Q3_K and Q6_K know of super-blocks of 16 sub-blocks
// while they quantize them.
type symmetricBatch struct {
	q      [256 * batch]uint8
	levels [16 * batch]uint8   // the scales as integers, counted from 0
	scales [16 * batch]float32 // those that were fitted, later those that are stored
	totals [16 * batch]float32 // the weights of sub-blocks
	d      [batch]float32      // what the integers count in
}

// fitScales makes integers in [-n, n), counted from 0, of the 16 scales of each
// super-block, such that the one of largest magnitude becomes -n, and stores
// what they count in, d. If that one is 0, or its magnitude below least, d and the
// integers are 0.
func fitScales(levels []uint8, scales, d []float32, n int32, least float32) {
	for b := 0; b < len(d); {
		levels, scales := levels[16*b:], scales[16*b:]
		if done := kernel.FitScales(levels, scales, d[b:], float32(n)); done > 0 {
			b += done
			continue
		}
		levels, scales = levels[:16], scales[:16]
		largest := extreme(scales)
		if largest == 0 || abs(largest) < least {
			d[b] = 0
			clear(levels)
		} else {
			inverse := -float32(n) / largest
			d[b] = 1 / inverse
			for s, scale := range scales {
				levels[s] = uint8(max(-n, int32(int8(min(n-1, nearestInt(inverse*scale))))) + n)
			}
		}
		b++
	}
}

// roundSubBlocks stores x/scale, rounded and limited to [-n, n), counted from 0,
// for sub-blocks of 16 values. Where the scale is 0, q stays as it is.
func roundSubBlocks(q []uint8, x, scales []float32, n int32) {
	if kernel.RoundSubBlocks(q, x, scales, float32(n)) {
		return
	}
	for s, scale := range scales {
		round(q[16*s:][:16], x[16*s:][:16], scale, 0, -n, n-1)
	}
}

// eightBytes returns eight bytes of q as an integer.
func eightBytes(q []uint8) uint64 { return binary.LittleEndian.Uint64(q) }

// ofEach returns bits for eight bytes at once: v in each of them.
func ofEach(v uint8) uint64 { return uint64(v) * 0x0101010101010101 }

// packPairs stores bits 0 and 1 of elements i, i+32, i+64 and i+96 in byte i, from
// the lowest bits up, after shifting the elements to the right.
func packPairs(packed *[32]byte, q *[128]uint8, shift int) {
	for i := 0; i < 32; i += 8 {
		var pairs uint64
		for part := range 4 {
			pairs |= eightBytes(q[32*part+i:]) >> shift & ofEach(3) << (2 * part)
		}
		binary.LittleEndian.PutUint64(packed[i:], pairs)
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

// affineHead is what blocks of Q4_K and Q5_K begin with.
type affineHead struct {
	d, dmin float32
	packed  *[12]byte // the scales and minima that d and dmin are for
}

func readAffineHead(block []byte) affineHead {
	return affineHead{half(block), half(block[2:]), (*[12]byte)(block[4:])}
}

// scaleMin returns what the scale and the minimum of sub-block s stand for.
func (h affineHead) scaleMin(s int) (scale, minimum float32) {
	scaleLevel, minLevel := scaleMin(h.packed, s)
	return h.d * float32(scaleLevel), float32(h.dmin * float32(minLevel))
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
