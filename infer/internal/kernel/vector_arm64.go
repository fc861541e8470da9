//go:build arm64 && !purego

package kernel

// maxLanesNEON raises four lanes to the largest of every lane of x.
//
//go:noescape
func maxLanesNEON(x *float32, n int, lanes *float32)

// expSumNEON replaces x by exp(scale*(x-top)) and adds it to 16 lanes.
//
//go:noescape
func expSumNEON(x *float32, n int, scale float32, top float32, lanes *float32)

// siLUMulNEON replaces gate by silu(gate)*up.
//
//go:noescape
func siLUMulNEON(gate *float32, up *float32, n int)

func maxLanes(x []float32, tops *[lanes]float32) {
	if len(x) > 0 {
		maxLanesNEON(&x[0], len(x), &tops[0])
	}
}

func expSumLanes(x []float32, scale, top float32, sums *[lanes]float32) {
	if len(x) > 0 {
		expSumNEON(&x[0], len(x), scale, top, &sums[0])
	}
}

func siLUMulLanes(gate, up []float32) {
	if len(gate) > 0 {
		siLUMulNEON(&gate[0], &up[0], len(gate))
	}
}
