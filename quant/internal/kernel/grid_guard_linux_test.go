package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// guardedGrid returns a grid of which every combination has all points as
// neighbours: half of the combinations in the first list, the others in the last.
func guardedGrid(t *testing.T, levels int, start bool) *kernel.Grid {
	const points, step = 20, kernel.GridStep
	dim, bits := 8, 2
	if levels == 8 {
		dim, bits = 4, 3
	}
	g := &kernel.Grid{
		Levels: levels,
		Points: guarded[uint8](t, 16*points, start),
		Lists:  guarded[uint16](t, 2*points, start),
		Packed: guarded[uint16](t, 2*points+16, start),
		Starts: guarded[uint32](t, 1<<(bits*dim), start),
		All:    guarded[uint32](t, 1<<(bits*dim), start),
		Moves:  guarded[uint16](t, 2*points+16, start),
	}
	require.Zero(t, points%step)
	for p := range points {
		for i := range dim {
			level := (p + i) % levels
			g.Points[16*p+i] = uint8(8 * (i<<bits + level))
			g.Packed[p] |= uint16(level << (bits * i))
		}
		g.Points[16*p+8], g.Points[16*p+9], g.Points[16*p+11] = uint8(g.Packed[p]), uint8(g.Packed[p]>>8), 1<<7
		g.Lists[p], g.Lists[points+p] = uint16(16*p), uint16(16*p)
		g.Packed[points+p] = g.Packed[p]
	}
	for code := range g.Starts {
		g.Starts[code] = uint32(points<<23 | code%2*points)
		g.All[code] = g.Starts[code]
	}
	return g
}

// TestFitGridStaysWithinItsSlices puts every operand against pages that fault.
func TestFitGridStaysWithinItsSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, levels := range []int{3, 8} {
				g := guardedGrid(t, levels, start)
				x, importance := random(t, 256, start), guarded[float32](t, 256, start)
				for i, v := range x {
					importance[i] = v * v
				}
				search := &guarded[kernel.GridSearch](t, 1, start)[0]
				work := &guarded[kernel.GridWork](t, 1, start)[0]
				for i := range search.Numerators {
					search.Numerators[i] = float32(2*levels-1) + float32(i)/16
					search.RestNumerators[i/2] = search.Numerators[i]
				}
				for i := range search.PeakNumerators {
					search.PeakNumerators[i] = float32(levels + 1)
				}
				for _, size := range []int{16, 32} {
					for _, candidates := range []int{13, 19, 31} {
						search.Size, search.Candidates = size, candidates
						search.EvenSigns, search.FitPeak, search.AgainAlways = candidates == 13, candidates == 13 && size == 32, candidates == 13
						for _, importance := range [][]float32{nil, importance} {
							require.NotPanics(t, func() {
								done := kernel.FitGrid(g, search, work, (*[256]float32)(x), importance, 1, 0)
								tier := isa.Current()
								require.Equal(t, tier == isa.AVX2 || tier == isa.AVX512, done)
							}, "%d levels, %d candidates for %d elements", levels, candidates, size)
						}
					}
				}
			}
		}
	})
}
