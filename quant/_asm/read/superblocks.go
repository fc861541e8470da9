package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The K types, and IQ4_XS and the ternary types, which are packed like them. They
// store the scales of their sub-blocks as floats on the stack.

func readQ2K(r *reader) {
	d, dmin := r.half(r.in(80)), r.half(r.in(82))
	scales, minima := AllocLocal(64), AllocLocal(64)
	low, high := XMM(), XMM()
	VPAND(loadX(r.in(0)), loadX(r.same(15)), low)
	VPSRLW(U8(4), loadX(r.in(0)), high)
	VPAND(r.same(15), high, high)
	putScales(scales, low, 16, scale(d.AsY()))
	putScales(minima, high, 16, scale(dmin.AsY()))
	s, m, packed := pointer(scales), pointer(minima), pointer(r.in(16))
	r.times(2, 128, func() {
		q := loadY(Mem{Base: packed})
		for i := range 4 {
			then := func(half int) func(x reg.VecVirtual) {
				at := 8*i + 4*half
				return affine(r.fill(Mem{Base: s, Disp: at}), r.fill(Mem{Base: m, Disp: at}))
			}
			r.put32(32*i, shift(q, 2*i, r.same(3)), then(0), then(1))
		}
		ADDQ(U8(32), packed)
		ADDQ(U8(32), s)
		ADDQ(U8(32), m)
	})
}

func readQ3K(r *reader) {
	d := r.half(r.in(108))
	scales := AllocLocal(64)
	// The twelve bytes of scales after two others: their low bits twice, the first
	// eight, and their high ones four times.
	s, low, high := loadX(r.in(94)), XMM(), XMM()
	VPSHUFB(r.bytes(func(i int) int { return 2 + i%8 }), s, low)
	VPSRLVQ(r.words(func(lane int) uint32 { return uint32(lane % 4 / 2 * (1 - lane%2) * 4) }), low, low)
	VPAND(r.same(15), low, low)
	VPSHUFB(r.bytes(func(i int) int { return 10 + i%4 }), s, high)
	VPSRLVD(r.words(func(lane int) uint32 { return uint32(lane % 4 * 2) }), high, high)
	VPAND(r.same(3), high, high)
	VPSLLW(U8(4), high, high)
	VPOR(high, low, low)
	VPSUBB(r.same(32), low, low)
	putScales(scales, low, 16, scale(d.AsY()))
	at, packed, qh := pointer(scales), pointer(r.in(32)), loadY(r.in(0))
	r.times(2, 128, func() {
		ql := loadY(Mem{Base: packed})
		for i := range 4 {
			q := shift(ql, 2*i, r.same(3))
			VPOR(shift(qh, i-2, r.same(4)), q, q)
			VPSUBB(r.same(4), q, q)
			d0, d1 := r.fill(Mem{Base: at, Disp: 8 * i}), r.fill(Mem{Base: at, Disp: 8*i + 4})
			r.put32(32*i, q, scale(d0), scale(d1))
		}
		VPSRLW(U8(4), qh, qh)
		ADDQ(U8(32), packed)
		ADDQ(U8(32), at)
	})
}

// scalesAndMinima stores 8 scales, times d, and then as many minima, times dmin, of
// the first 16 bytes of a Q4_K or Q5_K block. See scaleMin of package quant.
func (r *reader) scalesAndMinima() Mem {
	d, dmin := r.half(r.in(0)), r.half(r.in(2))
	// The numbers have four uint32, of which that with d and dmin is the first:
	// six bits of the second are scales, of the third minima; the low bits of the
	// fourth belong to scales the rest of which is at the top of the second, the
	// high ones to minima with the rest in the third.
	head, low, high := loadX(r.in(0)), XMM(), XMM()
	mask := func(odd, even uint32) Mem {
		return r.words(func(lane int) uint32 { return []uint32{even, odd}[lane%2] })
	}
	VPSHUFD(U8(0b11_10_11_01), head, low)
	VPSRLVD(r.words(func(lane int) uint32 { return uint32(lane % 4 / 3 * 4) }), low, low)
	VPAND(mask(0x0f0f0f0f, 0x3f3f3f3f), low, low)
	VPSHUFD(U8(0b10_10_01_01), head, high)
	VPSRLD(U8(2), high, high)
	VPAND(mask(0x30303030, 0), high, high)
	VPOR(high, low, low)
	scales := AllocLocal(64)
	putScales(scales, low, 8, scale(d.AsY()))
	VPSRLDQ(U8(8), low, low)
	putScales(scales.Offset(32), low, 8, scale(dmin.AsY()))
	return scales
}

// affineAt says how the sub-block is put the scale of which is at the given offset
// of what scalesAndMinima stored.
func (r *reader) affineAt(scales reg.GPVirtual, offset int) func(x reg.VecVirtual) {
	return affine(r.fill(Mem{Base: scales, Disp: offset}), r.fill(Mem{Base: scales, Disp: offset + 32}))
}

func readQ4K(r *reader) {
	scales, packed := pointer(r.scalesAndMinima()), pointer(r.in(16))
	r.times(4, 64, func() {
		q := loadY(Mem{Base: packed})
		for i := range 2 {
			then := r.affineAt(scales, 4*i)
			r.put32(32*i, shift(q, 4*i, r.same(15)), then, then)
		}
		ADDQ(U8(32), packed)
		ADDQ(U8(8), scales)
	})
}

func readQ5K(r *reader) {
	scales, packed := pointer(r.scalesAndMinima()), pointer(r.in(48))
	qh := loadY(r.in(16))
	r.times(4, 64, func() {
		ql := loadY(Mem{Base: packed})
		for i := range 2 {
			q := shift(ql, 4*i, r.same(15))
			VPOR(shift(qh, i-4, r.same(16)), q, q)
			then := r.affineAt(scales, 4*i)
			r.put32(32*i, q, then, then)
		}
		VPSRLW(U8(2), qh, qh)
		ADDQ(U8(32), packed)
		ADDQ(U8(8), scales)
	})
}

func readQ6K(r *reader) {
	d := r.half(r.in(208))
	scales := AllocLocal(64)
	putScales(scales, r.in(192), 16, scale(d.AsY()))
	s, low, high := pointer(scales), pointer(r.in(0)), pointer(r.in(128))
	r.times(2, 128, func() {
		qh := loadY(Mem{Base: high})
		ql := []reg.VecVirtual{loadY(Mem{Base: low}), loadY(Mem{Base: low, Disp: 32})}
		for i := range 4 {
			q := shift(ql[i%2], i/2*4, r.same(15))
			VPOR(shift(qh, 2*i-4, r.same(48)), q, q)
			VPSUBB(r.same(32), q, q)
			d0, d1 := r.fill(Mem{Base: s, Disp: 8 * i}), r.fill(Mem{Base: s, Disp: 8*i + 4})
			r.put32(32*i, q, scale(d0), scale(d1))
		}
		ADDQ(U8(64), low)
		ADDQ(U8(32), high)
		ADDQ(U8(32), s)
	})
}

func readIQ4XS(r *reader) {
	d := r.half(r.in(0))
	scales := AllocLocal(32)
	s := r.fields(r.in(4), func(lane int) int { return 4 * lane }, 15)
	high := r.fields(r.in(0), func(lane int) int { return 16 + 2*lane }, 3)
	VPSLLD(U8(4), high, high)
	VPOR(high, s, s)
	VPSUBD(r.words(func(int) uint32 { return 32 }), s, s)
	VCVTDQ2PS(s, s)
	VMULPS(d.AsY(), s, s)
	VMOVUPS(s, scales)
	at, packed := pointer(scales), pointer(r.in(8))
	r.times(8, 32, func() {
		then := scale(r.fill(Mem{Base: at}))
		r.put32(0, r.lookup(iq4Levels, r.nibbles(Mem{Base: packed})), then, then)
		ADDQ(U8(16), packed)
		ADDQ(U8(4), at)
	})
}

func readTQ10(r *reader) {
	d := r.half(r.in(52))
	// digit returns the first digit of fractions, less 1: the complement of the
	// masks of those that are at least a third and two thirds of 256.
	digit := func(fractions reg.VecVirtual) reg.VecVirtual {
		one, two := YMM(), YMM()
		VPMAXUB(r.same(86), fractions, one)
		VPCMPEQB(fractions, one, one)
		VPMAXUB(r.same(171), fractions, two)
		VPCMPEQB(fractions, two, two)
		VPADDB(two, one, one)
		VPANDN(r.same(-1), one, one)
		return one
	}
	// next returns fractions from their second digit on.
	next := func(fractions reg.VecVirtual) reg.VecVirtual {
		y := YMM()
		VPADDB(fractions, fractions, y)
		VPADDB(fractions, y, y)
		return y
	}
	long, short := loadY(r.in(0)), loadX(r.in(32)).AsY().(reg.VecVirtual)
	for i := range 5 {
		if i > 0 {
			long, short = next(long), next(short)
		}
		r.put32(32*i, digit(long), scale(d), scale(d))
		r.put(160+16*i, digit(short), scale(d))
	}
	last := YMM()
	VPBROADCASTD(r.in(48), last.AsX())
	for _, after := range []uint8{0b1110, 0b1100, 0b1000} {
		VPBLENDD(U8(after), next(last), last, last)
	}
	r.put(240, digit(last), scale(d))
}

func readTQ20(r *reader) {
	d := r.half(r.in(64))
	packed := pointer(r.in(0))
	r.times(2, 128, func() {
		bytes := loadY(Mem{Base: packed})
		for i := range 4 {
			q := shift(bytes, 2*i, r.same(3))
			VPSUBB(r.same(1), q, q)
			r.put32(32*i, q, scale(d), scale(d))
		}
		ADDQ(U8(32), packed)
	})
}
