//go:build arm64 && !purego

package kernel

import (
	"fmt"

	"github.com/ggufkit/ggufkit/quant/isa"
)

// affineLanes is how many sub-blocks the kernel fits at a time.
const affineLanes = 8

// fitAffineNEON fits 8 sub-blocks of size values, 16 or 32. It does steps+1 fits
// after the first. It reports false, and what it stored means nothing, where a value
// is not finite or a quotient too large for nearestInt.
//
//go:noescape
func fitAffineNEON(q *uint8, x, importance, variances *float32, size int, scales, minima, sums, work *float32, n, first, step float32, steps, absolute,
	weighing int) (ok bool)

// roundAffineNEON stores (x + minimum)/scale as an integer in [0, n], for count
// sub-blocks of size values, 16 or 32, but for those with a scale of 0. It reports
// false, and the integers mean nothing, where a scale or a minimum is NaN.
//
//go:noescape
func roundAffineNEON(q *uint8, x, scales, minima *float32, size, count int, n float32) (ok bool)

// positiveErrorsNEON computes the errors of eight candidates for count values.
//
//go:noescape
func positiveErrorsNEON(errors, candidates, x, w *float32, count int, n float32)

// AffineWork is the memory that FitAffines works with. Nothing in it outlasts a
// call.
type AffineWork [affineLanes * (3*MaxSize + 9)]float32

// FitAffines does fitAffine of package quant for the sub-blocks of size values, 16
// or 32, that follow each other in q and x, with the weights that s says; sums are
// those of the weights. It returns how many it did: less than all where there are
// too few, or where the next one has values for which only the generic Go will do.
func FitAffines(work *AffineWork, q []uint8, x, importance, variances, scales, minima, sums []float32, size int, s Affine) int {
	if size != 16 && size != 32 {
		panic(fmt.Sprintf("kernel: sub-blocks of %d values", size))
	}
	count := len(scales)
	if isa.Current() == isa.Generic || count < affineLanes {
		return 0
	}
	q, x, minima, sums = q[:count*size], x[:count*size], minima[:count], sums[:count]
	if s.Weighing == ByImportance {
		importance, variances = importance[:count*size], variances[:count]
	}
	absolute := 0
	if s.Absolute {
		absolute = 1
	}
	for done := 0; done < count; {
		// The last ones begin where others end, or are among them.
		at := min(done, count-affineLanes)
		var weights, variance *float32
		if s.Weighing == ByImportance {
			weights, variance = &importance[at*size], &variances[at]
		}
		if !fitAffineNEON(&q[at*size], &x[at*size], weights, variance, size, &scales[at], &minima[at], &sums[at], &work[0], s.N, s.First, s.Step, s.Steps,
			absolute, int(s.Weighing)) {
			return done
		}
		done = at + affineLanes
	}
	return count
}

// RoundAffines does round of package quant, with integers in [0, n], for the
// sub-blocks of size values, 16 or 32, that follow each other in q and x. It
// reports whether it did, which it does not for some numbers that are not finite.
func RoundAffines(q []uint8, x, scales, minima []float32, size int, n int32) bool {
	if size != 16 && size != 32 {
		panic(fmt.Sprintf("kernel: sub-blocks of %d values", size))
	}
	count := len(scales)
	q, x, minima = q[:count*size], x[:count*size], minima[:count]
	if isa.Current() == isa.Generic || count == 0 {
		return false
	}
	return roundAffineNEON(&q[0], &x[0], &scales[0], &minima[0], size, count, float32(n))
}

// PositiveErrors computes the errors of candidates as fitPositive of package quant
// does, but that those that are NaN may be other NaN. It reports whether it did.
func PositiveErrors(errors, candidates *[8]float32, x, w []float32, n int32) bool {
	if isa.Current() == isa.Generic || len(x) == 0 {
		return false
	}
	w = w[:len(x)]
	positiveErrorsNEON(&errors[0], &candidates[0], &x[0], &w[0], len(x), float32(n))
	return true
}
