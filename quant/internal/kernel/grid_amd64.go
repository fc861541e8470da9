//go:build amd64 && !purego

package kernel

import (
	"math"
	"unsafe"

	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./grid -pkg kernel -out ../internal/kernel/grid_amd64.s -stubs ../internal/kernel/grid_stubs_amd64.go

// What FitGrid takes, so that nothing overflows, and that no quotient is too
// large to be rounded.
const (
	gridLargest  = 0x1p40 // values and weights
	gridLeast    = 0x1p-60
	gridQuotient = 0x1p18 // magnitudes over the scale
)

const (
	gridMoved = 1 << 31
	gridBits  = 1<<16 - 1
	gridStart = 1<<23 - 1
)

// FitGrid does what gridSearch.fit of package quant does. Where importance is nil,
// an element x has the weight base + x^2, else that of weigh. It reports whether
// it could.
func FitGrid(g *Grid, s *GridSearch, b *GridWork, x *[256]float32, importance []float32, variance, base float32) bool {
	width := 8
	switch isa.Current() {
	case isa.AVX512:
		width = 16
	case isa.AVX2:
	default:
		return false
	}
	var weights *float32
	if importance != nil {
		weights = &importance[:256][0]
	}
	even := 0
	if s.EvenSigns {
		even = 1
	}
	if gridSplitAVX2(&x[0], weights, variance, base, s.Size, even, &b.values[0], &b.Signs[0], &b.peaks[0], &b.lows[0]) > math.Float32bits(gridLargest) {
		return false
	}
	b.Scales = [16]float32{}
	n, groups := 256/s.Size, g.groups(s.Size)
	for i, peak := range b.peaks[:n] {
		b.magnitudes[i] = max(peak, -b.lows[i])
		b.zero[i] = peak < s.Zero || peak == 0
		if peak < gridLeast && !b.zero[i] {
			return false
		}
	}
	if s.FitPeak {
		gridSpreadAVX2(&b.values[0], s.Size, &b.lanes[0])
		gridFitPeaksAVX2(&b.lanes[0], &s.PeakNumerators[0], &b.peaks[0], b.aligned(), &b.Scales[0])
		for i, scale := range b.Scales[:n] {
			b.peaks[i] = scale * float32(g.Levels)
			b.zero[i] = b.zero[i] || b.peaks[i] <= 0
		}
	} else {
		for i, peak := range b.peaks[:n] {
			b.Scales[i] = peak / float32(2*g.Levels-1)
		}
	}
	for i, zero := range b.zero[:n] {
		if zero {
			b.Scales[i] = 0
			clear(b.Signs[i*s.Size/8:][:s.Size/8])
			clear(b.bits[i*groups:][:groups])
		} else if s.Numerators[s.Candidates-1]*b.magnitudes[i] > gridQuotient*b.peaks[i] {
			return false
		}
	}
	for first := 0; first < n; first += 8 {
		if !s.FitPeak {
			gridSpreadAVX2(&b.values[first*s.Size], s.Size, &b.lanes[0])
		}
		vectors := (s.Candidates + width - 1) / width
		withRest := width == 16 && s.Candidates > 16 && s.Candidates <= 20
		if withRest {
			vectors = 1
			g.rest(s, b, first, groups)
		}
		for i := first; i < first+8; i++ {
			if b.zero[i] {
				continue
			}
			for v := range vectors {
				g.try(&b.values[i*s.Size], groups, b.peaks[i], &s.Numerators[v*width], b.aligned(), &b.chosen[v*groups*width], &b.sums[2*v*width], width)
			}
			best := choice{scale: b.Scales[i]}
			left := s.Candidates
			chosen, stride := b.chosen[:], width
			for v := range vectors {
				if at := best.better(b.sums[2*v*width:][:2*width], width, min(left, width), 1); at >= 0 {
					chosen = b.chosen[v*groups*width+at:]
				}
				left -= width
			}
			if withRest {
				if at := best.better(b.sumsRest[i/4%2][i%4:], 16, left, 4); at >= 0 {
					chosen, stride = b.chosenRest[i/4%2][i%4+at:], 16
				}
			}
			b.Scales[i] = best.scale
			bits := b.bits[i*groups:][:groups]
			clear(bits)
			var moved uint32
			if best.found {
				for group := range bits {
					bits[group] = chosen[group*stride]
					moved |= bits[group]
				}
			}
			if s.AgainAlways || s.AgainIfMoved && (moved&gridMoved != 0 || !best.found) {
				for group := range bits {
					bits[group] |= gridMoved
				}
			}
		}
		if !g.again(s, b, first, groups, width) {
			return false
		}
	}
	for i, bits := range b.bits[:256/s.Size*groups] {
		b.Points[i] = uint16(g.Starts[bits&gridBits])
	}
	for i, scale := range b.Scales[:n] {
		if scale < 0 {
			b.Scales[i] = -scale
			for j := range b.Signs[i*s.Size/8:][:s.Size/8] {
				b.Signs[i*s.Size/8+j] ^= 0xff
			}
		}
	}
	return true
}

// aligned returns where the work of a kernel begins.
func (b *GridWork) aligned() *float32 {
	return &b.work[-uintptr(unsafe.Pointer(&b.work[0]))%64/4]
}

// groups returns how many groups size elements are.
func (g *Grid) groups(size int) int {
	if g.Levels == 3 {
		return size / 8
	}
	return size / 4
}

// try rounds the groups of a sub-block, one after another in values, with width
// candidates.
func (g *Grid) try(values *float32, groups int, peak float32, numerators, terms *float32, chosen *uint32, sums *float32, width int) {
	starts, all, lists, points := &g.Starts[0], &g.All[0], &g.Lists[0], &g.Points[0]
	switch {
	case g.Levels == 3 && width == 16:
		gridCandidates3AVX512(values, groups, peak, numerators, starts, all, lists, points, terms, chosen, sums)
	case g.Levels == 3:
		gridCandidates3AVX2(values, groups, peak, numerators, starts, all, lists, points, terms, chosen, sums)
	case width == 16:
		gridCandidates8AVX512(values, groups, peak, numerators, starts, all, lists, points, terms, chosen, sums)
	default:
		gridCandidates8AVX2(values, groups, peak, numerators, starts, all, lists, points, terms, chosen, sums)
	}
}

// rest does for eight sub-blocks what try does, with candidates 16 and up.
func (g *Grid) rest(s *GridSearch, b *GridWork, first, groups int) {
	for half := range 2 {
		var mask uint32
		for i := range 4 {
			b.restPeaks[i] = 1
			if at := first + 4*half + i; !b.zero[at] {
				b.restPeaks[i] = b.peaks[at]
				mask |= 0x1111 << i
			}
		}
		mask &= 1<<(4*(s.Candidates-16)) - 1
		starts, all, lists, points := &g.Starts[0], &g.All[0], &g.Lists[0], &g.Points[0]
		if g.Levels == 3 {
			gridRest3AVX512(&b.lanes[4*half], groups, &b.restPeaks[0], &s.RestNumerators[0], mask, &b.values[(first+4*half)*s.Size], &g.Packed[0], starts, all, lists, points, b.aligned(), &b.chosenRest[half][0], &b.sumsRest[half][0])
		} else {
			gridRest8AVX512(&b.lanes[4*half], groups, &b.restPeaks[0], &s.RestNumerators[0], mask, &b.values[(first+4*half)*s.Size], &g.Packed[0], starts, all, lists, points, b.aligned(), &b.chosenRest[half][0], &b.sumsRest[half][0])
		}
	}
}

// choice is the best candidate so far.
type choice struct {
	scale, best float32
	found       bool
}

// better looks at n more candidates, every step-th, of which the second sums are
// width after the first. It returns where the new best one is, or -1.
func (c *choice) better(sums []float32, width, n, step int) int {
	at := -1
	for i := 0; i < n*step; i += step {
		if xq, qq := sums[i], sums[i+width]; qq > 0 && xq*xq > c.best*qq {
			c.scale = xq / qq
			c.best = c.scale * xq
			c.found = true
			at = i
		}
	}
	return at
}

// again rounds what is marked as moved in eight sub-blocks once more, with the
// scale they have. It reports whether it could.
func (g *Grid) again(s *GridSearch, b *GridWork, first, groups, width int) bool {
	scales := b.Scales[first:][:8]
	var lanes [8]float32
	var marks [8]uint32
	var any uint32
	for lane, scale := range scales {
		lanes[lane] = 1
		if !(scale > 0) {
			continue
		}
		lanes[lane] = scale
		marks[lane] = gridMoved
		if b.magnitudes[first+lane] > gridQuotient*scale {
			return false
		}
	}
	for lane := range lanes {
		for group, bits := range b.bits[(first+lane)*groups:][:groups] {
			bits &= marks[lane] | gridBits
			b.chosenAgain[8*group+lane] = bits
			any |= bits
		}
	}
	if any&gridMoved == 0 {
		return true
	}
	starts, all, lists, points := &g.Starts[0], &g.All[0], &g.Lists[0], &g.Points[0]
	plain, packed := &b.values[first*s.Size], &g.Packed[0]
	switch {
	case g.Levels == 3 && width == 16:
		gridAgain3AVX512(&b.lanes[0], groups, &lanes[0], plain, packed, starts, all, lists, points, b.aligned(), &b.chosenAgain[0], &b.sumsAgain[0])
	case g.Levels == 3:
		gridAgain3AVX2(&b.lanes[0], groups, &lanes[0], starts, all, lists, points, b.aligned(), &b.chosenAgain[0], &b.sumsAgain[0])
	case width == 16:
		gridAgain8AVX512(&b.lanes[0], groups, &lanes[0], plain, packed, starts, all, lists, points, b.aligned(), &b.chosenAgain[0], &b.sumsAgain[0])
	default:
		gridAgain8AVX2(&b.lanes[0], groups, &lanes[0], starts, all, lists, points, b.aligned(), &b.chosenAgain[0], &b.sumsAgain[0])
	}
	for lane := range lanes {
		bits := b.bits[(first+lane)*groups:][:groups]
		var again uint32
		for group := range bits {
			again |= bits[group]
			bits[group] = b.chosenAgain[8*group+lane]
		}
		if qq := b.sumsAgain[8+lane]; again&marks[lane] != 0 && qq > 0 {
			scales[lane] = b.sumsAgain[lane] / qq
		}
	}
	return true
}
