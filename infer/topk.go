package infer

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// topK sets dst to the positions, ascending, of the highest scores, as many as it has room for, in a text of n tokens.
//
// Scores are often equal where few heads are: 0, if all products are negative. Of equal ones those are taken that torch.topk takes on a
// CPU, which puts what a token does not see behind all scores, and has libstdc++'s nth_element bring the highest to the front (as
// long as n is below 64 for each of them; beyond, it goes another way). So it depends on n which these are.
func topK(w *worker, dst []int32, scores []float32, n int) {
	queue := sized(&w.queue, n)
	for pos := range queue {
		queue[pos] = uint64(pos)
		if pos < len(scores) {
			queue[pos] |= uint64(ordered(scores[pos])) << 32
		}
	}
	nthElement(queue, len(dst)-1)
	for i := range dst {
		dst[i] = int32(queue[i])
	}
	slices.Sort(dst)
}

// nthElement moves what has the highest upper halves to the front of x, up to number n: by quickselect as libstdc++ has it, but
// where that goes on too long, what is left is sorted.
func nthElement(x []uint64, n int) {
	first, end := 0, len(x)
	for depth := 2 * (bits.Len(uint(len(x))) - 1); end-first > 3 && depth > 0; depth-- {
		middle := median(x, first+1, first+(end-first)/2, end-1)
		x[first], x[middle] = x[middle], x[first]
		low, high, pivot := first+1, end-1, x[first]
		for ; ; low, high = low+1, high-1 {
			for higher(x[low], pivot) {
				low++
			}
			for higher(pivot, x[high]) {
				high--
			}
			if low >= high {
				break
			}
			x[low], x[high] = x[high], x[low]
		}
		if low <= n {
			first = low
		} else {
			end = low
		}
	}
	slices.SortStableFunc(x[first:end], func(a, b uint64) int { return cmp.Compare(b>>32, a>>32) })
}

func higher(a, b uint64) bool { return a>>32 > b>>32 }

// median returns which of three elements is between the others, or equal to one.
func median(x []uint64, a, b, c int) int {
	switch {
	case higher(x[a], x[b]) && higher(x[b], x[c]):
		return b
	case higher(x[a], x[b]) && higher(x[a], x[c]):
		return c
	case higher(x[a], x[b]) || higher(x[a], x[c]):
		return a
	case higher(x[b], x[c]):
		return c
	}
	return b
}

// ordered returns a number that is higher for a higher x, and the highest for what is not a number. -0 is lower than 0, but no sum that
// begins with 0 is -0.
func ordered(x float32) uint32 {
	n := math.Float32bits(x)
	if n>>31 != 0 {
		return ^n
	}
	return n | 1<<31
}
