package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The types with a grid. Their points are the levels of 8 or 4 elements.

// iq2Values, iq3XXSValues, iq3SValues and iq1Values are those of package quant, the
// last for delta 1/8, times 8.
var (
	iq2Values    = [16]int8{8, 25, 43}
	iq3XXSValues = [16]int8{4, 12, 20, 28, 36, 44, 52, 62}
	iq3SValues   = [16]int8{1, 3, 5, 7, 9, 11, 13, 15}
	iq1Values    = [16]int8{-7, 1, 9}
)

// gather returns 32/dim rows of dim bytes, of which index says the numbers.
func gather(table reg.GPVirtual, dim int, index func(i int) reg.Register) reg.VecVirtual {
	half := func(first int) reg.VecVirtual {
		x := XMM()
		for i := range 16 / dim {
			row := Mem{Base: table, Index: index(first + i), Scale: uint8(dim)}
			switch {
			case dim == 8 && i == 0:
				VMOVQ(row, x)
			case dim == 8:
				VPINSRQ(U8(uint8(i)), row, x, x)
			case i == 0:
				VMOVD(row, x)
			default:
				VPINSRD(U8(uint8(i)), row, x, x)
			}
		}
		return x
	}
	low := half(0)
	return join(low, half(16/dim))
}

// byteIndex returns the indices that are bytes from p on.
func byteIndex(p reg.GPVirtual) func(i int) reg.Register {
	return func(i int) reg.Register {
		index := GP32()
		MOVBLZX(Mem{Base: p, Disp: i}, index)
		return index.As64()
	}
}

// storeIndices stores the indices of eight points in m: bits 0 to 7, which are
// bytes from low on, and those which fields finds at high.
func (r *reader) storeIndices(m, low, high Mem, shifts func(lane int) int, mask uint32) {
	index, upper := YMM(), r.fields(high, shifts, mask)
	VPMOVZXBD(low, index)
	VPSLLD(U8(8), upper, upper)
	VPOR(upper, index, index)
	VMOVDQU(index, m)
}

// storedIndex returns the indices that storeIndices stored, from m on.
func storedIndex(m Mem) func(i int) reg.Register {
	return func(i int) reg.Register {
		index := GP32()
		MOVL(m.Offset(4*i), index)
		return index.As64()
	}
}

// wordSigns returns the rows of evenSigns for the four times seven bits of the
// uint32 at m.
func wordSigns(table reg.GPVirtual, m Mem) reg.VecVirtual {
	word := GP32()
	MOVL(m, word)
	return gather(table, 8, func(i int) reg.Register {
		index := GP32()
		MOVL(word, index)
		if i > 0 {
			SHRL(U8(uint8(7*i)), index)
		}
		ANDL(U8(127), index)
		return index.As64()
	})
}

// wordScale returns the four highest bits of the uint32 at m, plus 1/2, times d
// and factor.
func (r *reader) wordScale(m Mem, d reg.VecVirtual, factor float32) reg.VecVirtual {
	x := r.Vector()
	VPBROADCASTD(m, x)
	VPSRLD(U8(28), x, x)
	VCVTDQ2PS(x, x)
	VADDPS(r.fill(r.float(0.5)), x, x)
	VMULPS(d, x, x)
	VMULPS(r.fill(r.float(factor)), x, x)
	return x
}

// signed changes the signs of what signs, 1 and -1, say.
func signed(values, signs reg.VecVirtual) reg.VecVirtual {
	VPSIGNB(signs, values, values)
	return values
}

// bitSigns returns -1 for the bits of the uint32 at m that are set, and 1 for the
// others.
func (r *reader) bitSigns(m Mem) reg.VecVirtual {
	signs := r.bits(m)
	VPOR(r.same(1), signs, signs)
	return signs
}

func readIQ2XXS(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c00)
	d := r.half(r.in(0))
	points, signs, p := param("points"), pointer(r.evenSigns), pointer(r.in(2))
	r.times(8, 32, func() {
		word := Mem{Base: p, Disp: 4}
		values := r.lookup(iq2Values, gather(points, 8, byteIndex(p)))
		then := scale(r.wordScale(word, d, 0.25))
		r.put32(0, signed(values, wordSigns(signs, word)), then, then)
		ADDQ(U8(8), p)
	})
}

// putIQ2Scales stores the 16 scales of IQ2_XS and IQ2_S.
func (r *reader) putIQ2Scales(levels Mem, d reg.VecVirtual) Mem {
	x, scales := XMM(), AllocLocal(64)
	VMOVQ(levels, x)
	putScales(scales, r.pairs(x), 16, func(x reg.VecVirtual) {
		VADDPS(r.float(0.5), x, x)
		VMULPS(d.AsY(), x, x)
		VMULPS(r.float(0.25), x, x)
	})
	return scales
}

func readIQ2XS(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c00)
	scales := pointer(r.putIQ2Scales(r.in(66), r.half(r.in(0))))
	points, signs, p := param("points"), pointer(r.evenSigns), pointer(r.in(2))
	r.times(8, 32, func() {
		word := func(i int) reg.GPVirtual {
			w := GP32()
			MOVWLZX(Mem{Base: p, Disp: 2 * i}, w)
			return w
		}
		values := r.lookup(iq2Values, gather(points, 8, func(i int) reg.Register {
			w := word(i)
			ANDL(U32(511), w)
			return w.As64()
		}))
		values = signed(values, gather(signs, 8, func(i int) reg.Register {
			w := word(i)
			SHRL(U8(9), w)
			return w.As64()
		}))
		d0, d1 := r.fill(Mem{Base: scales}), r.fill(Mem{Base: scales, Disp: 4})
		r.put32(0, values, scale(d0), scale(d1))
		ADDQ(U8(8), p)
		ADDQ(U8(8), scales)
	})
}

func readIQ2S(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c00)
	scales := pointer(r.putIQ2Scales(r.in(74), r.half(r.in(0))))
	points, low, signs, high := param("points"), pointer(r.in(2)), pointer(r.in(34)), pointer(r.in(66))
	indices := AllocLocal(32)
	r.times(4, 64, func() {
		r.storeIndices(indices, Mem{Base: low}, Mem{Base: high}, func(lane int) int { return 2 * lane }, 3)
		for i := range 2 {
			values := r.lookup(iq2Values, gather(points, 8, storedIndex(indices.Offset(16*i))))
			values = signed(values, r.bitSigns(Mem{Base: signs, Disp: 4 * i}))
			d0, d1 := r.fill(Mem{Base: scales, Disp: 8 * i}), r.fill(Mem{Base: scales, Disp: 8*i + 4})
			r.put32(32*i, values, scale(d0), scale(d1))
		}
		ADDQ(U8(8), low)
		ADDQ(U8(8), signs)
		ADDQ(U8(2), high)
		ADDQ(U8(16), scales)
	})
}

func readIQ3XXS(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c00)
	d := r.half(r.in(0))
	points, signs, p, words := param("points"), pointer(r.evenSigns), pointer(r.in(2)), pointer(r.in(66))
	r.times(8, 32, func() {
		word := Mem{Base: words}
		values := r.lookup(iq3XXSValues, gather(points, 4, byteIndex(p)))
		then := scale(r.wordScale(word, d, 0.5))
		r.put32(0, signed(values, wordSigns(signs, word)), then, then)
		ADDQ(U8(8), p)
		ADDQ(U8(4), words)
	})
}

func readIQ3S(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c00)
	d, levels, stored := r.half(r.in(0)), XMM(), AllocLocal(32)
	VMOVD(r.in(106), levels)
	levels = r.pairs(levels).AsX().(reg.VecVirtual)
	VPADDB(levels, levels, levels)
	VPADDB(r.same(1), levels, levels)
	putScales(stored, levels, 8, scale(d.AsY()))
	scales, indices := pointer(stored), AllocLocal(32)
	points, low, high, signs := param("points"), pointer(r.in(2)), pointer(r.in(66)), pointer(r.in(74))
	r.times(8, 32, func() {
		r.storeIndices(indices, Mem{Base: low}, Mem{Base: high}, func(lane int) int { return lane }, 1)
		values := r.lookup(iq3SValues, gather(points, 4, storedIndex(indices)))
		then := scale(r.fill(Mem{Base: scales}))
		r.put32(0, signed(values, r.bitSigns(Mem{Base: signs})), then, then)
		ADDQ(U8(8), low)
		INCQ(high)
		ADDQ(U8(4), signs)
		ADDQ(U8(4), scales)
	})
}

// iq1Shift is where in two words of IQ1 types the three bits are that belong to one
// of eight points or scales.
func iq1Shift(lane int) int { return lane/4*16 + lane%4*3 }

// iq1Scales makes levels of scales factors of d, to go with values times 8.
func (r *reader) iq1Scales(levels, d reg.VecVirtual) {
	VPADDD(levels, levels, levels)
	VPADDD(r.words(func(int) uint32 { return 1 }), levels, levels)
	VCVTDQ2PS(levels, levels)
	VMULPS(d.AsY(), levels, levels)
	VMULPS(r.float(1.0/8), levels, levels)
}

// iq1Delta subtracts a quarter from values, times 8, where all bits of negative are
// set.
func iq1Delta(values, negative reg.VecVirtual) reg.VecVirtual {
	VPADDB(negative, values, values)
	VPADDB(negative, values, values)
	return values
}

func readIQ1S(r *reader) {
	d := r.half(r.in(0))
	points, low, words := param("points"), pointer(r.in(2)), pointer(r.in(34))
	scales, indices := AllocLocal(32), AllocLocal(32)
	levels := YMM()
	VPMOVZXWD(r.in(34), levels)
	VPSRLD(U8(12), levels, levels)
	VPAND(r.words(func(int) uint32 { return 7 }), levels, levels)
	r.iq1Scales(levels, d)
	VMOVUPS(levels, scales)
	at := pointer(scales)
	r.times(4, 64, func() {
		r.storeIndices(indices, Mem{Base: low}, Mem{Base: words}, iq1Shift, 7)
		for i := range 2 {
			negative := YMM()
			VPBROADCASTW(Mem{Base: words, Disp: 2 * i}, negative)
			VPSRAW(U8(15), negative, negative)
			values := r.lookup(iq1Values, gather(points, 8, storedIndex(indices.Offset(16*i))))
			then := scale(r.fill(Mem{Base: at, Disp: 4 * i}))
			r.put32(32*i, iq1Delta(values, negative), then, then)
		}
		ADDQ(U8(8), low)
		ADDQ(U8(4), words)
		ADDQ(U8(8), at)
	})
}

func readIQ1M(r *reader) {
	// The parts of d are the highest four bits of the words.
	words, bits, part := GP64(), GP32(), GP64()
	MOVQ(r.in(48), words)
	MOVWLZX(r.in(48), bits)
	SHRL(U8(12), bits)
	for i := 1; i < 4; i++ {
		MOVQ(words, part)
		SHRQ(U8(uint8(12*(i+1))), part)
		ANDL(U32(15<<(4*i)), part.As32())
		ORL(part.As32(), bits)
	}
	stored := AllocLocal(8)
	MOVL(bits, stored)
	d := r.half(stored)

	scales, indices := AllocLocal(64), AllocLocal(32)
	for i := range 2 {
		levels := r.fields(r.in(48+4*i), iq1Shift, 7)
		r.iq1Scales(levels, d)
		VMOVUPS(levels, scales.Offset(32*i))
	}
	points, at, low, high := param("points"), pointer(scales), pointer(r.in(0)), pointer(r.in(32))
	r.times(4, 64, func() {
		r.storeIndices(indices, Mem{Base: low}, Mem{Base: high}, func(lane int) int { return 4 * lane }, 7)
		for i := range 2 {
			// The highest bits of half bytes.
			negative := YMM()
			VPBROADCASTW(Mem{Base: high, Disp: 2 * i}, negative)
			VPSHUFB(r.bytes(func(i int) int { return i / 16 }), negative, negative)
			top := r.bytes(func(i int) int { return 8 << (i / 8 % 2 * 4) })
			VPAND(top, negative, negative)
			VPCMPEQB(top, negative, negative)
			values := r.lookup(iq1Values, gather(points, 8, storedIndex(indices.Offset(16*i))))
			d0, d1 := r.fill(Mem{Base: at, Disp: 8 * i}), r.fill(Mem{Base: at, Disp: 8*i + 4})
			r.put32(32*i, iq1Delta(values, negative), scale(d0), scale(d1))
		}
		ADDQ(U8(8), low)
		ADDQ(U8(4), high)
		ADDQ(U8(16), at)
	})
}
