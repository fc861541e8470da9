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

// ternaryPoints has points as kernels take them: the levels, two bits each from
// the lowest up.
type ternaryPoints struct {
	levels []uint16
	// neighbours are those of the grid, as many as fill whole vectors, the first
	// one again at the end.
	neighbours [][]uint16
}

var iq1Points = sync.OnceValue(func() *ternaryPoints {
	iq1Grid.prepare()
	p := &ternaryPoints{make([]uint16, len(iq1Grid.points)/iq1Grid.dim), make([][]uint16, len(iq1Grid.neighbours))}
	for i := range p.levels {
		for j, l := range iq1Grid.point(uint16(i)) {
			p.levels[i] |= uint16(l) << (2 * j)
		}
	}
	for code, neighbours := range iq1Grid.neighbours {
		for i := 0; i < len(neighbours) || i%kernel.TernaryPoints != 0; i++ {
			neighbour := neighbours[0]
			if i < len(neighbours) {
				neighbour = neighbours[i]
			}
			p.neighbours[code] = append(p.neighbours[code], p.levels[neighbour])
		}
	}
	return p
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

// cutLevels returns the levels of eight values by their places in the order, one
// in each byte: 0 up to the first cut, 1 up to the second, and 2 from there; or the
// other way round.
func cutLevels(rank []uint8, cut1, cut2 int, reverse bool) uint64 {
	const each = 0x01_01_01_01_01_01_01_01
	// Bit 7 is set from the cut on.
	places := binary.LittleEndian.Uint64(rank) + 0x80*each
	levels := (places-uint64(cut1)*each)>>7&each + (places-uint64(cut2)*each)>>7&each
	if reverse {
		levels = 2*each - levels
	}
	return levels
}

// ternaryCode returns grid.code of eight levels, one in each byte.
func ternaryCode(levels uint64) int {
	two := (levels + 3*(levels>>8)) & 0x00ff_00ff_00ff_00ff
	four := (two + 9*(two>>16)) & 0x0000_ffff_0000_ffff
	return int(four&0xffff + 81*(four>>32))
}

// round returns the point of the grid that the levels of eight values are, or else
// the neighbour that is closest by weight. It reports whether that was so. It is
// iq1_find_best_neighbour2 of ggml-quants.c. If ordinary is set, errors are not NaN.
func (p *ternaryPoints) round(levels uint64, x, w *[8]float32, scale float32, values *[8]float32, ordinary bool) (point uint16, moved bool) {
	code := ternaryCode(levels)
	if index := iq1Grid.index[code]; index >= 0 {
		return uint16(index), false
	}
	neighbours := iq1Grid.neighbours[code]
	scaled := [4]float32{scale * values[0], scale * values[1], scale * values[2]}
	if ordinary {
		if place := kernel.NearestTernary(p.neighbours[code], x, w, &scaled); place >= 0 {
			return neighbours[place], true
		}
	}
	point = neighbours[0]
	least := float32(maxFloat32)
	for _, neighbour := range neighbours {
		var e float32
		for i, l := range iq1Grid.point(neighbour) {
			d := scaled[l&3] - x[i]
			e += float32(float32(w[i]*d) * d)
		}
		if e < least {
			point, least = neighbour, e
		}
	}
	return point, true
}

// fit returns what fits a scale to points, each of which has the levels of eight
// of x and its own values: the weighted sums of x times the value and of the squares
// of the values. If ordinary is set, they are not NaN.
func (p *ternaryPoints) fit(points []uint16, values [][4]float32, x, w []float32, ordinary bool) (xq, qq float32) {
	var levels [32]uint16
	for i, point := range points {
		levels[i] = p.levels[point]
	}
	if ordinary {
		if xq, qq, ok := kernel.FitTernary(levels[:len(points)], values, x, w); ok {
			return xq, qq
		}
	}
	x, w = x[:8*len(points)], w[:8*len(points)]
	for i := range x {
		v := values[i/8][levels[i/8]>>(i%8*2)&3]
		xq += float32(float32(w[i]*v) * x[i])
		qq += float32(float32(w[i]*v) * v)
	}
	return xq, qq
}

// ternaryValues returns what levels stand for, multiplied by a factor.
func ternaryValues(delta int, factor float32) [4]float32 {
	v := &iq1Values[delta]
	return [4]float32{v[0] * factor, v[1] * factor, v[2] * factor}
}
