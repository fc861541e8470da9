package quant

import (
	"encoding/binary"
	"math"
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
var _ = register(gguf.IQ1_S, codec{quantize: quantizeIQ1S, dequantize: dequantizeIQ1S, grid: &iq1Grid, needsImportance: true})

func quantizeIQ1S(dst []byte, src, importance []float32) {
	grid := newIQ1Search()
	var fits [8]iq1SFit
	var weights [256]float32
	var work kernel.TernaryWork
	for ; len(src) > 0; dst, src, importance = dst[50:], src[256:], importance[256:] {
		block, x := (*[50]byte)(dst), (*[256]float32)(src)
		variance := 2 * sumSquares(x[:]) / 256
		// Step by step, as the sub-blocks do not wait for each other.
		for s := range fits {
			fits[s].sort((*[32]float32)(weights[32*s:]), (*[32]float32)(x[32*s:]), importance[32*s:], variance, &work)
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
			fits[s].round(grid, (*[32]float32)(x[32*s:]), (*[32]float32)(weights[32*s:]))
		}
		for s := range fits {
			fits[s].fit(grid, (*[32]float32)(x[32*s:]), (*[32]float32)(weights[32*s:]))
		}

		clear(block[:])
		var largest float32
		for s := range fits {
			if !(largest > fits[s].scale) {
				largest = fits[s].scale
			}
		}
		d := largest / 15
		inverse := 1 / d
		for s := range fits {
			f := &fits[s]
			var word uint16
			for i, levels := range f.levels {
				p := grid.byCode[grid.code(levels)]
				block[2+4*s+i] = byte(p)
				word |= uint16(p>>8) << (3 * i)
			}
			if largest == 0 {
				continue
			}
			word |= uint16(f.delta)<<15 | uint16(oddLevel(inverse*f.scale, 7))<<12
			binary.LittleEndian.PutUint16(block[34+2*s:], word)
		}
		if largest != 0 {
			putHalf(block[:], d*1.125)
		}
	}
}

// iq1SFit is what is known of a sub-block of IQ1_S, and then its scale, the levels of
// its points and delta, as an index of iq1Values.
type iq1SFit struct {
	kernel.IQ1S
	zero, ordinary bool
	cut1, cut2     int
	scale          float32
	delta          int
	levels         [4]uint16
	moved          bool
}

// sort makes the weights w of 32 values and sorts them.
func (f *iq1SFit) sort(w, x *[32]float32, importance []float32, variance float32, work *kernel.TernaryWork) {
	const least = 1e-12
	f.zero, f.ordinary = false, f.Sort(w, x, importance, variance, least, work)
	if f.ordinary {
		return
	}
	weigh(w[:], x[:], importance, variance)
	f.zero = magnitude(x[:]) < least
	var order [32]uint8
	sortOrder(order[:], x[:])
	for j, i := range order {
		f.Rank[i] = uint8(j)
		f.Sums[j+1] = [2]float32{float32(w[i] * x[i]), w[i]}
	}
}

// sum makes the sums of what sort put there.
func (f *iq1SFit) sum() {
	if f.ordinary {
		f.Add()
		return
	}
	f.Sums[0] = [2]float32{}
	for j := range 32 {
		for i := range 2 {
			f.Sums[j+1][i] += f.Sums[j][i]
		}
	}
}

// likelyCuts finds what cuts may be the best ones.
func (f *iq1SFit) likelyCuts(work *kernel.TernaryWork) {
	f.ordinary = f.ordinary && f.LikelyCuts(work)
	if f.ordinary {
		return
	}
	f.Whole, f.Rows = true, 1<<33-1
	for i1 := range f.Cuts {
		f.Cuts[i1] = uint32(uint64(math.MaxUint32) << max(i1-1, 0))
	}
}

// cut finds the best cuts.
func (f *iq1SFit) cut() {
	first, last := &f.Sums[0], &f.Sums[32]
	best, found := float32(-maxFloat32), false
	rows := f.Rows
	if f.Whole {
		rows |= 1
	}
	for ; rows != 0; rows &= rows - 1 {
		i1 := bits.TrailingZeros64(rows)
		cuts := uint64(f.Cuts[i1]) << 1
		if i1 == 0 && f.Whole {
			cuts |= 1
		}
		for ; cuts != 0; cuts &= cuts - 1 {
			i2 := bits.TrailingZeros64(cuts)
			at1, at2 := &f.Sums[i1], &f.Sums[i2]
			for delta := range iq1Values {
				v := &iq1Values[delta]
				xq := float32((at1[0]-first[0])*v[0]) + float32((at2[0]-at1[0])*v[1]) + float32((last[0]-at2[0])*v[2])
				qq := float32((at1[1]-first[1])*v[0]*v[0]) + float32((at2[1]-at1[1])*v[1]*v[1]) + float32((last[1]-at2[1])*v[2]*v[2])
				if qq > 0 && xq*xq > best*qq {
					f.scale = xq / qq
					best = f.scale * xq
					f.cut1, f.cut2, f.delta, found = i1, i2, delta, true
				}
			}
		}
	}
	f.zero = f.zero || !found
}

// round finds points of the grid.
func (f *iq1SFit) round(grid *iq1Search, x, w *[32]float32) {
	f.moved = false
	if f.zero {
		f.scale, f.delta = 0, 0
		for i := range f.levels {
			f.levels[i] = grid.levels[0]
		}
		return
	}
	reverse := f.scale < 0
	if reverse {
		f.scale, f.delta = -f.scale, 1-f.delta
	}
	values := grid.scaled(f.delta, f.scale)
	for i := range f.levels {
		var moved bool
		levels := cutLevels(f.Rank[8*i:], f.cut1, f.cut2, reverse)
		f.levels[i], moved = grid.round(levels, (*[8]float32)(x[8*i:]), (*[8]float32)(w[8*i:]), &values, f.ordinary)
		f.moved = f.moved || moved
	}
}

// fit finds the scale anew if levels are not what the values were rounded to.
func (f *iq1SFit) fit(grid *iq1Search, x, w *[32]float32) {
	if !f.moved {
		return
	}
	which := uint8(8 * f.delta)
	xq, qq := grid.fit(f.levels[:], []uint8{which, which, which, which}, x[:], w[:], f.ordinary)
	if xq > 0 && qq > 0 {
		f.scale = xq / qq
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
