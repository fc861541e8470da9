package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The types of one scale, or few, for 32 to 128 elements.

func readQ40(r *reader) {
	d := r.half(r.in(0))
	q := r.nibbles(r.in(2))
	VPSUBB(r.same(8), q, q)
	r.put32(0, q, scale(d), scale(d))
}

func readQ41(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c007c00)
	r.putWithMinimum(r.nibbles(r.in(4)))
}

// putWithMinimum stores a block that starts with d and m.
func (r *reader) putWithMinimum(q reg.VecVirtual) {
	d, m := r.half(r.in(0)), r.half(r.in(2))
	then := func(x reg.VecVirtual) {
		VMULPS(d, x, x)
		VADDPS(m, x, x)
	}
	r.put32(0, q, then, then)
}

func readQ50(r *reader) {
	d := r.half(r.in(0))
	// Where bit 4 is not set, 16 less is all bits from 4 on.
	high := r.bits(r.in(2))
	VPANDN(r.same(0xf0), high, high)
	VPOR(r.nibbles(r.in(6)), high, high)
	r.put32(0, high, scale(d), scale(d))
}

func readQ51(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c007c00)
	high := r.bits(r.in(4))
	VPAND(r.same(16), high, high)
	VPOR(r.nibbles(r.in(8)), high, high)
	r.putWithMinimum(high)
}

func readQ80(r *reader) {
	d := r.half(r.in(0))
	r.put(0, r.in(2), scale(d))
	r.put(16, r.in(18), scale(d))
}

// iq4Levels and fp4Levels are those of package quant.
var (
	iq4Levels = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	fp4Levels = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

func readIQ4NL(r *reader) {
	d := r.half(r.in(0))
	r.put32(0, r.lookup(iq4Levels, r.nibbles(r.in(2))), scale(d), scale(d))
}

func readMXFP4(r *reader) {
	e, subnormal := GP32(), GP32()
	MOVBLZX(r.in(0), e)
	LEAL(Mem{Base: e, Disp: 1}, subnormal)
	SHLL(U8(21), subnormal)
	DECL(e)
	SHLL(U8(23), e)
	CMPL(subnormal, U32(3<<21))
	CMOVLCS(subnormal, e)
	d := r.Vector()
	VMOVD(e, d.AsX())
	VBROADCASTSS(d.AsX(), d)
	r.put32(0, r.lookup(fp4Levels, r.nibbles(r.in(1))), scale(d), scale(d))
}

func readNVFP4(r *reader) {
	// A number is 2^(exponent-8) * (1 + mantissa/8), halved here, which has the bits
	// of a float 20 places lower; but mantissa/1024 without exponent, and 0 for 0x7f.
	b, normal, subnormal, zero := XMM(), XMM(), XMM(), XMM()
	VPMOVZXBD(r.in(0), b)
	VPAND(r.words(func(int) uint32 { return 0x7f }), b, normal)
	VPAND(r.words(func(int) uint32 { return 7 }), b, subnormal)
	VPCMPEQD(r.words(func(int) uint32 { return 0x7f }), b, zero)
	least := XMM()
	VPCMPEQD(subnormal, normal, least)
	VPADDD(r.words(func(int) uint32 { return (127 - 8) << 3 }), normal, normal)
	VPSLLD(U8(20), normal, normal)
	VCVTDQ2PS(subnormal, subnormal)
	VMULPS(r.float(1.0/1024), subnormal, subnormal)
	VBLENDVPS(least, subnormal, normal, normal)
	VPANDN(normal, zero, normal)
	scales := AllocLocal(16)
	VMOVUPS(normal, scales)
	for pair := range 2 {
		q := r.nibbles(r.in(4 + 16*pair))
		VPERMQ(U8(0b11_01_10_00), q, q)
		d0, d1 := r.fill(scales.Offset(8*pair)), r.fill(scales.Offset(8*pair+4))
		r.put32(32*pair, r.lookup(fp4Levels, q), scale(d0), scale(d1))
	}
}

func readQ10(r *reader) {
	r.leaveSpecial(r.in(0), 0x7c00)
	d := r.half(r.in(0))
	for i := range 4 {
		q := r.bits(r.in(2 + 4*i))
		// All bits and none become 1 and -1.
		VPANDN(r.same(-2), q, q)
		VPOR(r.same(1), q, q)
		r.put32(32*i, q, scale(d), scale(d))
	}
}

func readQ20(r *reader) {
	d := r.half(r.in(0))
	// Dwords 0 and 2 in the low half, 1 and 3 in the high half.
	packed := YMM()
	VBROADCASTI128(r.in(2), packed)
	VPSHUFB(r.bytes(func(i int) int { return i%4 + i/4%2*8 + i/16*4 }), packed, packed)
	var q [4]reg.VecVirtual
	for i := range q {
		q[i] = shift(packed, 2*i, r.same(3))
		VPSUBB(r.same(1), q[i], q[i])
	}
	VPUNPCKLBW(q[1], q[0], q[0])
	VPUNPCKLBW(q[3], q[2], q[2])
	low, high := YMM(), YMM()
	VPUNPCKLWD(q[2], q[0], low)
	VPUNPCKHWD(q[2], q[0], high)
	r.put32(0, low, scale(d), scale(d))
	r.put32(32, high, scale(d), scale(d))
}
