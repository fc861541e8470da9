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

// iq1Neighbours returns the neighbours of the codes of iq1Grid as kernels take
// them: two bits for each level, as many points as fill whole vectors, the first
// one again at the end.
var iq1Neighbours = sync.OnceValue(func() [][]uint16 {
	iq1Grid.prepare()
	levels := make([]uint16, len(iq1Grid.points)/iq1Grid.dim)
	for i := range levels {
		for j, l := range iq1Grid.point(uint16(i)) {
			levels[i] |= uint16(l) << (2 * j)
		}
	}
	all := make([][]uint16, len(iq1Grid.neighbours))
	for code, neighbours := range iq1Grid.neighbours {
		for i := 0; i < len(neighbours) || i%kernel.TernaryPoints != 0; i++ {
			if i < len(neighbours) {
				all[code] = append(all[code], levels[neighbours[i]])
			} else {
				all[code] = append(all[code], all[code][0])
			}
		}
	}
	return all
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

// roundTernary returns the point of the grid that the levels of eight values are,
// or else the neighbour that is closest by weight. It reports whether that was so.
// It is iq1_find_best_neighbour2 of ggml-quants.c. If ordinary is set, the errors
// are not NaN.
func roundTernary(levels uint64, x, w *[8]float32, scale float32, values *[8]float32, ordinary bool) (point uint16, moved bool) {
	code := ternaryCode(levels)
	if index := iq1Grid.index[code]; index >= 0 {
		return uint16(index), false
	}
	neighbours := iq1Grid.neighbours[code]
	scaled := [4]float32{scale * values[0], scale * values[1], scale * values[2]}
	if ordinary {
		if place := kernel.NearestTernary(iq1Neighbours()[code], x, w, &scaled); place >= 0 {
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

// addTernary adds what fits a scale to eight values and a point: the weighted sums
// of x times the point's values, which are multiplied by factor, and of their
// squares.
func addTernary(xq, qq *float32, point uint16, x, w []float32, values *[8]float32, factor float32) {
	x, w = x[:8], w[:8]
	for i, l := range iq1Grid.point(point) {
		v := values[l&7] * factor
		*xq += float32(float32(w[i]*v) * x[i])
		*qq += float32(float32(w[i]*v) * v)
	}
}
