//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

//go:generate go run -C ../../_asm ./iq4 -pkg kernel -out ../internal/kernel/iq4_amd64.s -stubs ../internal/kernel/iq4_stubs_amd64.go

// iq4Lanes is how many blocks the widest vector takes.
const iq4Lanes = 16

// iq4Width returns how many lanes to use for n things at most: 0 if there are fewer
// than in the shortest vector.
func iq4Width(n int) int {
	switch tier := isa.Current(); {
	case tier == isa.AVX512 && n >= iq4Lanes:
		return iq4Lanes
	case tier != isa.Generic && n >= iq4Lanes/2:
		return iq4Lanes / 2
	default:
		return 0
	}
}

// FitIQ4 does fitIQ4 of package quant for the blocks of 32 values that follow
// each other in x, and returns for how many. Without importance, the weights are
// the squares of the values; otherwise, variances has one for each block.
func FitIQ4(scales, x, importance, variances []float32) int {
	n := iq4Width(len(scales))
	if n == 0 {
		return fitFewIQ4(scales, x, importance, variances)
	}
	x = x[:32*n]
	var firstImportance, firstVariance *float32
	if importance != nil {
		firstImportance, firstVariance = &importance[:32*n][0], &variances[:n][0]
	}
	var finite bool
	if n == iq4Lanes {
		finite = fitIQ4AVX512(&x[0], firstImportance, firstVariance, &scales[0])
	} else {
		finite = fitIQ4AVX2(&x[0], firstImportance, firstVariance, &scales[0])
	}
	if !finite {
		return 0
	}
	return n
}

// fitFewIQ4 is FitIQ4 for fewer blocks than there are lanes.
func fitFewIQ4(scales, x, importance, variances []float32) int {
	const n = iq4Lanes / 2
	if isa.Current() == isa.Generic || len(scales) == 0 {
		return 0
	}
	var xs, importances [32 * n]float32
	var variance, scale [n]float32
	copy(xs[:], x[:32*len(scales)])
	if importance != nil {
		copy(importances[:], importance[:32*len(scales)])
		copy(variance[:], variances[:len(scales)])
		importance = importances[:]
	}
	if FitIQ4(scale[:], xs[:], importance, variance[:]) == 0 {
		return 0
	}
	return copy(scales, scale[:])
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
	if isa.Current() == isa.AVX512 {
		packIQ4AVX512(&dst[0], stride, &x[0], &inverses[0], n)
	} else {
		packIQ4AVX2(&dst[0], stride, &x[0], &inverses[0], n)
	}
	return n
}
