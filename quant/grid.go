package quant

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// grid is the set of points an IQ type has for groups of dim elements, each of
// which is one of a few levels, counted from 0. A combination of levels is known
// by its code, the number the levels are the digits of, the first one being the
// lowest. Points are in the order of their codes, and blocks hold their indices.
//
// The tables are made when they are first used: the points in no time, the rest,
// for quantizing, in less than a tenth of a second. They take up to 3 MB for each
// grid that is used, once for the process.
type grid struct {
	dim, levels int
	encoded     string // a bit for each code, set if it is a point, in base64
	// rings is how many different distances from a combination that is no point
	// its neighbours may have: those closest to it.
	rings int

	readOnce, searchOnce sync.Once
	points               []uint8    // dim levels for each point
	index                []int16    // by code: which point it is, or -1
	neighbours           [][]uint16 // by code, unless it is a point: the closest points, by distance, then by index

	lanesOnce sync.Once
	lanes     kernel.Grid
}

// read returns the levels of all points, dim for each.
func (g *grid) read() []uint8 {
	g.readOnce.Do(func() {
		bitmap, err := base64.RawStdEncoding.DecodeString(g.encoded)
		if err != nil {
			panic(fmt.Sprintf("quant: encoded grid: %v", err))
		}
		g.index = make([]int16, power(g.levels, g.dim))
		for code := range g.index {
			g.index[code] = -1
			if bitmap[code/8]>>(code%8)&1 == 0 {
				continue
			}
			g.index[code] = int16(len(g.points) / g.dim)
			for range g.dim {
				g.points = append(g.points, uint8(code%g.levels))
				code /= g.levels
			}
		}
	})
	return g.points
}

// prepare makes the tables to quantize with.
func (g *grid) prepare() {
	points := g.read()
	g.searchOnce.Do(func() {
		// Distances are sums of two, one for each half of the levels.
		half := power(g.levels, g.dim/2)
		apart := make([]uint8, half*half)
		for i := range apart {
			for a, b := i/half, i%half; a != b; a, b = a/g.levels, b/g.levels {
				d := a%g.levels - b%g.levels
				apart[i] += uint8(d * d)
			}
		}
		codes := make([]int, len(points)/g.dim)
		for i := range codes {
			codes[i] = g.code(points[i*g.dim:])
		}

		g.neighbours = make([][]uint16, len(g.index))
		distances := make([]uint8, len(codes))
		for code, point := range g.index {
			if point >= 0 {
				continue
			}
			var count [256]int
			low, high := apart[code%half*half:][:half], apart[code/half*half:][:half]
			for i, c := range codes {
				distances[i] = low[c%half] + high[c/half]
				count[distances[i]]++
			}
			var start [256]int
			total, limit := 0, 0
			for rings := 0; rings < g.rings && limit < len(count); limit++ {
				start[limit] = total
				total += count[limit]
				if count[limit] > 0 {
					rings++
				}
			}
			neighbours := make([]uint16, total)
			for i, d := range distances {
				if int(d) < limit {
					neighbours[start[d]] = uint16(i)
					start[d]++
				}
			}
			g.neighbours[code] = neighbours
		}
	})
}

// forLanes returns the tables as the kernels have them: up to 2 MB more.
//
// There, neighbours that cannot be the closest are left out. If point a has in each
// place a level between that of point b and that of the combination they are
// neighbours of, or one of these two, then no term of a's distance is larger than
// that of b, and so neither is the sum, as rounding keeps order. As a is closer
// by levels it comes first, so b is not taken. The exception is an element that is
// within rounding errors of where its level changes: it may be as close to b's
// level as to its own. The kernels look for that.
func (g *grid) forLanes() *kernel.Grid {
	g.prepare()
	g.lanesOnce.Do(func() {
		width := bits.Len(uint(g.levels - 1))
		k := kernel.Grid{Levels: g.levels}
		k.Starts = make([]uint32, 1<<(width*g.dim))
		k.All = make([]uint32, len(k.Starts))
		// below has a bit for each level above the lowest that a combination reaches: two
		// combinations differ in the bits of the levels between them.
		packed, below := make([]uint32, len(g.index)), make([]uint32, len(g.index))
		for code := range g.index {
			for i, c := 0, code; i < g.dim; i, c = i+1, c/g.levels {
				level := c % g.levels
				packed[code] |= uint32(level) << (width * i)
				below[code] |= (1<<level - 1) << ((g.levels - 1) * i)
			}
		}
		belowPoint := make([]uint32, len(g.points)/g.dim)
		k.Points = make([]uint8, 16*len(belowPoint))
		for code, point := range g.index {
			if point < 0 {
				continue
			}
			belowPoint[point] = below[code]
			record := k.Points[16*int(point):][:16]
			for i, level := range g.point(uint16(point)) {
				record[i] = uint8(8 * (i<<width + int(level)))
			}
			binary.LittleEndian.PutUint32(record[8:], packed[code]|1<<31)
		}
		add := func(neighbours []uint16) uint32 {
			entry := uint32(len(neighbours)<<23 | len(k.Lists))
			for _, n := range neighbours {
				k.Lists = append(k.Lists, 16*n)
			}
			for len(k.Lists)%kernel.GridStep != 0 {
				k.Lists = append(k.Lists, 16*neighbours[0])
			}
			return entry
		}
		var closest []uint16
		for code, point := range g.index {
			if point >= 0 {
				k.Starts[packed[code]] = uint32(point)
				continue
			}
			closest = closest[:0]
		next:
			for _, b := range g.neighbours[code] {
				for _, a := range closest {
					if (belowPoint[a]^below[code])&^(belowPoint[b]^below[code]) == 0 {
						continue next
					}
				}
				closest = append(closest, b)
			}
			k.Starts[packed[code]] = add(closest)
		}
		// What is seldom read does not stand between what is read often.
		for code, neighbours := range g.neighbours {
			if start := k.Starts[packed[code]]; int(start>>23) == len(neighbours) {
				k.All[packed[code]] = start
			} else {
				k.All[packed[code]] = add(neighbours)
			}
		}
		k.Packed = make([]uint16, len(k.Lists)+16)
		for i, offset := range k.Lists {
			k.Packed[i] = binary.LittleEndian.Uint16(k.Points[offset+8:])
		}
		k.Moves = make([]uint16, len(k.Packed))
		if g.rings == 1 {
			for code, neighbours := range g.neighbours {
				if g.markMoves(&k, packed[code], neighbours, width) {
					k.Starts[packed[code]] |= kernel.GridMoves
				}
			}
		}
		g.lanes = k
	})
	return &g.lanes
}

// markMoves sets the moves to the neighbours of a combination, which has width bits
// for each level. It reports whether they are all such that one level is moved by
// one.
func (g *grid) markMoves(k *kernel.Grid, packed uint32, neighbours []uint16, width int) bool {
	if len(neighbours) == 0 || len(neighbours) > 16 {
		return false
	}
	moves := k.Moves[k.Starts[packed]&(kernel.GridMoves-1):]
	mask := uint32(1)<<width - 1
	for n := range neighbours {
		to := uint32(binary.LittleEndian.Uint16(k.Points[16*int(neighbours[n])+8:]))
		element := bits.TrailingZeros32(to^packed) / width
		shift := element * width
		a, b := packed>>shift&mask, to>>shift&mask
		if (to^packed)>>shift > mask || a+1 != b && b+1 != a {
			return false
		}
		moves[n] = uint16(element<<width+int(b))*8 | uint16(element<<width+int(a))*8<<8
	}
	for n := len(neighbours); n%kernel.GridStep != 0; n++ {
		moves[n] = uint16(mask) * 8 // as far as can be
	}
	return true
}

// point returns the levels of point i.
func (g *grid) point(i uint16) []uint8 { return g.points[int(i)*g.dim:][:g.dim] }

// code returns that of the first dim levels.
func (g *grid) code(levels []uint8) int {
	code := 0
	for i := g.dim - 1; i >= 0; i-- {
		code = code*g.levels + int(levels[i])
	}
	return code
}

func power(base, exponent int) int {
	p := 1
	for range exponent {
		p *= base
	}
	return p
}

// gridSearch says how a type with signs and magnitudes, which is one of IQ2 and
// IQ3, finds the points of its grid. Level l stands for the magnitude 2*l + 1.
type gridSearch struct {
	grid     *grid
	subBlock int // elements that share a scale
	// evenSigns makes the number of negative elements in a group of 8 even, such
	// that one sign need not be stored. The sign of the value that matters least
	// is changed where it is not.
	evenSigns bool
	// zero is the magnitude below which a sub-block counts as zero.
	zero float32
	// The candidate scales send the greatest value to positions around the
	// greatest magnitude, up to steps*step away.
	steps int
	step  float32
	// fitPeak lets the greatest value be what fitPositive says.
	fitPeak bool
	refine  refinement
	// Weights are those of weigh with so many times the mean square as variance, or
	// else the squares plus base times that.
	variance, base float32

	lanesOnce sync.Once
	lanes     kernel.GridSearch // the same as the kernels have it
}

// refinement is which groups of elements are rounded again with the best scale.
type refinement int

const (
	refineOffGrid   refinement = iota // those that had to be moved to a neighbour
	refineIfOffGrid                   // all, if one of them was moved, or no candidate was any good
	refineAlways                      // all
)

// gridBlock is what a search finds for 256 elements, with room to search.
type gridBlock = kernel.GridWork

// fit finds the scales, signs and points of a super-block. It returns the largest
// scale.
func (s *gridSearch) fit(b *gridBlock, x *[256]float32, importance []float32) float32 {
	var variance, base float32
	switch {
	case importance != nil:
		variance = s.variance * sumSquares(x[:]) / 256
	case s.base != 0:
		base = s.base * (s.variance * sumSquares(x[:]) / 256)
	}
	s.prepare()
	if !kernel.FitGrid(s.grid.forLanes(), &s.lanes, b, x, importance, variance, base) {
		var weights [256]float32
		if importance != nil {
			weigh(weights[:], x[:], importance, variance)
		} else {
			for i, v := range x {
				weights[i] = base + float32(v*v)
			}
		}
		b.Points, b.Signs, b.Scales = [64]uint16{}, [32]uint8{}, [16]float32{}
		for i := range 256 / s.subBlock {
			from, to := i*s.subBlock, (i+1)*s.subBlock
			points, signs := b.Points[from/s.grid.dim:to/s.grid.dim], b.Signs[from/8:to/8]
			b.Scales[i] = s.fitSubBlock(points, signs, x[from:to], weights[from:to])
		}
	}
	var largest float32
	for _, scale := range b.Scales {
		if !(largest > scale) {
			largest = scale
		}
	}
	return largest
}

// prepare makes what the kernels search by.
func (s *gridSearch) prepare() {
	s.lanesOnce.Do(func() {
		s.lanes = kernel.GridSearch{
			Size: s.subBlock, EvenSigns: s.evenSigns, Zero: s.zero, FitPeak: s.fitPeak, Candidates: 2*s.steps + 1,
			AgainIfMoved: s.refine == refineIfOffGrid, AgainAlways: s.refine == refineAlways,
		}
		most := float32(2*s.grid.levels - 1)
		for i := range s.lanes.Numerators {
			s.lanes.Numerators[i] = most + float32(float32(min(i, 2*s.steps)-s.steps)*s.step)
		}
		for i := range s.lanes.RestNumerators {
			s.lanes.RestNumerators[i] = s.lanes.Numerators[16+i/4]
		}
		n := float32(s.grid.levels + 1)
		s.lanes.PeakNumerators[0] = n
		for i, step := range []int{-4, -3, -2, -1, 1, 2, 3, 4} {
			s.lanes.PeakNumerators[i+1] = float32(float32(0.1)*float32(step)) + n
		}
	})
}

func (s *gridSearch) fitSubBlock(points []uint16, signs []uint8, x, w []float32) float32 {
	var mArray, rootArray [subBlock]float32
	var qArray, candidateArray [subBlock]uint8
	m, root, q, candidate := mArray[:len(x)], rootArray[:len(x)], qArray[:len(x)], candidateArray[:len(x)]
	var moved, candidateMoved [subBlock / 4]bool
	g, n := s.grid, len(points)

	var negative [subBlock / 8]uint8
	for i := range signs {
		negative[i] = s.split(m[8*i:][:8], x[8*i:], w[8*i:])
	}
	peak := m[0]
	for _, v := range m[1:] {
		if !(peak > v) {
			peak = v
		}
	}
	if peak < s.zero || peak == 0 {
		return 0
	}
	most := float32(2*g.levels - 1)
	scale := peak / most
	if s.fitPeak {
		scale = fitPositive(q, m, w, int32(g.levels+1))
		clear(q)
		peak = scale * float32(g.levels)
		if peak <= 0 {
			return 0
		}
	}
	for i, v := range w {
		root[i] = sqrt(v)
	}

	toPoint := func(q []uint8, group int, scale, inverse float32) (moved bool) {
		at := group * g.dim
		return g.round(q[at:], m[at:], root[at:], scale, inverse)
	}
	found := false
	var best float32
	for step := -s.steps; step <= s.steps; step++ {
		inverse := (most + float32(float32(step)*s.step)) / peak
		for group := range n {
			candidateMoved[group] = toPoint(candidate, group, 1/inverse, inverse)
		}
		xq, qq := oddSums(candidate, m, w)
		if qq > 0 && xq*xq > best*qq {
			scale = xq / qq
			best = scale * xq
			copy(q, candidate)
			moved = candidateMoved
			found = true
		}
	}

	anyMoved := false
	for _, m := range moved[:n] {
		anyMoved = anyMoved || m
	}
	var again bool
	switch s.refine {
	case refineOffGrid:
		again = anyMoved
	case refineIfOffGrid:
		again = anyMoved || !found
	case refineAlways:
		again = true
	}
	if again && scale > 0 {
		inverse := 1 / scale
		for group := range n {
			if moved[group] || s.refine != refineOffGrid {
				toPoint(q, group, scale, inverse)
			}
		}
		if xq, qq := oddSums(q, m, w); qq > 0 {
			scale = xq / qq
		}
	}

	for group := range points {
		points[group] = uint16(g.index[g.code(q[group*g.dim:])])
	}
	copy(signs, negative[:])
	if scale < 0 {
		scale = -scale
		for i := range signs {
			signs[i] = ^signs[i]
		}
	}
	return scale
}

// split stores the magnitudes of eight values, and returns a bit for each that is
// negative. If evenSigns makes it change a sign, that magnitude is negative.
func (s *gridSearch) split(m, x, w []float32) uint8 {
	var signs uint8
	for i := range m {
		m[i] = x[i]
		if !(x[i] >= 0) {
			m[i] = -x[i]
			signs |= 1 << i
		}
	}
	if !s.evenSigns || bits.OnesCount8(signs)%2 == 0 {
		return signs
	}
	least, at := float32(w[0]*x[0])*x[0], 0
	for i := 1; i < 8; i++ {
		if e := float32(w[i]*x[i]) * x[i]; e < least {
			least, at = e, i
		}
	}
	m[at] = -m[at]
	return signs ^ 1<<at
}

// round rounds the first dim magnitudes, weighted by root squared, to a point of
// the grid: to the point that has the nearest levels, or else to that neighbour
// which is closest by weight. inverse is 1/scale, or what scale is 1 over. It
// reports whether it took a neighbour. It is iq2_find_best_neighbour and
// iq3_find_best_neighbour of ggml-quants.c with what goes before each call,
// including that root is the square root of the weights the scales are fitted by.
func (g *grid) round(q []uint8, m, root []float32, scale, inverse float32) (moved bool) {
	q, m, root = q[:g.dim], m[:g.dim], root[:g.dim]
	for i, v := range m {
		q[i] = oddLevel(inverse*v, uint8(g.levels-1))
	}
	code := g.code(q)
	if g.index[code] >= 0 {
		return false
	}
	best, least := g.neighbours[code][0], float32(maxFloat32)
	for _, neighbour := range g.neighbours[code] {
		var e float32
		for i, l := range g.point(neighbour) {
			d := float32(scale*float32(2*l+1)) - m[i]
			e += float32(float32(root[i]*d) * d)
			if e >= least { // no term is negative
				break
			}
		}
		if e < least {
			best, least = neighbour, e
		}
	}
	copy(q, g.point(best))
	return true
}

// oddLevel returns which of the odd numbers 1, 3, ... f is nearest to, counted
// from 0, at most last.
func oddLevel(f float32, last uint8) uint8 {
	return uint8(clamp(nearestInt(0.5*(f-1)), 0, int32(last)))
}

// oddSums returns what fits a scale to the magnitudes m for the levels q: the
// weighted sums of m times the level and of the squares of the levels.
func oddSums(q []uint8, m, w []float32) (xq, qq float32) {
	w, m = w[:len(q)], m[:len(q)]
	for i, l := range q {
		level := float32(2*l + 1)
		xq += float32(float32(w[i]*m[i]) * level)
		qq += float32(float32(w[i]*level) * level)
	}
	return xq, qq
}

// scaleLevels returns scales as the odd multiples of d they are nearest to,
// counted from 0, at most 15.
func scaleLevels(scales *[16]float32, d float32) (levels [16]uint8) {
	inverse := 1 / d
	for i, scale := range scales {
		levels[i] = oddLevel(inverse*scale, 15)
	}
	return levels
}

// evenParity returns the signs of eight elements of which the first seven are
// known, their number being even (ksigns_iq2xs of ggml-common.h).
func evenParity(signs uint8) uint8 {
	return signs | uint8(bits.OnesCount8(signs))&1<<7
}

// putPoint stores the values of the levels of a point, times d, negative where
// signs has a bit.
func putPoint(x []float32, point []uint8, values *[8]float32, d float32, signs uint8) {
	x = x[:len(point)]
	for i, l := range point {
		v := d * values[l&7]
		if signs>>i&1 != 0 {
			v = -v
		}
		x[i] = v
	}
}

// nextBlock returns the importances of what follows a super-block.
func nextBlock(importance []float32) []float32 {
	if importance == nil {
		return nil
	}
	return importance[256:]
}
