//go:build arm64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// iq4Lanes is how many blocks the kernel fits at a time.
const iq4Lanes = 8

// fitIQ4NEON fits 8 blocks, with the weights x^2 if importance is nil. It reports
// false, with nothing stored, if a value is not finite or a weight is NaN or infinite.
//
//go:noescape
func fitIQ4NEON(x, importance, variances, scales, work *float32) (ok bool)

// packIQ4NEON packs blocks up to the first one with a quotient that is large or NaN,
// and returns how many.
//
//go:noescape
func packIQ4NEON(dst *byte, stride int, x, inverses *float32, blocks int) (done int)

// FitIQ4 does fitIQ4 of package quant for the blocks of 32 values that follow
// each other in x, and returns for how many: less than all where there are too few,
// or where the next one has values for which only the generic Go will do. Without
// importance, the weights are the squares of the values; otherwise, variances has one
// for each block.
func FitIQ4(scales, x, importance, variances []float32) int {
	count := len(scales)
	if isa.Current() == isa.Generic || count < iq4Lanes {
		return 0
	}
	x = x[:32*count]
	if importance != nil {
		importance, variances = importance[:32*count], variances[:count]
	}
	var work [iq4Lanes * (3*MaxSize + 4)]float32
	for done := 0; done < count; {
		// The last ones begin where others end, or are among them.
		at := min(done, count-iq4Lanes)
		var weights, variance *float32
		if importance != nil {
			weights, variance = &importance[32*at], &variances[at]
		}
		if !fitIQ4NEON(&x[32*at], weights, variance, &scales[at], &work[0]) {
			return done
		}
		done = at + iq4Lanes
	}
	return count
}

// PackIQ4 does packIQ4 of package quant for blocks of 32 values, which follow
// each other in x, into 16 bytes each, which begin stride bytes apart in dst. It
// returns for how many.
func PackIQ4(dst []byte, stride int, x, inverses []float32) int {
	n := len(inverses)
	if isa.Current() == isa.Generic || n == 0 {
		return 0
	}
	x, dst = x[:32*n], dst[:stride*(n-1)+16]
	return packIQ4NEON(&dst[0], stride, &x[0], &inverses[0], n)
}
