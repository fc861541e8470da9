package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is what differs between the versions of a kernel.
type isa struct {
	suffix string
	needs  string
	vector func() reg.VecVirtual
	width  int // floats
	masks  bool
}

var (
	avx2   = isa{"AVX2", "AVX2", func() reg.VecVirtual { return YMM() }, 8, false}
	avx512 = isa{"AVX512", "AVX512F and AVX512DQ", func() reg.VecVirtual { return ZMM() }, 16, true}
)

func (v isa) load(m Op) reg.VecVirtual {
	r := v.vector()
	VMOVUPS(m, r)
	return r
}

// binary emits op for a and b, where ops have the right operand first.
func (v isa) binary(op func(...Op), a, b Op) reg.VecVirtual {
	r := v.vector()
	op(b, a, r)
	return r
}

func (v isa) add(a, b Op) reg.VecVirtual { return v.binary(VADDPS, a, b) }
func (v isa) sub(a, b Op) reg.VecVirtual { return v.binary(VSUBPS, a, b) }
func (v isa) mul(a, b Op) reg.VecVirtual { return v.binary(VMULPS, a, b) }
func (v isa) div(a, b Op) reg.VecVirtual { return v.binary(VDIVPS, a, b) }

// Predicates of compare, false for NaN.
const (
	equal   = 0x00
	less    = 0x11
	greater = 0x1e
)

// compare returns the mask of the lanes where predicate holds for a and b.
func (v isa) compare(predicate uint8, a, b Op) Op {
	if v.masks {
		k := K()
		VCMPPS(U8(predicate), b, a, k)
		return k
	}
	m := v.vector()
	VCMPPS(U8(predicate), b, a, m)
	return m
}

// choose returns yes in the lanes of mask and no in the others.
func (v isa) choose(mask, yes, no Op) reg.VecVirtual {
	r := v.vector()
	if v.masks {
		VBLENDMPS(yes, no, mask, r)
	} else {
		VBLENDVPS(mask, yes, no, r)
	}
	return r
}

// gather loads a float from each of the addresses base + 4*index.
func (v isa) gather(base, index reg.Register) reg.VecVirtual {
	r := v.vector()
	VXORPS(r, r, r)
	at := Mem{Base: base, Index: index, Scale: 4}
	if v.masks {
		k := K()
		KXNORW(k, k, k)
		VGATHERDPS(at, k, r)
	} else {
		m := v.vector()
		VPCMPEQD(m, m, m)
		VGATHERDPS(m, at, r)
	}
	return r
}

// constants fill a vector each.
type constants struct {
	lanes                             Mem // 0, 1, 2, ...
	minusZero, absolute, one          Mem
	infinity, minusInfinity           Mem
	rounder, mantissa, exponent, zero Mem
}

func newConstants() constants {
	table := GLOBL("constants", RODATA|NOPTR)
	next := 0
	add := func(bits func(lane int) uint32) Mem {
		at := table.Offset(next)
		for lane := range 16 {
			DATA(next, U32(bits(lane)))
			next += 4
		}
		return at
	}
	same := func(bits uint32) Mem { return add(func(int) uint32 { return bits }) }
	float := func(f float64) Mem { return same(math.Float32bits(float32(f))) }
	return constants{
		lanes:     add(func(lane int) uint32 { return uint32(lane) }),
		minusZero: same(1 << 31), absolute: same(1<<31 - 1), one: float(1),
		infinity: float(math.Inf(1)), minusInfinity: float(math.Inf(-1)),
		rounder: float(3 << 22), mantissa: same(1<<23 - 1), exponent: float(1 << 23), zero: float(0),
	}
}

// rounding has what nearestInt of package quant takes, with the result
// limited to [low, high].
type rounding struct {
	rounder, mantissa, exponent, low, high reg.VecVirtual
}

// newRounding takes the limits as vectors of floats.
func newRounding(v isa, c constants, low, high Op) rounding {
	r := rounding{rounder: v.load(c.rounder), mantissa: v.load(c.mantissa), exponent: v.load(c.exponent)}
	r.low, r.high = v.add(r.rounder, low), v.add(r.rounder, high)
	return r
}

// round rounds f and returns a float. The 23 bits that nearestInt keeps, with the
// exponent of the rounder put before them, are the rounder plus the result as a
// float; such floats are ordered as their bits are.
func (r rounding) round(v isa, f Op) reg.VecVirtual {
	x := v.add(f, r.rounder)
	if v.masks {
		VPTERNLOGD(U8(0xea), r.exponent, r.mantissa, x) // x&mantissa | exponent
	} else {
		VPAND(r.mantissa, x, x)
		VPOR(r.exponent, x, x)
	}
	VPMAXSD(r.low, x, x)
	VPMINSD(r.high, x, x)
	return v.sub(x, r.rounder)
}

func start(name, signature, doc string, v isa) {
	TEXT(name+v.suffix, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + v.suffix + " " + doc + " It needs " + v.needs + ".")
}

// broadcast fills a vector with a parameter.
func (v isa) broadcast(name string, offset int) reg.VecVirtual {
	r := v.vector()
	VBROADCASTSS(NewParamAddr(name, offset), r)
	return r
}
