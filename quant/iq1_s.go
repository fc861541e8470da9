package quant

import (
	"encoding/binary"
	"math/bits"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
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

func quantizeIQ1S(dst []byte, src, importance []float32) {
	iq1Grid.prepare()
	var search kernel.IQ1S
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
			points, negative, scales[s] = fitIQ1S(&search, x, &weights)
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
func fitIQ1S(search *kernel.IQ1S, x, w *[32]float32) (points [4]uint16, negative bool, scale float32) {
	const least = 1e-12
	ordinary := search.Sums(x, w, least)
	if !ordinary {
		if magnitude(x[:]) < least {
			return points, false, 0
		}
		sumIQ1S(search, x, w)
	}
	if ordinary = ordinary && search.LikelyCuts(); !ordinary {
		for i1 := range search.Cuts {
			search.Cuts[i1] = ^uint32(0) << max(i1-1, 0)
		}
		search.Cuts[32] = 1 << 31
	}
	sumX, sumW := &search.X, &search.W
	best, found := float32(-maxFloat32), false
	var cut1, cut2, delta int
	for i1, likely := range search.Cuts {
		cuts := uint64(likely) << 1
		if i1 == 0 {
			cuts |= 1
		}
		for ; cuts != 0; cuts &= cuts - 1 {
			i2 := bits.TrailingZeros64(cuts)
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
	reverse := scale < 0
	if reverse {
		scale, delta = -scale, 1-delta
	}
	moved := false
	for i := range points {
		levels := cutLevels(search.Rank[8*i:], cut1, cut2, reverse)
		var off bool
		points[i], off = roundTernary(levels, (*[8]float32)(x[8*i:]), (*[8]float32)(w[8*i:]), scale, &iq1Values[delta], ordinary)
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

// sumIQ1S sorts, and makes the sums of, 32 values.
func sumIQ1S(s *kernel.IQ1S, x, w *[32]float32) {
	var order [32]uint8
	sortOrder(order[:], x[:])
	s.X[0], s.W[0] = 0, 0
	for j, i := range order {
		s.Rank[i] = uint8(j)
		s.X[j+1] = s.X[j] + float32(w[i]*x[i])
		s.W[j+1] = s.W[j] + w[i]
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
