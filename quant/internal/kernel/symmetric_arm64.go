//go:build arm64 && !purego

package kernel

import (
	"fmt"

	"github.com/ggufkit/ggufkit/quant/isa"
)

const (
	symmetricLanes = 8  // the sub-blocks that fitSymmetricNEON fits at a time
	descentLanes   = 16 // the sub-blocks that fitByDescentNEON fits at a time
)

// fitSymmetricNEON fits 8 sub-blocks of size values, 16 or 32, with the weights x^2
// if w is nil. It reports false, with nothing stored, if a value is not finite or a
// weight is NaN or infinite.
//
//go:noescape
func fitSymmetricNEON(q *uint8, x, w *float32, size int, scales, totals, work *float32, n float32) (ok bool)

// fitByDescentNEON fits 16 sub-blocks of 16 values. It reports false, with nothing
// stored, if a value is not finite.
//
//go:noescape
func fitByDescentNEON(q *uint8, x, scales, work *float32, n float32) (ok bool)

// roundSubBlocksNEON rounds count sub-blocks of 16 values, but for those that have a
// scale of 0.
//
//go:noescape
func roundSubBlocksNEON(q *uint8, x, scales *float32, count int, n float32)

// weighValuesNEON weighs count values, a multiple of 8.
//
//go:noescape
func weighValuesNEON(w, x, importance *float32, count int, variance float32)

// FitSymmetric does fitSymmetric of package quant for sub-blocks of size values,
// 16 or 32, which follow each other in q, x and w, and returns for how many: less
// than all where there are too few, or where the next one has values for which only
// the generic Go will do. The weights are those of x^2 if w is nil. totals, if it is
// not nil, gets the sums of the weights.
func FitSymmetric(q []uint8, x, w, scales, totals []float32, size int, n float32) int {
	if size != 16 && size != 32 {
		panic(fmt.Sprintf("kernel: sub-blocks of %d values", size))
	}
	count := len(scales)
	if isa.Current() == isa.Generic || count < symmetricLanes {
		return 0
	}
	q, x = q[:count*size], x[:count*size]
	if w != nil {
		w = w[:count*size]
	}
	if totals != nil {
		totals = totals[:count]
	}
	var work [symmetricLanes * (3*MaxSize + 2)]float32
	var ignored [symmetricLanes]float32
	for done := 0; done < count; {
		// The last ones begin where others end, or are among them.
		at := min(done, count-symmetricLanes)
		var weights *float32
		if w != nil {
			weights = &w[at*size]
		}
		sums := &ignored[0]
		if totals != nil {
			sums = &totals[at]
		}
		if !fitSymmetricNEON(&q[at*size], &x[at*size], weights, size, &scales[at], sums, &work[0], n) {
			return done
		}
		done = at + symmetricLanes
	}
	return count
}

// FitByDescent does fitByDescent of package quant for sub-blocks of 16 values,
// which follow each other in q and x, and returns for how many, as FitSymmetric
// does.
func FitByDescent(q []uint8, x, scales []float32, n float32) int {
	count := len(scales)
	if isa.Current() == isa.Generic || count < descentLanes {
		return 0
	}
	q, x = q[:16*count], x[:16*count]
	var work [descentLanes * (3*16 + 1)]float32
	for done := 0; done < count; {
		at := min(done, count-descentLanes)
		if !fitByDescentNEON(&q[16*at], &x[16*at], &scales[at], &work[0], n) {
			return done
		}
		done = at + descentLanes
	}
	return count
}

// FitScales does nothing: there is no kernel.
func FitScales(_ []uint8, _, _ []float32, _ float32) int { return 0 }

// RoundSubBlocks does roundSubBlocks of package quant and returns whether it
// did.
func RoundSubBlocks(q []uint8, x, scales []float32, n float32) bool {
	if isa.Current() == isa.Generic || len(scales) == 0 {
		return false
	}
	q, x = q[:16*len(scales)], x[:16*len(scales)]
	roundSubBlocksNEON(&q[0], &x[0], &scales[0], len(scales), n)
	return true
}

// WeighValues does weigh of package quant for the first values of x, and returns
// for how many: none if variance is NaN, as it is where a value is, since which one
// of two NaN a product is depends on their order.
func WeighValues(w, x, importance []float32, variance float32) int {
	n := len(x) / 8 * 8
	if isa.Current() == isa.Generic || n == 0 || variance != variance {
		return 0
	}
	w, importance = w[:n], importance[:n]
	weighValuesNEON(&w[0], &x[0], &importance[0], n, variance)
	return n
}

// SumSuperBlocks stores the sums of squares of the super-blocks in x, added up
// in order, and returns of how many.
func SumSuperBlocks(sums, x []float32) int {
	done := 0
	for done < len(sums) {
		n := SumSquares(sums[done:], x[256*done:], 256)
		if n == 0 {
			break
		}
		done += n
	}
	return done
}

// PackQ6K does nothing: there is no kernel.
func PackQ6K(_, _ []uint8) bool { return false }

// PackQ3K does nothing: there is no kernel.
func PackQ3K(_, _ []uint8) bool { return false }
