// Package vector has what the generators of the kernels share: the instruction
// sets, and float operations for either of them.
package vector

import (
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ISA is what differs between the versions of a kernel.
type ISA struct {
	Width  int  // floats in a vector
	Masks  bool // comparisons give mask registers
	suffix string
	needs  string
	vector func() reg.VecVirtual
}

// The instruction sets, as the tiers of package isa have them.
var (
	AVX2   = ISA{8, false, "AVX2", "AVX2 and F16C", func() reg.VecVirtual { return YMM() }}
	AVX512 = ISA{16, true, "AVX512", "AVX512F, BW, DQ and VL", func() reg.VecVirtual { return ZMM() }}
)

// Start begins a function, the name of which gets the instruction set as suffix.
func Start(name, signature, doc string, v ISA) {
	TEXT(name+v.suffix, NOSPLIT, signature)
	Pragma("noescape")
	Doc(lines(name + v.suffix + " " + doc + " It needs " + v.needs + ".")...)
}

// lines breaks a text into lines of at most 110 characters.
func lines(text string) []string {
	var all []string
	for _, word := range strings.Fields(text) {
		if last := len(all) - 1; last >= 0 && len(all[last])+len(word) < 110 {
			all[last] += " " + word
		} else {
			all = append(all, word)
		}
	}
	return all
}

// Vector returns a new register.
func (v ISA) Vector() reg.VecVirtual { return v.vector() }

// Load loads a vector.
func (v ISA) Load(m Op) reg.VecVirtual {
	r := v.vector()
	VMOVUPS(m, r)
	return r
}

// Broadcast fills a vector with a parameter.
func (v ISA) Broadcast(name string, offset int) reg.VecVirtual {
	r := v.vector()
	VBROADCASTSS(NewParamAddr(name, offset), r)
	return r
}

// binary emits op for a and b, where ops have the right operand first.
func (v ISA) binary(op func(...Op), a, b Op) reg.VecVirtual {
	r := v.vector()
	op(b, a, r)
	return r
}

// Add returns a + b; b may be in memory, as in the other operations.
func (v ISA) Add(a, b Op) reg.VecVirtual { return v.binary(VADDPS, a, b) }

// Sub returns a - b.
func (v ISA) Sub(a, b Op) reg.VecVirtual { return v.binary(VSUBPS, a, b) }

// Mul returns a * b.
func (v ISA) Mul(a, b Op) reg.VecVirtual { return v.binary(VMULPS, a, b) }

// Div returns a / b.
func (v ISA) Div(a, b Op) reg.VecVirtual { return v.binary(VDIVPS, a, b) }

// Predicates of Compare, false for NaN.
const (
	Equal   = 0x00
	Less    = 0x11
	Greater = 0x1e
)

// Compare returns the mask of the lanes where predicate holds for a and b.
func (v ISA) Compare(predicate uint8, a, b Op) Op {
	if v.Masks {
		k := K()
		VCMPPS(U8(predicate), b, a, k)
		return k
	}
	m := v.vector()
	VCMPPS(U8(predicate), b, a, m)
	return m
}

// Choose returns yes in the lanes of mask and no in the others.
func (v ISA) Choose(mask, yes, no Op) reg.VecVirtual {
	r := v.vector()
	if v.Masks {
		VBLENDMPS(yes, no, mask, r)
	} else {
		VBLENDVPS(mask, yes, no, r)
	}
	return r
}

// Gather loads a float from each of the addresses base + 4*index.
func (v ISA) Gather(base, index reg.Register) reg.VecVirtual {
	r := v.vector()
	VXORPS(r, r, r)
	at := Mem{Base: base, Index: index, Scale: 4}
	if v.Masks {
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

// Constants fill a vector each.
type Constants struct {
	Lanes                             Mem // 0, 1, 2, ...
	MinusZero, Absolute, One          Mem
	Infinity, MinusInfinity           Mem
	Rounder, Mantissa, Exponent, Zero Mem
}

// NewConstants makes the table of constants of a file.
func NewConstants() Constants {
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
	return Constants{
		Lanes:     add(func(lane int) uint32 { return uint32(lane) }),
		MinusZero: same(1 << 31), Absolute: same(1<<31 - 1), One: float(1),
		Infinity: float(math.Inf(1)), MinusInfinity: float(math.Inf(-1)),
		Rounder: float(3 << 22), Mantissa: same(1<<23 - 1), Exponent: float(1 << 23), Zero: float(0),
	}
}

// Rounding has what nearestInt of package quant takes, with the result
// limited to [low, high].
type Rounding struct {
	rounder, mantissa, exponent, low, high reg.VecVirtual
}

// NewRounding takes the limits as vectors of floats.
func NewRounding(v ISA, c Constants, low, high Op) Rounding {
	r := Rounding{rounder: v.Load(c.Rounder), mantissa: v.Load(c.Mantissa), exponent: v.Load(c.Exponent)}
	r.low, r.high = v.Add(r.rounder, low), v.Add(r.rounder, high)
	return r
}

// Round rounds f and returns a float. The 23 bits that nearestInt keeps, with the
// exponent of the rounder put before them, are the rounder plus the result as a
// float; such floats are ordered as their bits are.
func (r Rounding) Round(v ISA, f Op) reg.VecVirtual {
	x := v.Add(f, r.rounder)
	if v.Masks {
		VPTERNLOGD(U8(0xea), r.exponent, r.mantissa, x) // x&mantissa | exponent
	} else {
		VPAND(r.mantissa, x, x)
		VPOR(r.exponent, x, x)
	}
	VPMAXSD(r.low, x, x)
	VPMINSD(r.high, x, x)
	return v.Sub(x, r.rounder)
}
