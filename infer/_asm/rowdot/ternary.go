package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ternarySum is the products of values and integers that are greater by one, in two sums since
// each addition waits for the one before.
type ternarySum struct {
	isa
	x    reg.Register
	sums [2]reg.VecVirtual // of doublewords with VNNI, of words without
}

// add adds those of 32, number s.
func (t ternarySum) add(s int, q reg.VecVirtual) {
	values, sum := Mem{Base: t.x, Disp: 32 * s}, t.sums[s%2]
	if t.vnni {
		VPDPBUSD(values, q, sum)
		return
	}
	VPADDW(maddubs(values, q), sum, sum) // at most 2*3*127 each
}

// products takes one each off the integers.
func (t ternarySum) products() reg.VecVirtual {
	one, offset, sum := load(t.sameWords(1)), YMM(), t.sums[0]
	if t.vnni {
		VPADDD(t.sums[1], sum, sum)
	} else {
		VPADDW(t.sums[1], sum, sum)
		VPMADDWD(one, sum, sum)
	}
	VPMADDWD(Mem{Base: t.x, Disp: sumsAt}, one, offset)
	VPSUBD(offset, sum, sum)
	return sum
}

func (v isa) dotTQ20(w, x reg.Register, sum reg.VecVirtual) {
	t := ternarySum{v, x, [2]reg.VecVirtual{zero(), zero()}}
	for h := range 2 {
		packed := load(Mem{Base: w, Disp: 32 * h})
		for i := range 4 {
			t.add(4*h+i, shift(packed, 2*i, v.same(3)))
		}
	}
	v.addFactor(Mem{Base: w, Disp: 64}, 1, x, t.products(), sum)
}

// dotTQ10 reads digits as package quant does: bytes are fractions, and times three modulo one
// leads to the next digit.
func (v isa) dotTQ10(w, x reg.Register, sum reg.VecVirtual) {
	t := ternarySum{v, x, [2]reg.VecVirtual{zero(), zero()}}
	third, twoThirds := load(v.same(86)), load(v.same(171))
	digit := func(s int, fractions reg.VecVirtual) {
		one, two, q := YMM(), YMM(), zero()
		VPMAXUB(third, fractions, one)
		VPCMPEQB(fractions, one, one)
		VPMAXUB(twoThirds, fractions, two)
		VPCMPEQB(fractions, two, two)
		VPSUBB(one, q, q)
		VPSUBB(two, q, q)
		t.add(s, q)
	}
	next := func(fractions reg.VecVirtual) {
		twice := YMM()
		VPADDB(fractions, fractions, twice)
		VPADDB(twice, fractions, fractions)
	}
	// 32 bytes of five digits.
	long := load(Mem{Base: w})
	digit(0, long)
	for s := range 4 {
		next(long)
		digit(s+1, long)
	}
	// 16 bytes of five digits, two at a time. With the last of them come four digits of four bytes.
	short, odd := YMM(), YMM()
	VBROADCASTI128(Mem{Base: w, Disp: 32}, short)
	VMOVDQA(short, odd)
	next(odd)
	VPBLENDD(U8(0xf0), odd, short, short)
	digit(5, short)
	next(short)
	next(short)
	digit(6, short)
	next(short)
	next(short)
	last := YMM()
	VPBROADCASTD(Mem{Base: w, Disp: 48}, last)
	for _, after := range []uint8{0xe0, 0xc0, 0x80} {
		more := YMM()
		VMOVDQA(last, more)
		next(more)
		VPBLENDD(U8(after), more, last, last)
	}
	VPBLENDD(U8(0xf0), last, short, short)
	digit(7, short)
	v.addFactor(Mem{Base: w, Disp: 52}, 1, x, t.products(), sum)
}
