package quant

import (
	"encoding/binary"
	"sync"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// What IQ1_S and IQ1_M share: sub-blocks are sorted and cut in three, and groups of
// 8 values then moved to the grid.

// iq1Values are what levels stand for: with delta 1/8, and with -1/8.
var iq1Values = [2][8]float32{
	{-1 + 0.125, 0.125, 1 + 0.125},
	{-1 - 0.125, -0.125, 1 - 0.125},
}

// iq1Search has iq1Grid as the search for points takes it. The levels of a point
// are two bits each here, from the lowest up.
type iq1Search struct {
	levels []uint16 // of each point
	// byCode has each point by the code of its levels. For other codes it has
	// ^(16*first + n), where the neighbours are n times 16 levels in neighbours,
	// from 16*first on. They end with the first of them again, as often as it takes.
	byCode     []int32
	neighbours []uint16
	// values are what levels stand for, by 8*delta + s, multiplied by 2*s + 1.
	values [16][4]float32
}

var newIQ1Search = sync.OnceValue(func() *iq1Search {
	iq1Grid.prepare()
	g := &iq1Search{levels: make([]uint16, len(iq1Grid.points)/iq1Grid.dim), byCode: make([]int32, len(iq1Grid.index))}
	for i := range g.levels {
		for j, l := range iq1Grid.point(uint16(i)) {
			g.levels[i] |= uint16(l) << (2 * j)
		}
	}
	for code, point := range iq1Grid.index {
		g.byCode[code] = int32(point)
		if point >= 0 {
			continue
		}
		list := iq1Grid.neighbours[code]
		vectors := (len(list) + 15) / 16
		g.byCode[code] = ^int32(len(g.neighbours) + vectors)
		for i := range 16 * vectors {
			if i >= len(list) {
				i = 0
			}
			g.neighbours = append(g.neighbours, g.levels[list[i]])
		}
	}
	for i := range g.values {
		for level, v := range iq1Values[i/8][:3] {
			g.values[i][level] = v * float32(2*(i%8)+1)
		}
	}
	return g
})

// sortOrder stores the indices of x in the order of their values, equal ones as
// they come.
func sortOrder(order []uint8, x []float32) {
	for i, v := range x {
		j := i
		for ; j > 0 && x[order[j-1]] > v; j-- {
			order[j] = order[j-1]
		}
		order[j] = uint8(i)
	}
}

// cutLevels returns the levels of eight values by their places in the order: 0 up to
// the first cut, 1 up to the second, and 2 from there; or the other way round.
func cutLevels(rank []uint8, cut1, cut2 int, reverse bool) uint16 {
	const each = 0x01_01_01_01_01_01_01_01
	// Bit 7 is set from the cut on.
	places := binary.LittleEndian.Uint64(rank) + 0x80*each
	l := (places-uint64(cut1)*each)>>7&each + (places-uint64(cut2)*each)>>7&each
	if reverse {
		l = 2*each - l
	}
	l = (l | l>>6) & 0x000f_000f_000f_000f
	l = (l | l>>12) & 0x0000_00ff_0000_00ff
	return uint16(l | l>>24)
}

// code returns the code of levels.
func (g *iq1Search) code(levels uint16) int {
	two := levels&0x3333 + 3*(levels>>2&0x3333)
	four := two&0x0f0f + 9*(two>>4&0x0f0f)
	return int(four&0xff) + 81*int(four>>8)
}

// scaled returns what levels stand for.
func (g *iq1Search) scaled(delta int, scale float32) [4]float32 {
	v := &iq1Values[delta]
	return [4]float32{scale * v[0], scale * v[1], scale * v[2]}
}

// round returns levels if they are those of a point of the grid, or else those of
// the neighbour that is closest by weight. It reports whether that was so. It is
// iq1_find_best_neighbour2 of ggml-quants.c. If ordinary is set, errors are not NaN.
func (g *iq1Search) round(levels uint16, x, w *[8]float32, values *[4]float32, ordinary bool) (nearest uint16, moved bool) {
	list := int(^g.byCode[g.code(levels)])
	if list < 0 {
		return levels, false
	}
	neighbours := g.neighbours[list&^15:][:list&15*16]
	if ordinary {
		if nearest, ok := kernel.NearestTernary(neighbours, x, w, values); ok {
			return nearest, true
		}
	}
	nearest = neighbours[0]
	least := float32(maxFloat32)
	for _, neighbour := range neighbours {
		var e float32
		for i, v := range x {
			d := values[neighbour>>(2*i)&3] - v
			e += float32(float32(w[i]*d) * d)
		}
		if e < least {
			nearest, least = neighbour, e
		}
	}
	return nearest, true
}

// fit returns what fits a scale to groups of eight values x: the weighted sums of x
// times the value of its level, which is one of values[which], and of the squares of
// those values. If ordinary is set, they are not NaN.
func (g *iq1Search) fit(levels []uint16, which []uint8, x, w []float32, ordinary bool) (xq, qq float32) {
	if ordinary {
		if xq, qq, ok := kernel.FitTernary(levels, which, &g.values, x, w); ok {
			return xq, qq
		}
	}
	x, w = x[:8*len(levels)], w[:8*len(levels)]
	for i := range x {
		v := g.values[which[i/8]][levels[i/8]>>(i%8*2)&3]
		xq += float32(float32(w[i]*v) * x[i])
		qq += float32(float32(w[i]*v) * v)
	}
	return xq, qq
}
