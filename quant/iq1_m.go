package quant

import (
	"encoding/binary"
	"math/bits"

	"github.com/ggufkit/ggufkit/gguf"
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
var _ = register(gguf.IQ1_M, codec{quantize: quantizeIQ1M, dequantize: dequantizeIQ1M, grid: &iq1Grid, greatest: greatestIQ1M})

func quantizeIQ1M(dst []byte, src, importance []float32) {
	grid := newIQ1Search()
	var fits [16]iq1MFit
	var weights [256]float32
	var work kernel.TernaryWork
	for ; len(src) > 0; dst, src = dst[56:], src[256:] {
		block, x := (*[56]byte)(dst), (*[256]float32)(src)
		var variance float32
		if importance != nil {
			variance = 2 * sumSquares(x[:]) / 256
		}
		// Step by step, as the sub-blocks do not wait for each other.
		for s := range fits {
			var subImportance []float32
			if importance != nil {
				subImportance = importance[16*s:]
			}
			fits[s].sort((*[16]float32)(weights[16*s:]), (*[16]float32)(x[16*s:]), subImportance, variance, &work)
		}
		for s := range fits {
			fits[s].sum()
		}
		for s := range fits {
			fits[s].likelyCuts(&work)
		}
		for s := range fits {
			fits[s].cut()
		}
		for s := range fits {
			fits[s].round(grid, (*[16]float32)(x[16*s:]), (*[16]float32)(weights[16*s:]))
		}
		for s := range fits {
			fits[s].fit(grid, (*[16]float32)(x[16*s:]), (*[16]float32)(weights[16*s:]))
		}
		if importance != nil {
			importance = importance[256:]
		}

		clear(block[:])
		var largest float32
		for s := range fits {
			f := &fits[s]
			for i, levels := range f.levels {
				p := grid.byCode[grid.code(levels)]
				block[2*s+i] = byte(p)
				block[32+s] |= byte(p>>8) << (4 * i)
			}
			if !(largest > f.scale) {
				largest = f.scale
			}
		}
		if largest == 0 {
			continue
		}
		d := largest / 15
		inverse := 1 / d
		var words [4]uint16
		var levels [32]uint16
		var which [32]uint8
		ordinary := true
		for s := range fits {
			f := &fits[s]
			ordinary = ordinary && f.ordinary
			level := oddLevel(inverse*f.scale, 7)
			words[s/4] |= uint16(level) << (s % 4 * 3)
			for i, delta := range f.deltas {
				block[32+s] |= delta << (4*i + 3)
				levels[2*s+i], which[2*s+i] = f.levels[i], 8*delta+level
			}
		}
		if xq, qq := grid.fit(levels[:], which[:], x[:], weights[:], ordinary); qq > 0 {
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

// iq1MFit is what is known of a sub-block of IQ1_M, and then its scale, the levels of
// its points and deltas, as indices of iq1Values.
type iq1MFit struct {
	kernel.IQ1M
	zero, ordinary bool
	cut1, cut2     int
	scale          float32
	deltas         [2]uint8
	levels         [2]uint16
	moved          bool
}

// sort makes the weights w of 16 values and sorts them.
func (f *iq1MFit) sort(w, x *[16]float32, importance []float32, variance float32, work *kernel.TernaryWork) {
	const least = 1e-7
	f.zero, f.ordinary = false, f.Sort(w, x, importance, variance, least, work)
	if f.ordinary {
		return
	}
	if importance == nil {
		weighSquares(w[:], x[:])
	} else {
		weigh(w[:], x[:], importance, variance)
	}
	f.zero = magnitude(x[:]) < least
	var order [16]uint8
	sortOrder(order[:], x[:])
	for j, i := range order {
		f.Rank[i] = uint8(j)
		half := i / 8
		f.Sums[j+1] = [4]float32{}
		f.Sums[j+1][half], f.Sums[j+1][2+half] = float32(w[i]*x[i]), w[i]
	}
}

// sum makes the sums of what sort put there.
func (f *iq1MFit) sum() {
	if f.ordinary {
		f.Add()
		return
	}
	f.Sums[0] = [4]float32{}
	for j := range 16 {
		for i := range 4 {
			f.Sums[j+1][i] += f.Sums[j][i]
		}
	}
}

// likelyCuts finds what cuts may be the best ones.
func (f *iq1MFit) likelyCuts(work *kernel.TernaryWork) {
	f.ordinary = f.ordinary && f.LikelyCuts(work)
	if f.ordinary {
		return
	}
	f.Whole, f.Rows = true, 1<<17-1
	for i1 := range f.Cuts {
		f.Cuts[i1] = 0xffff << max(i1-1, 0) & 0xffff
	}
}

// cut finds the best cuts.
func (f *iq1MFit) cut() {
	last := &f.Sums[16]
	best, found := float32(-maxFloat32), false
	rows := f.Rows
	if f.Whole {
		rows |= 1
	}
	for ; rows != 0; rows &= rows - 1 {
		i1 := bits.TrailingZeros64(rows)
		cuts := f.Cuts[i1] << 1
		if i1 == 0 && f.Whole {
			cuts |= 1
		}
		for ; cuts != 0; cuts &= cuts - 1 {
			i2 := bits.TrailingZeros32(cuts)
			at1, at2 := &f.Sums[i1], &f.Sums[i2]
			var xq, qq [2][2]float32 // by delta and half
			for delta := range 2 {
				v := &iq1Values[delta]
				square0, square1, square2 := float32(v[0]*v[0]), float32(v[1]*v[1]), float32(v[2]*v[2])
				for half := range 2 {
					// Levels are 1 apart.
					xq[delta][half] = float32(last[half]*v[2]) - (at1[half] + at2[half])
					qq[delta][half] = float32(at1[2+half]*(square0-square1)) + float32(last[2+half]*v[2]*v[2]) + float32(at2[2+half]*(square1-square2))
				}
			}
			for pair := range 4 {
				xq := xq[pair>>1][0] + xq[pair&1][1]
				qq := qq[pair>>1][0] + qq[pair&1][1]
				if qq > 0 && xq*xq > best*qq {
					f.scale = xq / qq
					best = f.scale * xq
					f.cut1, f.cut2, f.deltas, found = i1, i2, [2]uint8{uint8(pair >> 1), uint8(pair & 1)}, true
				}
			}
		}
	}
	f.zero = f.zero || !found
}

// round finds points of the grid.
func (f *iq1MFit) round(grid *iq1Search, x, w *[16]float32) {
	f.moved = false
	if f.zero {
		f.scale, f.deltas = 0, [2]uint8{}
		f.levels = [2]uint16{grid.levels[0], grid.levels[0]}
		return
	}
	reverse := f.scale < 0
	if reverse {
		f.scale, f.deltas = -f.scale, [2]uint8{1 - f.deltas[0], 1 - f.deltas[1]}
	}
	for i, delta := range f.deltas {
		var moved bool
		levels, values := cutLevels(f.Rank[8*i:], f.cut1, f.cut2, reverse), grid.scaled(int(delta), f.scale)
		f.levels[i], moved = grid.round(levels, (*[8]float32)(x[8*i:]), (*[8]float32)(w[8*i:]), &values, f.ordinary)
		f.moved = f.moved || moved
	}
}

// fit finds the scale anew if levels are not what the values were rounded to.
func (f *iq1MFit) fit(grid *iq1Search, x, w *[16]float32) {
	if !f.moved {
		return
	}
	xq, qq := grid.fit(f.levels[:], []uint8{8 * f.deltas[0], 8 * f.deltas[1]}, x[:], w[:], f.ordinary)
	if xq > 0 && qq > 0 {
		f.scale = xq / qq
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
