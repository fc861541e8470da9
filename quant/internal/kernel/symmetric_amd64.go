//go:build amd64 && !purego

package kernel

import (
	"fmt"

	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./symmetric -pkg kernel -out ../internal/kernel/symmetric_amd64.s -stubs ../internal/kernel/symmetric_stubs_amd64.go

// These are of the widest vectors.
const (
	symmetricLanes = 16
	symmetricSlack = 64 / 4 // what makes room for whole cache lines
	descents       = 4      // the vectors of sub-blocks that are fitted by descent at a time
)

// symmetricWidth returns how many floats the vectors of the tier have, 0 if it
// has no kernels, and whether it is that of AVX-512.
func symmetricWidth() (width int, wide bool) {
	switch isa.Current() {
	case isa.AVX512:
		return symmetricLanes, true
	case isa.AVX2:
		return symmetricLanes / 2, false
	default:
		return 0, false
	}
}

// FitSymmetric does fitSymmetric of package quant for sub-blocks of size values,
// 16 or 32, which follow each other in q, x and w, and returns for how many. The
// weights are those of x^2 if w is nil. totals, if it is not nil, gets the sums
// of the weights.
func FitSymmetric(q []uint8, x, w, scales, totals []float32, size int, n float32) int {
	if size != 16 && size != 32 {
		panic(fmt.Sprintf("kernel: sub-blocks of %d values", size))
	}
	width, wide := symmetricWidth()
	if width == 0 {
		return 0
	}
	var work [(3*MaxSize+8)*symmetricLanes + symmetricSlack]float32
	var ignored [symmetricLanes]float32
	for done := 0; done < len(scales); done += width {
		count := min(width, len(scales)-done)
		q, x, scales := q[done*size:][:count*size], x[done*size:][:count*size], scales[done:][:count]
		totalsTo := ignored[:]
		if totals != nil {
			totalsTo = totals[done:][:count]
		}
		var weights *float32
		if w != nil {
			weights = &w[done*size:][:count*size][0]
		}
		if count < width {
			if !fitFewSymmetric(q, x, w, scales, totalsTo, done, size, n, &work[0], wide) {
				return done
			}
			return done + count
		}
		ok := false
		// A function in a variable would make work escape.
		if wide {
			ok = fitSymmetricAVX512(&q[0], &x[0], weights, size, &work[0], &scales[0], &totalsTo[0], n)
		} else {
			ok = fitSymmetricAVX2(&q[0], &x[0], weights, size, &work[0], &scales[0], &totalsTo[0], n)
		}
		if !ok {
			return done
		}
	}
	return len(scales)
}

// fitFewSymmetric does FitSymmetric for fewer sub-blocks than lanes: the others
// are zeros.
func fitFewSymmetric(q []uint8, x, w, scales, totals []float32, done, size int, n float32, work *float32, wide bool) bool {
	var levels [MaxSize * symmetricLanes]uint8
	var values, weights [MaxSize * symmetricLanes]float32
	var allScales, allTotals [symmetricLanes]float32
	copy(values[:], x)
	var weightsFrom *float32
	if w != nil {
		copy(weights[:], w[done*size:][:len(x)])
		weightsFrom = &weights[0]
	}
	ok := false
	if wide {
		ok = fitSymmetricAVX512(&levels[0], &values[0], weightsFrom, size, work, &allScales[0], &allTotals[0], n)
	} else {
		ok = fitSymmetricAVX2(&levels[0], &values[0], weightsFrom, size, work, &allScales[0], &allTotals[0], n)
	}
	if ok {
		copy(q, levels[:])
		copy(scales, allScales[:])
		copy(totals[:min(len(totals), len(scales))], allTotals[:])
	}
	return ok
}

// FitByDescent does fitByDescent of package quant for sub-blocks of 16 values,
// which follow each other in q and x, and returns for how many.
func FitByDescent(q []uint8, x, scales []float32, n float32) int {
	width, wide := symmetricWidth()
	if width == 0 {
		return 0
	}
	width *= descents
	var work [(descents*(16*4+3)+2)*symmetricLanes + symmetricSlack]float32
	for done := 0; done < len(scales); done += width {
		count := min(width, len(scales)-done)
		q, x, scales := q[done*16:][:count*16], x[done*16:][:count*16], scales[done:][:count]
		if count < width {
			if !fitFewByDescent(q, x, scales, n, &work[0], wide) {
				return done
			}
			return done + count
		}
		ok := false
		if wide {
			ok = fitByDescentAVX512(&q[0], &x[0], &work[0], &scales[0], n)
		} else {
			ok = fitByDescentAVX2(&q[0], &x[0], &work[0], &scales[0], n)
		}
		if !ok {
			return done
		}
	}
	return len(scales)
}

// fitFewByDescent does FitByDescent for fewer sub-blocks than are fitted at a
// time: the others are zeros.
func fitFewByDescent(q []uint8, x, scales []float32, n float32, work *float32, wide bool) bool {
	var levels [16 * descents * symmetricLanes]uint8
	var values [16 * descents * symmetricLanes]float32
	var allScales [descents * symmetricLanes]float32
	copy(values[:], x)
	ok := false
	if wide {
		ok = fitByDescentAVX512(&levels[0], &values[0], work, &allScales[0], n)
	} else {
		ok = fitByDescentAVX2(&levels[0], &values[0], work, &allScales[0], n)
	}
	if ok {
		copy(q, levels[:])
		copy(scales, allScales[:])
	}
	return ok
}

// FitScales does fitScales of package quant for super-blocks, which follow each
// other in levels, scales and d, and returns for how many.
func FitScales(levels []uint8, scales, d []float32, n float32) int {
	width, wide := symmetricWidth()
	if width == 0 {
		return 0
	}
	var work [16*symmetricLanes + symmetricSlack]float32
	for done := 0; done < len(d); done += width {
		count := min(width, len(d)-done)
		levels, scales, d := levels[done*16:][:count*16], scales[done*16:][:count*16], d[done:][:count]
		allLevels, allScales, allD := levels, scales, d
		if count < width {
			// The others are zeros.
			allLevels, allScales, allD = make([]uint8, 16*symmetricLanes), make([]float32, 16*symmetricLanes), make([]float32, symmetricLanes)
			copy(allScales, scales)
		}
		ok := false
		if wide {
			ok = fitScalesAVX512(&allLevels[0], &allScales[0], &work[0], &allD[0], n)
		} else {
			ok = fitScalesAVX2(&allLevels[0], &allScales[0], &work[0], &allD[0], n)
		}
		if !ok {
			return done
		}
		if count < width {
			copy(levels, allLevels)
			copy(d, allD)
		}
	}
	return len(d)
}

// RoundSubBlocks does roundSubBlocks of package quant and returns whether it
// did.
func RoundSubBlocks(q []uint8, x, scales []float32, n float32) bool {
	width, wide := symmetricWidth()
	if width == 0 || len(scales) == 0 {
		return false
	}
	q, x = q[:16*len(scales)], x[:16*len(scales)]
	if wide {
		roundSubBlocksAVX512(&q[0], &x[0], &scales[0], len(scales), n)
	} else {
		roundSubBlocksAVX2(&q[0], &x[0], &scales[0], len(scales), n)
	}
	return true
}

// WeighValues does weigh of package quant for the first values of x, and returns
// for how many.
func WeighValues(w, x, importance []float32, variance float32) int {
	width, wide := symmetricWidth()
	if width == 0 {
		return 0
	}
	n := len(x) / width * width
	if n == 0 {
		return 0
	}
	w, importance = w[:n], importance[:n]
	if wide {
		weighValuesAVX512(&w[0], &x[0], &importance[0], n, variance)
	} else {
		weighValuesAVX2(&w[0], &x[0], &importance[0], n, variance)
	}
	return n
}

// SumSuperBlocks stores the sums of squares of the super-blocks in x, added up
// in order, and returns of how many.
func SumSuperBlocks(sums, x []float32) int {
	width, wide := symmetricWidth()
	if width == 0 {
		return 0
	}
	x = x[:256*len(sums)]
	for done := 0; done < len(sums); done += width {
		sums, x := sums[done:], x[256*done:]
		allSums, allX := sums, x
		if len(sums) < width {
			// The others are zeros.
			allSums, allX = make([]float32, symmetricLanes), make([]float32, 256*symmetricLanes)
			copy(allX, x)
		}
		if wide {
			sumSuperBlocksAVX512(&allSums[0], &allX[0])
		} else {
			sumSuperBlocksAVX2(&allSums[0], &allX[0])
		}
		if len(sums) < width {
			copy(sums, allSums)
		}
	}
	return len(sums)
}
