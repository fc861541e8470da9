package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// twoBitConstants are those of Q2_K and Q3_K.
type twoBitConstants struct {
	low2, bit2, high2, center Mem    // bytes 3, 4, 0x30 and 32
	shifts                    Mem    // doublewords 0, 2, 4 and 6
	even                      Mem    // shuffles the even bytes before the odd ones
	word                      [8]Mem // shuffles word i into all
}

func newTwoBitConstants() (k twoBitConstants) {
	add := table("rowdotTwoBits")
	k.low2 = add(32, func(int) uint8 { return 3 })
	k.bit2 = add(32, func(int) uint8 { return 4 })
	k.high2 = add(16, func(int) uint8 { return 0x30 })
	k.center = add(16, func(int) uint8 { return 32 })
	k.shifts = add(16, func(i int) uint8 {
		if i%4 > 0 {
			return 0
		}
		return uint8(i / 2)
	})
	k.even = add(16, func(i int) uint8 { return uint8(2*(i%8) + i/8) })
	for s := range k.word {
		k.word[s] = add(32, func(i int) uint8 { return uint8(2*s + i%2) })
	}
	return k
}

// bitAt returns a vector with bit from of each byte of bits as bit to, the others 0.
func bitAt(bits, mask reg.VecVirtual, from, to int) reg.VecVirtual {
	r := YMM()
	switch {
	case from < to:
		VPSLLW(U8(uint8(to-from)), bits, r)
		VPAND(mask, r, r)
	case from > to:
		VPSRLW(U8(uint8(from-to)), bits, r)
		VPAND(mask, r, r)
	default:
		VPAND(mask, bits, r)
	}
	return r
}

func dotQ5K(v isa, c constants) {
	kernel("dotQ5K", "is DotRows for Q5_K.", v, 1, 176, func(w, x reg.Register, sum reg.VecVirtual) {
		scales, minima := eightScales(w, x)
		low4, bit4, high, products := load(c.low4), YMM(), load(Mem{Base: w, Disp: 16}), zero()
		VPADDB(low4, low4, bit4)
		VPANDN(bit4, low4, bit4) // 30 without 15
		for j := range 4 {
			first, second := load(Mem{Base: w, Disp: 48 + 32*j}), YMM()
			VPSRLW(U8(4), first, second)
			VPAND(low4, first, first)
			VPAND(low4, second, second)
			for i, q := range []reg.VecVirtual{first, second} {
				s, scale := 2*j+i, YMM()
				VPOR(bitAt(high, bit4, s, 4), q, q)
				VPMADDUBSW(Mem{Base: x, Disp: 32 * s}, q, q)
				VPSHUFB(c.word[s], scales, scale)
				v.addProducts(q, scale, products)
			}
		}
		addScaled(Mem{Base: w}, x, products, minima, sum)
	})
}

// sixteenScales returns words of bytes, the even ones in the lower half and the odd
// ones in the upper.
func sixteenScales(k twoBitConstants, bytes reg.VecVirtual) reg.VecVirtual {
	words := YMM()
	VPSHUFB(k.even, bytes, bytes)
	VPMOVSXBW(bytes, words)
	return words
}

// addSixteens adds to products those of 32 integers q and values, each half with its
// scale.
func (v isa) addSixteens(k twoBitConstants, s int, q, scales, products reg.VecVirtual, x reg.Register) {
	scale := YMM()
	VPMADDUBSW(Mem{Base: x, Disp: 32 * s}, q, q)
	VPSHUFB(k.word[s], scales, scale)
	v.addProducts(q, scale, products)
}

// twoBits returns the integers number i of each byte.
func twoBits(packed, low2 reg.VecVirtual, i int) reg.VecVirtual {
	q := YMM()
	if i == 0 {
		VPAND(low2, packed, q)
		return q
	}
	VPSRLW(U8(uint8(2*i)), packed, q)
	VPAND(low2, q, q)
	return q
}

// dotQ3K multiplies with integers from 0, and takes off four times the sums of the
// values.
func dotQ3K(v isa, c constants, k twoBitConstants) {
	kernel("dotQ3K", "is DotRows for Q3_K.", v, 1, 110, func(w, x reg.Register, sum reg.VecVirtual) {
		// Four bits each of sixteen scales, and then their top two.
		packed, top := XMM(), XMM()
		VMOVQ(Mem{Base: w, Disp: 96}, packed)
		VPSRLW(U8(4), packed, top)
		VPUNPCKLQDQ(top, packed, packed)
		VPAND(c.low4, packed, packed)
		VPBROADCASTD(Mem{Base: w, Disp: 104}, top)
		VPSRLVD(k.shifts, top, top)
		VPSLLW(U8(4), top, top)
		VPAND(k.high2, top, top)
		VPOR(top, packed, packed)
		VPSUBB(k.center, packed, packed)
		offset := YMM()
		VPMOVSXBW(packed, offset)
		VPMADDWD(Mem{Base: x, Disp: sumsAt}, offset, offset)
		VPSLLD(U8(2), offset, offset)
		scales := sixteenScales(k, packed)

		low2, bit2, high, products := load(k.low2), load(k.bit2), load(Mem{Base: w}), zero()
		for h := range 2 {
			packed := load(Mem{Base: w, Disp: 32 + 32*h})
			for i := range 4 {
				s, q := 4*h+i, twoBits(packed, low2, i)
				VPOR(bitAt(high, bit2, s, 2), q, q)
				v.addSixteens(k, s, q, scales, products, x)
			}
		}
		VPSUBD(offset, products, products)
		VCVTDQ2PS(products, products)
		d, scale := YMM(), YMM()
		VPBROADCASTW(Mem{Base: w, Disp: 108}, d.AsX())
		VCVTPH2PS(d.AsX(), d)
		VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
		VMULPS(scale, d, d)
		VFMADD231PS(products, d, sum)
	})
}

func dotQ2K(v isa, c constants, k twoBitConstants) {
	kernel("dotQ2K", "is DotRows for Q2_K.", v, 1, 84, func(w, x reg.Register, sum reg.VecVirtual) {
		low, high, minima := XMM(), XMM(), YMM()
		VMOVDQU(Mem{Base: w}, low)
		VPSRLW(U8(4), low, high)
		VPAND(c.low4, low, low)
		VPAND(c.low4, high, high)
		scales := sixteenScales(k, low)
		VPMOVSXBW(high, minima)
		VPMADDWD(Mem{Base: x, Disp: sumsAt}, minima, minima)

		low2, products := load(k.low2), zero()
		for h := range 2 {
			packed := load(Mem{Base: w, Disp: 16 + 32*h})
			for i := range 4 {
				v.addSixteens(k, 4*h+i, twoBits(packed, low2, i), scales, products, x)
			}
		}
		addScaled(Mem{Base: w, Disp: 80}, x, products, minima, sum)
	})
}
