//go:build amd64 && !purego

package kernel

import (
	"math"
	"unsafe"

	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./grid -pkg kernel -out ../internal/kernel/grid_amd64.s -stubs ../internal/kernel/grid_stubs_amd64.go

// What FitGrid takes, so that nothing overflows, and that quotients are not too
// large to be rounded.
const (
	gridLargest  = 0x1p40  // value or weight
	gridLeast    = 0x1p-60 // greatest magnitude of a sub-block
	gridQuotient = 0x1p18  // magnitude over the scale
)

const (
	gridMoved = 1 << 31   // in the bits of a point
	gridBits  = 1<<16 - 1 // the others
)

// gridFit is one search. Its kernels take that many candidates, or eight
// sub-blocks, at a time.
type gridFit struct {
	g         *Grid
	s         *GridSearch
	b         *GridWork
	r         *gridRoom
	width     int
	subBlocks int
	groups    int // in a sub-block
}

// FitGrid does what gridSearch.fit of package quant does. Where importance is nil,
// an element x has the weight base + x^2, else that of weigh. It reports whether
// it could.
func FitGrid(g *Grid, s *GridSearch, b *GridWork, x *[256]float32, importance []float32, variance, base float32) bool {
	f := gridFit{g: g, s: s, b: b, r: b.place(), width: 8, subBlocks: 256 / s.Size, groups: s.Size / 4}
	switch isa.Current() {
	case isa.AVX512:
		f.width = 16
	case isa.AVX2:
	default:
		return false
	}
	if g.Levels == 3 {
		f.groups = s.Size / 8
	}
	if !f.split(x, importance, variance, base) {
		return false
	}
	r := f.r
	for first := 0; first < f.subBlocks; first += 8 {
		if !s.FitPeak {
			gridSpreadAVX2(&r.values[first*s.Size], s.Size, &r.lanes[0])
		}
		if f.hasRest() {
			f.rest(first)
			f.rest(first + 4)
		}
		for i := first; i < first+8; i++ {
			if !r.zero[i] {
				f.choose(i, f.try(i))
			}
		}
		if !f.again(first) {
			return false
		}
	}
	for i, bits := range r.bits[:f.subBlocks*f.groups] {
		b.Points[i] = uint16(g.Starts[bits&gridBits])
	}
	for i, scale := range b.Scales[:f.subBlocks] {
		if scale < 0 {
			b.Scales[i] = -scale
			signs := b.Signs[i*s.Size/8:][:s.Size/8]
			for j := range signs {
				signs[j] = ^signs[j]
			}
		}
	}
	return true
}

// split makes magnitudes and weights, and finds the peaks, and the scales to begin
// with. It reports whether they are such that the search can be done.
func (f gridFit) split(x *[256]float32, importance []float32, variance, base float32) bool {
	s, b, r := f.s, f.b, f.r
	var weights *float32
	if importance != nil {
		weights = &importance[:256][0]
	}
	even := 0
	if s.EvenSigns {
		even = 1
	}
	if gridSplitAVX2(&x[0], weights, variance, base, s.Size, even, &r.values[0], &b.Signs[0], &r.peaks[0], &r.lows[0]) > math.Float32bits(gridLargest) {
		return false
	}
	b.Scales = [16]float32{}
	for i, peak := range r.peaks[:f.subBlocks] {
		r.magnitudes[i] = max(peak, -r.lows[i])
		r.zero[i] = peak < s.Zero || peak == 0
		if peak < gridLeast && !r.zero[i] {
			return false
		}
		b.Scales[i] = peak / float32(2*f.g.Levels-1)
	}
	if s.FitPeak {
		gridSpreadAVX2(&r.values[0], s.Size, &r.lanes[0])
		gridFitPeaksAVX2(&r.lanes[0], &s.PeakNumerators[0], &r.peaks[0], &r.work[0], &b.Scales[0])
		for i, scale := range b.Scales[:f.subBlocks] {
			r.peaks[i] = scale * float32(f.g.Levels)
			r.zero[i] = r.zero[i] || r.peaks[i] <= 0
		}
	}
	for i, zero := range r.zero[:f.subBlocks] {
		if zero {
			b.Scales[i] = 0
			clear(b.Signs[i*s.Size/8:][:s.Size/8])
			clear(r.bits[i*f.groups:][:f.groups])
		} else if s.Numerators[s.Candidates-1]*r.magnitudes[i] > gridQuotient*r.peaks[i] {
			return false
		}
	}
	return true
}

// place returns where in room the first cache line begins.
func (b *GridWork) place() *gridRoom {
	return (*gridRoom)(unsafe.Pointer(&b.room[-uintptr(unsafe.Pointer(&b.room[0]))%cacheLine]))
}

// hasRest reports whether the candidates after the first 16 are for rest.
func (f gridFit) hasRest() bool {
	return f.width == 16 && f.s.Candidates > 16 && f.s.Candidates <= 20
}

// vectors returns how many times width candidates there are for try.
func (f gridFit) vectors() int {
	if f.hasRest() {
		return 1
	}
	return (f.s.Candidates + f.width - 1) / f.width
}

// rest rounds four sub-blocks with the candidates after the first 16.
func (f gridFit) rest(first int) {
	g, s, r, groups := f.g, f.s, f.r, f.groups
	var peaks [4]float32
	var mask uint32
	for i := range peaks {
		peaks[i] = 1
		if !r.zero[first+i] {
			peaks[i] = r.peaks[first+i]
			mask |= 0x1111 << i
		}
	}
	mask &= 1<<(4*(s.Candidates-16)) - 1
	values, plain := &r.lanes[first%8], &r.values[first*s.Size]
	chosen, sums := &r.chosenRest[first/4%2][0], &r.sumsRest[first/4%2][0]
	starts, all, lists, points, packed := &g.Starts[0], &g.All[0], &g.Lists[0], &g.Points[0], &g.Packed[0]
	if g.Levels == 3 {
		gridRest3AVX512(values, groups, &peaks[0], &s.RestNumerators[0], mask, plain, starts, all, lists, packed, &g.Moves[0], points, &r.work[0], chosen, sums)
	} else {
		gridRest8AVX512(values, groups, &peaks[0], &s.RestNumerators[0], mask, plain, starts, all, lists, packed, points, &r.work[0], chosen, sums)
	}
}

// try rounds sub-block i with the candidates. It returns the best one of the first
// vector, or -1 if it does not know.
func (f gridFit) try(i int) (best int) {
	best = -1
	g, s, r, groups := f.g, f.s, f.r, f.groups
	values, peak := &r.values[i*s.Size], r.peaks[i]
	starts, all, lists, points := &g.Starts[0], &g.All[0], &g.Lists[0], &g.Points[0]
	for v := f.vectors() - 1; v >= 0; v-- {
		numerators, chosen, sums := &s.Numerators[v*f.width], &r.chosen[v*groups*f.width], &r.sums[4*v*f.width]
		switch {
		case g.Levels == 3 && f.width == 16:
			best = gridCandidates3AVX512(values, groups, peak, numerators, starts, all, lists, &g.Packed[0], &g.Moves[0], points, &r.work[0], chosen, sums)
		case g.Levels == 3:
			gridCandidates3AVX2(values, groups, peak, numerators, starts, all, lists, &g.Packed[0], &g.Moves[0], points, &r.work[0], chosen, sums)
		case f.width == 16:
			best = gridCandidates8AVX512(values, groups, peak, numerators, starts, all, lists, points, &r.work[0], chosen, sums)
		default:
			gridCandidates8AVX2(values, groups, peak, numerators, starts, all, lists, points, &r.work[0], chosen, sums)
		}
	}
	return best
}

// choose takes the best candidate for sub-block i, and marks what to round again.
// first is what try returns.
func (f gridFit) choose(i, first int) {
	s, b, r := f.s, f.b, f.r
	best := gridChoice{scale: b.Scales[i]}
	var chosen []uint32
	left := s.Candidates
	for v := range f.vectors() {
		sums := r.sums[4*v*f.width:]
		if v == 0 && first >= 0 {
			best.take(sums, f.width, first)
			chosen = r.chosen[first:]
		} else if at := best.better(sums, f.width, min(left, f.width), 1); at >= 0 {
			chosen = r.chosen[v*f.groups*f.width+at:]
		}
		left -= f.width
	}
	if f.hasRest() {
		if at := best.better(r.sumsRest[i/4%2][i%4:], f.width, left, 4); at >= 0 {
			chosen = r.chosenRest[i/4%2][i%4+at:]
		}
	}
	b.Scales[i] = best.scale
	bits := r.bits[i*f.groups:][:f.groups]
	clear(bits)
	var moved uint32
	if chosen != nil {
		for group := range bits {
			bits[group] = chosen[group*f.width]
			moved |= bits[group]
		}
	}
	if s.AgainAlways || s.AgainIfMoved && (moved&gridMoved != 0 || chosen == nil) {
		for group := range bits {
			bits[group] |= gridMoved
		}
	}
}

// gridChoice is the best candidate so far.
type gridChoice struct{ scale, best float32 }

// better looks at n more candidates, every step-th, each sum of which is width
// after the one before. It returns where the new best one is, or -1.
func (c *gridChoice) better(sums []float32, width, n, step int) int {
	best, at := c.best, -1
	qq, worth, square := sums[width:], sums[2*width:], sums[3*width:]
	for i := 0; i < n*step; i += step {
		if square[i] > best*qq[i] {
			best, at = worth[i], i
		}
	}
	if at >= 0 {
		c.take(sums, width, at)
	}
	return at
}

// take takes the candidate at.
func (c *gridChoice) take(sums []float32, width, at int) {
	c.scale, c.best = sums[at]/sums[width+at], sums[2*width+at]
}

// again rounds what is marked in eight sub-blocks once more, with the scales they
// have. It reports whether it could.
func (f gridFit) again(first int) bool {
	g, s, b, r, groups := f.g, f.s, f.b, f.r, f.groups
	scales := b.Scales[first:][:8]
	var lanes [8]float32
	var marks [8]uint32
	for lane, scale := range scales {
		lanes[lane] = 1
		if scale > 0 {
			lanes[lane], marks[lane] = scale, gridMoved
			if r.magnitudes[first+lane] > gridQuotient*scale {
				return false
			}
		}
	}
	var marked uint32
	for lane, mark := range marks {
		for group, bits := range r.bits[(first+lane)*groups:][:groups] {
			bits &= mark | gridBits
			r.chosenAgain[8*group+lane] = bits
			marked |= bits
		}
	}
	if marked&gridMoved == 0 {
		return true
	}
	plain, chosen, sums := &r.values[first*s.Size], &r.chosenAgain[0], &r.sumsAgain[0]
	starts, all, lists, points, packed := &g.Starts[0], &g.All[0], &g.Lists[0], &g.Points[0], &g.Packed[0]
	switch {
	case g.Levels == 3 && f.width == 16:
		gridAgain3AVX512(&r.lanes[0], groups, &lanes[0], plain, starts, all, lists, packed, points, &r.work[0], chosen, sums)
	case g.Levels == 3:
		gridAgain3AVX2(&r.lanes[0], groups, &lanes[0], starts, all, lists, points, &r.work[0], chosen, sums)
	case f.width == 16:
		gridAgain8AVX512(&r.lanes[0], groups, &lanes[0], plain, starts, all, lists, packed, points, &r.work[0], chosen, sums)
	default:
		gridAgain8AVX2(&r.lanes[0], groups, &lanes[0], starts, all, lists, points, &r.work[0], chosen, sums)
	}
	for lane, mark := range marks {
		bits := r.bits[(first+lane)*groups:][:groups]
		marked = 0
		for group := range bits {
			marked |= bits[group] & mark
			bits[group] = r.chosenAgain[8*group+lane]
		}
		if qq := r.sumsAgain[8+lane]; marked != 0 && qq > 0 {
			scales[lane] = r.sumsAgain[lane] / qq
		}
	}
	return true
}
