package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blocks is a type of blocks of 32 weights, which are integers times a scale, plus a
// minimum if there is one.
type blocks struct {
	name    string
	bytes   int
	d       func(block Mem) reg.VecVirtual // the scale
	minimum bool                           // is behind the scale, a half, too; then no integer is negative
	at      int                            // of the integers
	unpack  func(m Mem) reg.VecVirtual
}

// iq4Levels and fp4Levels are those of package quant.
var (
	iq4Levels = [16]int{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	fp4Levels = [16]int{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

func (v isa) blockTypes() []blocks {
	levels := func(table func(i int) int) func(m Mem) reg.VecVirtual {
		return func(m Mem) reg.VecVirtual { return v.lookup(table, v.nibbles(m)) }
	}
	return []blocks{
		{name: "Q4_0", bytes: 18, d: half, at: 2, unpack: levels(func(i int) int { return i - 8 })},
		{name: "Q4_1", bytes: 20, d: half, minimum: true, at: 4, unpack: v.nibbles},
		{name: "Q5_0", bytes: 22, d: half, at: 2, unpack: func(m Mem) reg.VecVirtual {
			q := v.fives(m)
			VPSUBB(v.same(16), q, q)
			return q
		}},
		{name: "Q5_1", bytes: 24, d: half, minimum: true, at: 4, unpack: v.fives},
		{name: "Q8_0", bytes: 34, d: half, at: 2, unpack: func(m Mem) reg.VecVirtual { return load(m) }},
		{name: "IQ4_NL", bytes: 18, d: half, at: 2, unpack: levels(iq4Level)},
		{name: "MXFP4", bytes: 17, d: v.halfPower, at: 1, unpack: levels(func(i int) int { return fp4Levels[i] })},
	}
}

func iq4Level(i int) int { return iq4Levels[i] }

// nibbles returns the low nibbles of 16 bytes and then the high ones.
func (v isa) nibbles(m Mem) reg.VecVirtual {
	q := YMM()
	VBROADCASTI128(m, q)
	VPSRLVQ(v.bytes(func(i int) int { return i / 16 * (1 - min(1, i%8)) * 4 }), q, q)
	VPAND(v.same(15), q, q)
	return q
}

// fives returns integers whose fifth bits are before their nibbles.
func (v isa) fives(m Mem) reg.VecVirtual {
	q := v.nibbles(m.Offset(4))
	if v.vnni {
		set := K()
		KMOVD(m, set)
		VPADDB(v.same(16), q, set, q)
		return q
	}
	high := v.bits(m)
	VPAND(v.same(16), high, high)
	VPOR(high, q, q)
	return q
}

// bits returns bytes all bits of which are one of the 32 at m.
func (v isa) bits(m Mem) reg.VecVirtual {
	set, bit := YMM(), v.register(v.bytes(func(i int) int { return 1 << (i % 8) }))
	VPBROADCASTD(m, set)
	VPSHUFB(v.bytes(func(i int) int { return i / 8 }), set, set)
	VPAND(bit, set, set)
	VPCMPEQB(bit, set, set)
	return set
}

// lookup returns what levels from 0 to 15 are worth.
func (v isa) lookup(values func(i int) int, levels reg.VecVirtual) reg.VecVirtual {
	q := YMM()
	VPSHUFB(levels, v.register(v.bytes(func(i int) int { return values(i % 16) })), q)
	return q
}

// half returns the half at m in each lane.
func half(m Mem) reg.VecVirtual {
	d := YMM()
	VCVTPH2PS(m, d.AsX()) // with what is behind it
	VBROADCASTSS(d.AsX(), d)
	return d
}

// halfPower returns what the exponent of MXFP4 at m says in each lane.
func (v isa) halfPower(m Mem) reg.VecVirtual {
	e, table, d := GP32(), GP64(), YMM()
	MOVBLZX(m, e)
	LEAQ(v.halfPowers, table)
	VBROADCASTSS(Mem{Base: table, Index: e.As64(), Scale: 4}, d)
	return d
}

// halves returns eight halves, which are so many bytes apart.
func halves(m Mem, apart int) reg.VecVirtual {
	packed, floats := XMM(), YMM()
	VPXOR(packed, packed, packed)
	for i := range 8 {
		VPINSRW(U8(uint8(i)), m.Offset(apart*i), packed, packed)
	}
	VCVTPH2PS(packed, floats)
	return floats
}

// dotBlocks adds blocks in turn to four sums, as each addition waits for the one before.
func (v isa) dotBlocks(t blocks, w, x reg.Register, sum reg.VecVirtual) {
	var sums [4]reg.VecVirtual
	for i := range sums {
		sums[i] = zero()
	}
	if t.minimum {
		values := YMM()
		VPMADDWD(Mem{Base: x, Disp: sumsAt}, load(v.sameWords(1)), values)
		VCVTDQ2PS(values, values)
		VMULPS(values, halves(Mem{Base: w, Disp: 2}, t.bytes), sums[0])
	}
	for b := range 8 {
		block, products := Mem{Base: w, Disp: t.bytes * b}, zero()
		q := t.unpack(block.Offset(t.at))
		var values Op = Mem{Base: x, Disp: 32 * b}
		if !t.minimum { // magnitudes, and values that have their signs
			signed := load(values)
			VPSIGNB(q, signed, signed)
			VPABSB(q, q)
			values = signed
		}
		if v.vnni {
			VPDPBUSD(values, q, products)
		} else {
			VPMADDWD(v.sameWords(1), maddubs(values, q), products)
		}
		VCVTDQ2PS(products, products)
		VFMADD231PS(products, t.d(block), sums[b%len(sums)])
	}
	VADDPS(sums[1], sums[0], sums[0])
	VADDPS(sums[3], sums[2], sums[2])
	VADDPS(sums[2], sums[0], sums[0])
	scale := YMM()
	VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
	VFMADD231PS(sums[0], scale, sum)
}

// maddubs returns the sums of two products each of signed bytes and those of q.
func maddubs(signed Op, q reg.VecVirtual) reg.VecVirtual {
	r := YMM()
	VPMADDUBSW(signed, q, r)
	return r
}
