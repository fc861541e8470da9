package quant

import (
	"encoding/binary"
	"math/bits"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// An IQ1_M block is 16 sub-blocks of 16 values x = d*(2*s + 1)*(l - 1 + delta):
//
//	 0  p   32 bytes, bits 0 to 7 of points of iq1Grid, each of which has the levels
//	        l of 8 values
//	32  ph  16 bytes, one per sub-block: in the low bits, bits 8 to 10 of its first
//	        point and a bit set if delta is -1/8 there instead of 1/8; in the high
//	        bits, those of its second
//	48  s   4 uint16, each of which has four scales of three bits, and in the four
//	        highest bits a part of d, an F16, from the lowest up
//
// A sub-block is sorted, and cut in three such that the best scale leaves the least
// error for the best of the four pairs of deltas; then each group of 8 is moved to
// the grid. The largest scale becomes 15, and d is fitted to what was stored, and
// made larger by a ninth.
var iq1M = codec{quantize: quantizeIQ1M, dequantize: dequantizeIQ1M, grid: &iq1Grid, greatest: greatestIQ1M}

func quantizeIQ1M(dst []byte, src, importance []float32) {
	iq1Grid.prepare()
	var search kernel.IQ1M
	for ; len(src) > 0; dst, src = dst[56:], src[256:] {
		block, x := (*[56]byte)(dst), (*[256]float32)(src)
		var weights [256]float32
		importance = weighSuperBlock(&weights, x, importance)
		clear(block[:])
		var scales [16]float32
		var points [16][2]uint16
		var deltas [16][2]int
		var largest float32
		for s := range scales {
			points[s], deltas[s], scales[s] = fitIQ1M(&search, (*[16]float32)(x[16*s:]), (*[16]float32)(weights[16*s:]))
			for i, p := range points[s] {
				block[2*s+i] = byte(p)
				block[32+s] |= byte(p>>8) << (4 * i)
			}
			if !(largest > scales[s]) {
				largest = scales[s]
			}
		}
		if largest == 0 {
			continue
		}
		d := largest / 15
		inverse := 1 / d
		var words [4]uint16
		var xq, qq float32
		for s, scale := range scales {
			level := oddLevel(inverse*scale, 7)
			words[s/4] |= uint16(level) << (s % 4 * 3)
			for i, p := range points[s] {
				block[32+s] |= byte(deltas[s][i]) << (4*i + 3)
				at := 16*s + 8*i
				addTernary(&xq, &qq, p, x[at:], weights[at:], &iq1Values[deltas[s][i]], float32(2*level+1))
			}
		}
		if qq > 0 {
			d = xq / qq
		}
		var stored [2]byte
		putHalf(stored[:], d*1.1125)
		bits := binary.LittleEndian.Uint16(stored[:])
		for i, word := range words {
			binary.LittleEndian.PutUint16(block[48+2*i:], word|bits>>(4*i)&15<<12)
		}
	}
}

// fitIQ1M finds two points, their deltas, as indices of iq1Values, and a scale.
func fitIQ1M(search *kernel.IQ1M, x, w *[16]float32) (points [2]uint16, deltas [2]int, scale float32) {
	const least = 1e-7
	ordinary := search.Sums(x, w, least)
	if !ordinary {
		if magnitude(x[:]) < least {
			return points, deltas, 0
		}
		sumIQ1M(search, x, w)
	}
	if ordinary = ordinary && search.LikelyCuts(); !ordinary {
		for i1 := range search.Cuts {
			search.Cuts[i1] = ^uint16(0) << max(i1-1, 0)
		}
	}
	best, found := float32(-maxFloat32), false
	var cut1, cut2, bestPair int
	for i1, likely := range search.Cuts {
		cuts := uint32(likely) << 1
		if i1 == 0 {
			cuts |= 1
		}
		for ; cuts != 0; cuts &= cuts - 1 {
			i2 := bits.TrailingZeros32(cuts)
			var xq, qq [2][2]float32 // by delta and half
			for delta := range 2 {
				v := &iq1Values[delta]
				square0, square1, square2 := float32(v[0]*v[0]), float32(v[1]*v[1]), float32(v[2]*v[2])
				for side := range 2 {
					x, w := &search.X[side], &search.W[side]
					// Levels are 1 apart.
					xq[delta][side] = float32(x[16]*v[2]) - (x[i1] + x[i2])
					qq[delta][side] = float32(w[i1]*(square0-square1)) + float32(w[16]*v[2]*v[2]) + float32(w[i2]*(square1-square2))
				}
			}
			for pair := range 4 {
				xq := xq[pair>>1][0] + xq[pair&1][1]
				qq := qq[pair>>1][0] + qq[pair&1][1]
				if qq > 0 && xq*xq > best*qq {
					scale = xq / qq
					best = scale * xq
					cut1, cut2, bestPair, found = i1, i2, pair, true
				}
			}
		}
	}
	if !found {
		return points, deltas, 0
	}
	reverse := scale < 0
	if reverse {
		scale, bestPair = -scale, 3-bestPair
	}
	deltas = [2]int{bestPair >> 1, bestPair & 1}
	moved := false
	for i := range points {
		levels := cutLevels(search.Rank[8*i:], cut1, cut2, reverse)
		var off bool
		points[i], off = roundTernary(levels, (*[8]float32)(x[8*i:]), (*[8]float32)(w[8*i:]), scale, &iq1Values[deltas[i]], ordinary)
		moved = moved || off
	}
	if moved {
		var xq, qq float32
		for i, p := range points {
			addTernary(&xq, &qq, p, x[8*i:], w[8*i:], &iq1Values[deltas[i]], 1)
		}
		if xq > 0 && qq > 0 {
			scale = xq / qq
		}
	}
	return points, deltas, scale
}

// sumIQ1M sorts 16 values, and makes the sums of each half.
func sumIQ1M(s *kernel.IQ1M, x, w *[16]float32) {
	var order [16]uint8
	sortOrder(order[:], x[:])
	for side := range 2 {
		s.X[side][0], s.W[side][0] = 0, 0
	}
	for j, i := range order {
		s.Rank[i] = uint8(j)
		for side := range 2 {
			s.X[side][j+1], s.W[side][j+1] = s.X[side][j], s.W[side][j]
		}
		s.X[i/8][j+1] += float32(w[i] * x[i])
		s.W[i/8][j+1] += w[i]
	}
}

// scaleIQ1M gathers d.
func scaleIQ1M(block []byte) float32 {
	var bits uint16
	for i := range 4 {
		bits |= binary.LittleEndian.Uint16(block[48+2*i:]) >> 12 << (4 * i)
	}
	var b [2]byte
	binary.LittleEndian.PutUint16(b[:], bits)
	return half(b[:])
}

// greatestIQ1M returns the greatest value a block can hold.
func greatestIQ1M(block []byte) float32 { return scaleIQ1M(block) * 15 * iq1Values[0][2] }

func dequantizeIQ1M(dst []float32, src []byte) {
	points := iq1Grid.read()
	for ; len(src) > 0; dst, src = dst[256:], src[56:] {
		block := (*[56]byte)(src)
		d := scaleIQ1M(block[:])
		for i := range 32 {
			s := i / 2
			high := block[32+s] >> (i % 2 * 4)
			p := int(block[i]) | int(high&7)<<8
			level := binary.LittleEndian.Uint16(block[48+s/4*2:]) >> (s % 4 * 3) & 7
			putPoint(dst[8*i:], points[8*p:][:8], &iq1Values[high>>3&1], d*float32(2*level+1), 0)
		}
	}
}
