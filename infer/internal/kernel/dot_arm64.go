//go:build arm64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// dotLanesNEON stores the sums of every 64th product. n is a multiple of 64.
//
//go:noescape
func dotLanesNEON(a *float32, b *float32, n int, lanes *float32)

// addScaledNEON adds factor*x to dst. n is a multiple of 64.
//
//go:noescape
func addScaledNEON(dst *float32, x *float32, n int, factor float32)

// dotLanes is dotLanesGeneric by the best means, for len(a) > 0.
func dotLanes(lanes *[dotStep]float32, a, b []float32) {
	if isa.Current() == isa.Generic {
		dotLanesGeneric(lanes, a, b)
		return
	}
	dotLanesNEON(&a[0], &b[0], len(a), &lanes[0])
}

// addScaled is addScaledGeneric by the best means, for len(dst) > 0.
func addScaled(dst, x []float32, factor float32) {
	if isa.Current() == isa.Generic {
		addScaledGeneric(dst, x, factor)
		return
	}
	addScaledNEON(&dst[0], &x[0], len(dst), factor)
}
