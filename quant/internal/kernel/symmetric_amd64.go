//go:build amd64 && !purego

package kernel

import (
	"fmt"
	"math/bits"

	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./symmetric -pkg kernel -out ../internal/kernel/symmetric_amd64.s -stubs ../internal/kernel/symmetric_stubs_amd64.go

const (
	symmetricLanes = 16 // of the widest vectors
	descents       = 4  // the vectors of sub-blocks that are fitted by descent together
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
	q, x = q[:size*len(scales)], x[:size*len(scales)]
	if w != nil {
		w = w[:len(x)]
	}
	for done := 0; done < len(scales); done += width {
		group := scales[done:min(done+width, len(scales))]
		from, to := done*size, (done+len(group))*size
		var weights, sums []float32
		if w != nil {
			weights = w[from:to]
		}
		if totals != nil {
			sums = totals[done:][:len(group)]
		}
		if !fitSymmetricGroup(q[from:to], x[from:to], weights, group, sums, size, width, n, wide) {
			return done
		}
	}
	return len(scales)
}

// fitSymmetricGroup does FitSymmetric for at most width sub-blocks. If they are
// fewer, the others are zeros.
func fitSymmetricGroup(q []uint8, x, w, scales, totals []float32, size, width int, n float32, wide bool) bool {
	var sums [symmetricLanes]float32
	if len(scales) == width {
		weights := (*float32)(nil)
		if w != nil {
			weights = &w[0]
		}
		ok := searchSymmetric(&q[0], &x[0], weights, size, &scales[0], &sums[0], n, wide)
		copy(totals, sums[:])
		return ok
	}
	var levels [MaxSize * symmetricLanes]uint8
	var values, allWeights [MaxSize * symmetricLanes]float32
	var found [symmetricLanes]float32
	copy(values[:], x)
	weights := (*float32)(nil)
	if w != nil {
		weights = &allWeights[0]
		copy(allWeights[:], w)
	}
	ok := searchSymmetric(&levels[0], &values[0], weights, size, &found[0], &sums[0], n, wide)
	if ok {
		copy(q, levels[:])
		copy(scales, found[:])
		copy(totals, sums[:])
	}
	return ok
}

func searchSymmetric(q *uint8, x, w *float32, size int, scales, totals *float32, n float32, wide bool) bool {
	if wide {
		return fitSymmetricAVX512(q, x, w, size, scales, totals, n)
	}
	return fitSymmetricAVX2(q, x, w, size, scales, totals, n)
}

// FitByDescent does fitByDescent of package quant for sub-blocks of 16 values,
// which follow each other in q and x, and returns for how many.
//
// Four in five have nothing to move, so one pass is enough for them. The others
// are collected, so that they do not keep vectors busy in which most are done.
func FitByDescent(q []uint8, x, scales []float32, n float32) int {
	width, wide := symmetricWidth()
	if width == 0 {
		return 0
	}
	q, x = q[:16*len(scales)], x[:16*len(scales)]
	queue := descentQueue{n: n, width: width * descents, wide: wide}
	done := 0
	for ; done+queue.width <= len(scales); done += queue.width {
		var unfinished [descents]uint16
		if !descend(&q[16*done], &x[16*done], &scales[done], &unfinished, 1, n, wide) {
			queue.flush(q, scales)
			return done
		}
		for v, lanes := range unfinished {
			for ; lanes != 0; lanes &= lanes - 1 {
				queue.add(done+v*width+bits.TrailingZeros16(lanes), q, x, scales)
			}
		}
	}
	queue.flush(q, scales)
	for i := done; i < len(scales); i++ {
		queue.add(i, q, x, scales)
	}
	if queue.flush(q, scales) {
		done = len(scales)
	}
	return done
}

func descend(q *uint8, x, scales *float32, unfinished *[descents]uint16, passes int, n float32, wide bool) bool {
	if wide {
		return fitByDescentAVX512(q, x, scales, &unfinished[0], passes, n)
	}
	return fitByDescentAVX2(q, x, scales, &unfinished[0], passes, n)
}

// descentQueue collects sub-blocks that need all passes.
type descentQueue struct {
	n      float32
	width  int
	wide   bool
	count  int
	index  [descents * symmetricLanes]int
	x      [descents * symmetricLanes * 16]float32
	q      [descents * symmetricLanes * 16]uint8
	scales [descents * symmetricLanes]float32
}

// add takes sub-block i. It fits what it has when that is as much as can be
// fitted at a time.
func (d *descentQueue) add(i int, q []uint8, x, scales []float32) {
	if d.count == d.width {
		d.flush(q, scales)
	}
	*(*[16]float32)(d.x[16*d.count:]) = [16]float32(x[16*i:])
	d.index[d.count] = i
	d.count++
}

// flush fits what there is and returns whether it could.
func (d *descentQueue) flush(q []uint8, scales []float32) bool {
	if d.count == 0 {
		return true
	}
	var unfinished [descents]uint16 // after all passes, it does not matter
	ok := descend(&d.q[0], &d.x[0], &d.scales[0], &unfinished, 5, d.n, d.wide)
	if ok {
		for at, i := range d.index[:d.count] {
			*(*[16]uint8)(q[16*i:]) = [16]uint8(d.q[16*at:])
			scales[i] = d.scales[at]
		}
	}
	d.count = 0
	return ok
}

// FitScales does fitScales of package quant for super-blocks, which follow each
// other in levels, scales and d, and returns for how many.
func FitScales(levels []uint8, scales, d []float32, n float32) int {
	width, wide := symmetricWidth()
	if width == 0 {
		return 0
	}
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
			ok = fitScalesAVX512(&allLevels[0], &allScales[0], &allD[0], n)
		} else {
			ok = fitScalesAVX2(&allLevels[0], &allScales[0], &allD[0], n)
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
// for how many: none if a weight is NaN, as which NaN it is depends on the order of
// operands.
func WeighValues(w, x, importance []float32, variance float32) int {
	width, wide := symmetricWidth()
	if width == 0 || len(x) < width {
		return 0
	}
	n := len(x) / width * width
	w, importance = w[:n], importance[:n]
	ok := false
	if wide {
		ok = weighValuesAVX512(&w[0], &x[0], &importance[0], n, variance)
	} else {
		ok = weighValuesAVX2(&w[0], &x[0], &importance[0], n, variance)
	}
	if !ok {
		return 0
	}
	return n
}

// PackQ6K does packQ6K of package quant for all super-blocks of q, and returns
// whether it did.
func PackQ6K(blocks, q []uint8) bool {
	if width, _ := symmetricWidth(); width == 0 || len(q) == 0 {
		return false
	}
	count := len(q) / 256
	packQ6KAVX2(&blocks[:210*count][0], &q[0], count)
	return true
}

// PackQ3K does packQ3K of package quant for all super-blocks of q, and returns
// whether it did.
func PackQ3K(blocks, q []uint8) bool {
	if width, _ := symmetricWidth(); width == 0 || len(q) == 0 {
		return false
	}
	count := len(q) / 256
	packQ3KAVX2(&blocks[:110*count][0], &q[0], count)
	return true
}
