package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
)

// An IQ1_S block is 8 sub-blocks of 32 values x = d*(2*s + 1)*(l - 1 + delta):
//
//	 0  d    F16
//	 2  p    32 bytes, bits 0 to 7 of points of iq1Grid, each of which has the levels
//	         l of 8 values
//	34       8 uint16, one per sub-block: three times four bits 8 to 10 of points,
//	         three bits of s, and a bit set if delta is -1/8 instead of 1/8
//
// A sub-block is sorted, and cut in three such that the best scale leaves the least
// error; then each group of 8 is moved to the grid. d makes the largest scale 15,
// and an eighth more.
var iq1S = codec{quantize: quantizeIQ1S, dequantize: dequantizeIQ1S, grid: &iq1Grid, float: gguf.F16, floats: []int{0}}

// iq1Values are what levels stand for: with delta 1/8, and with -1/8.
var iq1Values = [2][8]float32{
	{-1 + 0.125, 0.125, 1 + 0.125},
	{-1 - 0.125, -0.125, 1 - 0.125},
}

func quantizeIQ1S(dst []byte, src, importance []float32) {
	iq1Grid.prepare()
	for ; len(src) > 0; dst, src, importance = dst[50:], src[256:], importance[256:] {
		block, x := (*[50]byte)(dst), (*[256]float32)(src)
		variance := 2 * sumSquares(x[:]) / 256
		clear(block[:])
		var scales [8]float32
		var words [8]uint16
		var largest float32
		for s := range scales {
			x := (*[32]float32)(x[32*s:])
			var weights [32]float32
			weigh(weights[:], x[:], importance[32*s:], variance)
			var points [4]uint16
			var negative bool
			points, negative, scales[s] = fitIQ1S(x, &weights)
			for i, p := range points {
				block[2+4*s+i] = byte(p)
				words[s] |= p >> 8 << (3 * i)
			}
			if negative {
				words[s] |= 1 << 15
			}
			if !(largest > scales[s]) {
				largest = scales[s]
			}
		}
		if largest == 0 {
			continue
		}
		d := largest / 15
		putHalf(block[:], d*1.125)
		inverse := 1 / d
		for s, word := range words {
			word |= uint16(oddLevel(inverse*scales[s], 7)) << 12
			binary.LittleEndian.PutUint16(block[34+2*s:], word)
		}
	}
}

// fitIQ1S finds points, the sign of delta and a scale.
func fitIQ1S(x, w *[32]float32) (points [4]uint16, negative bool, scale float32) {
	if magnitude(x[:]) < 1e-12 {
		return points, false, 0
	}
	var order [32]uint8
	sortOrder(order[:], x[:])
	// Sums over the first values in order.
	var sumX, sumW [33]float32
	for j, i := range order {
		sumX[j+1] = sumX[j] + float32(w[i]*x[i])
		sumW[j+1] = sumW[j] + w[i]
	}
	best, found := float32(-maxFloat32), false
	var cut1, cut2, delta int
	for i1 := 0; i1 <= 32; i1++ {
		for i2 := i1; i2 <= 32; i2++ {
			for sign := range iq1Values {
				v := &iq1Values[sign]
				xq := float32((sumX[i1]-sumX[0])*v[0]) + float32((sumX[i2]-sumX[i1])*v[1]) + float32((sumX[32]-sumX[i2])*v[2])
				qq := float32((sumW[i1]-sumW[0])*v[0]*v[0]) + float32((sumW[i2]-sumW[i1])*v[1]*v[1]) + float32((sumW[32]-sumW[i2])*v[2]*v[2])
				if qq > 0 && xq*xq > best*qq {
					scale = xq / qq
					best = scale * xq
					cut1, cut2, delta, found = i1, i2, sign, true
				}
			}
		}
	}
	if !found {
		return points, false, 0
	}
	var q [32]uint8
	cutLevels(q[:], order[:], cut1, cut2, scale < 0)
	if scale < 0 {
		scale, delta = -scale, 1-delta
	}
	moved := false
	for i := range points {
		var off bool
		points[i], off = roundTernary(q[8*i:], x[8*i:], w[8*i:], scale, &iq1Values[delta])
		moved = moved || off
	}
	if moved {
		var xq, qq float32
		for i, p := range points {
			addTernary(&xq, &qq, p, x[8*i:], w[8*i:], &iq1Values[delta], 1)
		}
		if xq > 0 && qq > 0 {
			scale = xq / qq
		}
	}
	return points, delta == 1, scale
}

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

// cutLevels makes the levels 0 up to the first cut in order, 1 up to the second,
// and 2 from there; or the other way round.
func cutLevels(q, order []uint8, cut1, cut2 int, reverse bool) {
	for j, i := range order {
		var level uint8
		switch {
		case j >= cut2:
			level = 2
		case j >= cut1:
			level = 1
		}
		if reverse {
			level = 2 - level
		}
		q[i] = level
	}
}

// roundTernary returns the point of the grid that the levels of eight values are,
// or else the neighbour that is closest by weight. It reports whether that was so.
// It is iq1_find_best_neighbour2 of ggml-quants.c.
func roundTernary(q []uint8, x, w []float32, scale float32, values *[8]float32) (point uint16, moved bool) {
	code := iq1Grid.code(q)
	if index := iq1Grid.index[code]; index >= 0 {
		return uint16(index), false
	}
	point = iq1Grid.neighbours[code][0]
	least := float32(maxFloat32)
	for _, neighbour := range iq1Grid.neighbours[code] {
		var e float32
		for i, l := range iq1Grid.point(neighbour) {
			d := float32(scale*values[l&7]) - x[i]
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
	for i, l := range iq1Grid.point(point) {
		v := values[l&7] * factor
		*xq += float32(float32(w[i]*v) * x[i])
		*qq += float32(float32(w[i]*v) * v)
	}
}

func dequantizeIQ1S(dst []float32, src []byte) {
	points := iq1Grid.read()
	for ; len(src) > 0; dst, src = dst[256:], src[50:] {
		block := (*[50]byte)(src)
		d := half(block[:])
		for i := range 32 {
			word := binary.LittleEndian.Uint16(block[34+i/4*2:])
			p := int(block[2+i]) | int(word>>(i%4*3)&7)<<8
			scale := d * float32(2*(word>>12&7)+1)
			putPoint(dst[8*i:], points[8*p:][:8], &iq1Values[word>>15], scale, 0)
		}
	}
}
