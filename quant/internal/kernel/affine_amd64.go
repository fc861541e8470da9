//go:build amd64 && !purego

package kernel

import (
	"fmt"

	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./affine -pkg kernel -out ../internal/kernel/affine_amd64.s -stubs ../internal/kernel/affine_stubs_amd64.go

// AffineWork is the memory that FitAffines works with. Nothing in it outlasts a
// call.
type AffineWork struct {
	tail struct {
		q                               [32 * MaxSize]uint8
		x, importance                   [32 * MaxSize]float32
		variances, scales, minima, sums [32]float32
	}
	memory [14976 / 4]float32
}

// FitAffines does fitAffine of package quant for the sub-blocks of size values, 16
// or 32, that follow each other in q and x, with the weights that s says; sums are
// those of the weights. It returns how many it did: less than all where the next
// one has values for which only the generic Go will do.
func FitAffines(work *AffineWork, q []uint8, x, importance, variances, scales, minima, sums []float32, size int, s Affine) int {
	if size != 16 && size != 32 {
		panic(fmt.Sprintf("kernel: sub-blocks of %d values", size))
	}
	width := 0
	switch isa.Current() {
	case isa.AVX512:
		width = 32
	case isa.AVX2:
		width = 16
	default:
		return 0
	}
	count := len(scales)
	q, x, minima, sums = q[:count*size], x[:count*size], minima[:count], sums[:count]
	if s.Weighing == ByImportance {
		importance, variances = importance[:count*size], variances[:count]
	}
	for done := 0; done < count; done += width {
		if t := &work.tail; count-done < width {
			clear(t.x[copy(t.x[:], x[done*size:]):])
			if s.Weighing == ByImportance {
				copy(t.importance[:], importance[done*size:])
				copy(t.variances[:], variances[done:])
			}
			if !fitAffines(work, t.q[:], t.x[:], t.importance[:], t.variances[:], t.scales[:], t.minima[:], t.sums[:], size, s) {
				return done
			}
			copy(q[done*size:], t.q[:])
			copy(scales[done:], t.scales[:])
			copy(minima[done:], t.minima[:])
			copy(sums[done:], t.sums[:])
			break
		}
		var weights, variance []float32
		if s.Weighing == ByImportance {
			weights, variance = importance[done*size:], variances[done:]
		}
		if !fitAffines(work, q[done*size:], x[done*size:], weights, variance, scales[done:], minima[done:], sums[done:], size, s) {
			return done
		}
	}
	return count
}

// fitAffines does as many sub-blocks as the kernels take at once. There may be
// more.
func fitAffines(work *AffineWork, q []uint8, x, importance, variances, scales, minima, sums []float32, size int, s Affine) bool {
	absolute := 0
	if s.Absolute {
		absolute = 1
	}
	var weights, variance *float32
	if s.Weighing == ByImportance {
		weights, variance = &importance[0], &variances[0]
	}
	if isa.Current() == isa.AVX512 {
		return fitAffineAVX512(&q[0], &x[0], weights, variance, size, &scales[0], &minima[0], &sums[0], &work.memory[0], s.N, s.First, s.Step, s.Steps,
			absolute, int(s.Weighing))
	}
	return fitAffineAVX2(&q[0], &x[0], weights, variance, size, &scales[0], &minima[0], &sums[0], &work.memory[0], s.N, s.First, s.Step, s.Steps, absolute,
		int(s.Weighing))
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
	if count == 0 {
		return true
	}
	switch isa.Current() {
	case isa.AVX512:
		return roundAffineAVX512(&q[0], &x[0], &scales[0], &minima[0], size, count, float32(n))
	case isa.AVX2:
		return roundAffineAVX2(&q[0], &x[0], &scales[0], &minima[0], size, count, float32(n))
	default:
		return false
	}
}

// PositiveErrors computes the errors of candidates as fitPositive of package quant
// does, but that those that are NaN may be other NaN. It reports whether it did.
func PositiveErrors(errors, candidates *[8]float32, x, w []float32, n int32) bool {
	if isa.Current() == isa.Generic || len(x) == 0 {
		return false
	}
	w = w[:len(x)]
	positiveErrorsAVX2(&errors[0], &candidates[0], &x[0], &w[0], len(x), n)
	return true
}
