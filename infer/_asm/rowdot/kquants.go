package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (v isa) dotQ4K(w, x reg.Register, sum reg.VecVirtual) {
	scales, minima := v.eightScales(w, x)
	mask, products := load(v.same(15)), zero()
	for j := range 4 {
		packed := load(Mem{Base: w, Disp: 16 + 32*j})
		for i := range 2 {
			v.addEighth(2*j+i, shift(packed, 4*i, mask), scales, products, x)
		}
	}
	addAffine(Mem{Base: w}, x, products, minima, sum)
}

func (v isa) dotQ5K(w, x reg.Register, sum reg.VecVirtual) {
	scales, minima := v.eightScales(w, x)
	low4, bit4, high, products := load(v.same(15)), load(v.same(16)), load(Mem{Base: w, Disp: 16}), zero()
	for j := range 4 {
		packed := load(Mem{Base: w, Disp: 48 + 32*j})
		for i := range 2 {
			s, q := 2*j+i, shift(packed, 4*i, low4)
			VPOR(shift(high, s-4, bit4), q, q)
			v.addEighth(s, q, scales, products, x)
		}
	}
	addAffine(Mem{Base: w}, x, products, minima, sum)
}

// addEighth adds to products those of 32 integers q and values with scale number s, a byte.
func (v isa) addEighth(s int, q, scales, products reg.VecVirtual, x reg.Register) {
	scale := YMM()
	VPSHUFB(v.pickBytes(func(int) int { return s }), scales, scale)
	v.addProducts(maddubs(Mem{Base: x, Disp: 32 * s}, q), scale, products)
}

// eightScales returns the scales of a block of Q4_K or Q5_K, bytes in each quarter,
// and eight integers that make the sum of the products of minima and values.
func (v isa) eightScales(w, x reg.Register) (scales, minima reg.VecVirtual) {
	// Six bits each of eight scales and minima: see scaleMin of package quant.
	var packed [3]reg.GPVirtual
	for i := range packed {
		packed[i] = GP32()
		MOVL(Mem{Base: w, Disp: 4 + 4*i}, packed[i])
	}
	masked := func(r reg.GPVirtual, shift uint8, mask uint32) reg.GPVirtual {
		t := GP32()
		MOVL(r, t)
		if shift > 0 {
			SHRL(U8(shift), t)
		}
		ANDL(U32(mask), t)
		return t
	}
	eight := func(first reg.GPVirtual, shift uint8) reg.VecVirtual {
		high, top, low := masked(packed[2], shift, 0x0f0f0f0f), masked(first, 6, 0x03030303), masked(first, 0, 0x3f3f3f3f)
		SHLL(U8(4), top)
		ORL(top, high)
		both := high.As64()
		SHLQ(U8(32), both)
		ORQ(low.As64(), both)
		r := YMM()
		VMOVQ(both, r.AsX())
		return r
	}
	scales, minima = eight(packed[0], 0), eight(packed[1], 4)
	VPBROADCASTQ(scales.AsX(), scales)
	VPUNPCKLBW(minima.AsX(), minima.AsX(), minima.AsX())
	VPMOVZXBW(minima.AsX(), minima)
	VPMADDWD(Mem{Base: x, Disp: sumsAt}, minima, minima)
	return scales, minima
}

// addAffine adds to sum products and takes off minima, each times its factor of the
// two halves at factors and the scale of x.
func addAffine(factors Mem, x reg.Register, products, minima, sum reg.VecVirtual) {
	VCVTDQ2PS(products, products)
	VCVTDQ2PS(minima, minima)
	d, dmin, scale := YMM(), YMM(), XMM()
	VMOVD(factors, d.AsX())
	VCVTPH2PS(d.AsX(), d.AsX())
	VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
	VMULPS(scale, d.AsX(), d.AsX())
	VMOVSHDUP(d.AsX(), dmin.AsX())
	VBROADCASTSS(d.AsX(), d)
	VBROADCASTSS(dmin.AsX(), dmin)
	VFMADD231PS(products, d, sum)
	VFNMADD231PS(minima, dmin, sum)
}

// dotQ6K multiplies with integers from 0, and takes off 32 times the sums of the
// values.
func (v isa) dotQ6K(w, x reg.Register, sum reg.VecVirtual) {
	scales, offset := XMM(), YMM()
	VMOVDQU(Mem{Base: w, Disp: 192}, scales)
	VPMOVSXBW(scales, offset)
	VPMADDWD(Mem{Base: x, Disp: sumsAt}, offset, offset)
	VPSLLD(U8(5), offset, offset)
	words := v.sixteenScales(scales)

	low4, high2, products := load(v.same(15)), load(v.same(0x30)), zero()
	for h := range 2 {
		a, b, high := load(Mem{Base: w, Disp: 64 * h}), load(Mem{Base: w, Disp: 64*h + 32}), load(Mem{Base: w, Disp: 128 + 32*h})
		for i, low := range []reg.VecVirtual{a, b, a, b} {
			q := shift(low, i/2*4, low4)
			VPOR(shift(high, 2*i-4, high2), q, q)
			s := 4*h + i
			v.addSixteens(s, q, words, Mem{Base: x, Disp: 32 * s}, products)
		}
	}
	VPSUBD(offset, products, products)
	v.addFactor(Mem{Base: w, Disp: 208}, 1, x, products, sum)
}

// sixteenScales returns words of bytes, the even ones in the lower half and the odd
// ones in the upper.
func (v isa) sixteenScales(bytes reg.VecVirtual) reg.VecVirtual {
	words := YMM()
	VPSHUFB(v.bytes(func(i int) int { return i%8*2 + i%16/8 }), bytes, bytes)
	VPMOVSXBW(bytes, words)
	return words
}

// addSixteens adds to products those of 32 integers q and values, each half with its
// scale of those that sixteenScales returned.
func (v isa) addSixteens(s int, q, scales reg.VecVirtual, values Op, products reg.VecVirtual) {
	scale := YMM()
	VPSHUFB(v.pick(func(int) int { return s }), scales, scale)
	v.addProducts(maddubs(values, q), scale, products)
}

// dotQ3K multiplies with integers from 0, and takes off four times the sums of the
// values.
func (v isa) dotQ3K(w, x reg.Register, sum reg.VecVirtual) {
	// Four bits each of sixteen scales, and then their top two.
	packed, top := XMM(), XMM()
	VMOVQ(Mem{Base: w, Disp: 96}, packed)
	VPSRLW(U8(4), packed, top)
	VPUNPCKLQDQ(top, packed, packed)
	VPAND(v.same(15), packed, packed)
	VPBROADCASTD(Mem{Base: w, Disp: 104}, top)
	VPSRLVD(v.doublewords(func(i int) int { return 2 * i }), top, top)
	VPSLLW(U8(4), top, top)
	VPAND(v.same(0x30), top, top)
	VPOR(top, packed, packed)
	VPSUBB(v.same(32), packed, packed)
	offset := YMM()
	VPMOVSXBW(packed, offset)
	VPMADDWD(Mem{Base: x, Disp: sumsAt}, offset, offset)
	VPSLLD(U8(2), offset, offset)
	scales := v.sixteenScales(packed)

	low2, bit2, high, products := load(v.same(3)), load(v.same(4)), load(Mem{Base: w}), zero()
	for h := range 2 {
		packed := load(Mem{Base: w, Disp: 32 + 32*h})
		for i := range 4 {
			s, q := 4*h+i, shift(packed, 2*i, low2)
			VPOR(shift(high, s-2, bit2), q, q)
			v.addSixteens(s, q, scales, Mem{Base: x, Disp: 32 * s}, products)
		}
	}
	VPSUBD(offset, products, products)
	v.addFactor(Mem{Base: w, Disp: 108}, 1, x, products, sum)
}

func (v isa) dotQ2K(w, x reg.Register, sum reg.VecVirtual) {
	low, high, minima := XMM(), XMM(), YMM()
	VMOVDQU(Mem{Base: w}, low)
	VPSRLW(U8(4), low, high)
	VPAND(v.same(15), low, low)
	VPAND(v.same(15), high, high)
	scales := v.sixteenScales(low)
	VPMOVSXBW(high, minima)
	VPMADDWD(Mem{Base: x, Disp: sumsAt}, minima, minima)

	low2, products := load(v.same(3)), zero()
	for h := range 2 {
		packed := load(Mem{Base: w, Disp: 16 + 32*h})
		for i := range 4 {
			s := 4*h + i
			v.addSixteens(s, shift(packed, 2*i, low2), scales, Mem{Base: x, Disp: 32 * s}, products)
		}
	}
	addAffine(Mem{Base: w, Disp: 80}, x, products, minima, sum)
}

// dotIQ4XS multiplies the products of magnitudes with the blocks' scales.
func (v isa) dotIQ4XS(w, x reg.Register, sum reg.VecVirtual) {
	// Scales have six bits, offset by 32: the upper two of all eight are a
	// word, the lower four are nibbles.
	scales, low, high := YMM(), GP32(), GP32()
	MOVL(Mem{Base: w, Disp: 4}, low)
	MOVL(low, high)
	ANDL(U32(0x0f0f0f0f), low)
	SHRL(U8(4), high)
	ANDL(U32(0x0f0f0f0f), high)
	nibbles, odd := XMM(), XMM()
	VMOVD(low, nibbles)
	VMOVD(high, odd)
	VPUNPCKLBW(odd, nibbles, nibbles)
	VPMOVZXBW(nibbles, nibbles)
	VPBROADCASTW(Mem{Base: w, Disp: 2}, scales.AsX())
	VPMULLW(v.words(func(i int) int { return 1 << (14 - i%8*2) }), scales.AsX(), scales.AsX())
	VPSRLW(U8(14), scales.AsX(), scales.AsX())
	VPSLLW(U8(4), scales.AsX(), scales.AsX())
	VPOR(nibbles, scales.AsX(), scales.AsX())
	VPSUBW(v.sameWords(32), scales.AsX(), scales.AsX())
	VINSERTI128(U8(1), scales.AsX(), scales, scales)

	products := zero()
	for s := range 8 {
		q, values := v.lookup(iq4Level, v.nibbles(Mem{Base: w, Disp: 8 + 16*s})), load(Mem{Base: x, Disp: 32 * s})
		VPSIGNB(q, values, values)
		VPABSB(q, q)
		v.addSixteens(s, q, scales, values, products)
	}
	v.addFactor(Mem{Base: w}, 1, x, products, sum)
}
