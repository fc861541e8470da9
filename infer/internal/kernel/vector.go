//go:build (amd64 || arm64) && !purego

package kernel

import (
	"math"

	"github.com/ggufkit/ggufkit/quant/isa"
)

// The functions below take whole vectors; what is left of a slice goes through them in a
// vector of its own.

// expSum is expSumGeneric by the best means. The last vector is filled up with
// -Inf, which does not change the largest and adds 0 to the sum.
func expSum(x []float32, scale float32) float32 {
	if isa.Current() == isa.Generic {
		return expSumGeneric(x, scale)
	}
	whole := len(x) / lanes * lanes
	var rest, tops, sums [lanes]float32
	for i := range rest {
		rest[i] = float32(math.Inf(-1))
		tops[i] = rest[i]
	}
	copy(rest[:], x[whole:])
	maxLanes(x[:whole], &tops)
	maxLanes(rest[:], &tops)
	top := tops[0]
	for _, v := range tops {
		if v > top {
			top = v
		}
	}
	expSumLanes(x[:whole], scale, top, &sums)
	expSumLanes(rest[:], scale, top, &sums)
	copy(x[whole:], rest[:])
	return addLanes(&sums)
}

// siLUMul is siLUMulGeneric by the best means.
func siLUMul(gate, up []float32) {
	if isa.Current() == isa.Generic {
		siLUMulGeneric(gate, up)
		return
	}
	whole := len(gate) / lanes * lanes
	siLUMulLanes(gate[:whole], up[:whole])
	if whole == len(gate) {
		return
	}
	var g, u [lanes]float32
	copy(g[:], gate[whole:])
	copy(u[:], up[whole:])
	siLUMulLanes(g[:], u[:])
	copy(gate[whole:], g[:])
}
