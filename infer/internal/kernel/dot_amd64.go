//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

//go:generate go run -C ../../_asm ./dot -pkg kernel -out ../internal/kernel/dot_amd64.s -stubs ../internal/kernel/dot_stubs_amd64.go

// dotLanes is dotLanesGeneric by the best means, for len(a) > 0.
func dotLanes(lanes *[dotStep]float32, a, b []float32) {
	switch isa.Current() {
	case isa.AVX512:
		dotLanesAVX512(&a[0], &b[0], len(a), &lanes[0])
	case isa.AVX2:
		dotLanesAVX2(&a[0], &b[0], len(a), &lanes[0])
	default:
		dotLanesGeneric(lanes, a, b)
	}
}

// addScaled is addScaledGeneric by the best means, for len(dst) > 0.
func addScaled(dst, x []float32, factor float32) {
	switch isa.Current() {
	case isa.AVX512:
		addScaledAVX512(&dst[0], &x[0], len(dst), factor)
	case isa.AVX2:
		addScaledAVX2(&dst[0], &x[0], len(dst), factor)
	default:
		addScaledGeneric(dst, x, factor)
	}
}
