package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is what differs between the versions of a vector loop.
type isa struct {
	suffix string
	needs  string
	vector func() reg.VecVirtual
	width  int // floats
}

var isas = []isa{
	{"AVX2", "AVX2 and FMA", func() reg.VecVirtual { return YMM() }, 8},
	{"AVX512", "AVX512F and AVX512DQ", func() reg.VecVirtual { return ZMM() }, 16},
}

// constants are the operands of exp and SiLU, each repeated to fill a vector.
type constants struct {
	low, log2E, rounder, ln2Hi, ln2Lo, one, sign Mem
	poly                                         []Mem
	absolute, lowestInt8, lowBytes               Mem
	int8Most, smallestInt8                       Mem
	integerOne, belowHalf, quietNaN              Mem // of rounding to the upper half of a float
	two                                          Mem
	softplus                                     []Mem // series of 2·artanh(s)/s, of s¹² first
	packedOrder                                  Mem   // of the doublewords, to undo what packing 32 of them to bytes does
}

func newConstants() constants {
	table := GLOBL("constants", RODATA|NOPTR)
	next := 0
	add := func(bits uint32) Mem {
		at := table.Offset(next)
		for range 16 {
			DATA(next, U32(bits))
			next += 4
		}
		return at
	}
	float := func(f float32) Mem { return add(math.Float32bits(f)) }
	c := constants{
		low: float(-88), log2E: float(math.Log2E), rounder: float(3 << 22),
		ln2Hi: float(0.693359375), ln2Lo: float(-2.12194440e-4), one: float(1), sign: add(1 << 31),
	}
	for _, f := range []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		c.poly = append(c.poly, float(f))
	}
	c.absolute, c.lowestInt8, c.lowBytes = add(1<<31-1), add(0xffffff80), add(0x00ff00ff)
	c.int8Most, c.smallestInt8 = float(127), float(0x1p-100)
	c.integerOne, c.belowHalf, c.quietNaN = add(1), add(0x7fff), add(0x400000)
	c.two = float(2)
	for _, f := range []float32{2. / 13, 2. / 11, 2. / 9, 2. / 7, 2. / 5, 2. / 3, 2} {
		c.softplus = append(c.softplus, float(f))
	}
	c.packedOrder = table.Offset(next)
	for _, i := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(next, U32(i))
		next += 4
	}
	return c
}

// exp emits kernel.exp of x, which it overwrites, and returns the result.
func (c constants) exp(x reg.VecVirtual, v isa) reg.VecVirtual {
	t, n, p := v.vector(), v.vector(), v.vector()
	low := v.vector()
	VMOVUPS(c.low, low)
	VMAXPS(x, low, x) // in this order a NaN stays
	VMOVUPS(c.rounder, t)
	VFMADD231PS(c.log2E, x, t)
	VSUBPS(c.rounder, t, n)
	VFNMADD231PS(c.ln2Hi, n, x)
	VFNMADD231PS(c.ln2Lo, n, x)
	VMOVUPS(c.poly[0], p)
	for _, coefficient := range c.poly[1:] {
		VFMADD213PS(coefficient, x, p)
	}
	VMULPS(x, x, n)
	VFMADD213PS(x, n, p)
	VADDPS(c.one, p, p)
	// The low bits of t are the exponent; those of 1.0 are the exponent's bias.
	VPSLLD(U8(23), t, t)
	VPADDD(c.one, t, t)
	VMULPS(t, p, p)
	return p
}

// loop emits a loop over n floats, a multiple of the width, that body advances by v.width
// of: pointers are moved along.
func loop(v isa, n reg.Register, body func(), pointers ...reg.Register) {
	Label("loop")
	CMPQ(n, U8(v.width))
	JLT(LabelRef("done"))
	body()
	for _, p := range pointers {
		ADDQ(U8(4*v.width), p)
	}
	SUBQ(U8(v.width), n)
	JMP(LabelRef("loop"))
	Label("done")
}

func start(name, signature, doc string, v isa) {
	TEXT(name+v.suffix, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + v.suffix + " " + doc + " It needs " + v.needs + ".")
}

func maxLanes(v isa) {
	start("maxLanes", "func(x *float32, n int, lanes *float32)",
		"raises lanes to the largest of every lane of x. n is a multiple of the lanes.", v)
	x, n, lanes := Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("lanes"), GP64())
	top := v.vector()
	VMOVUPS(Mem{Base: lanes}, top)
	loop(v, n, func() { VMAXPS(Mem{Base: x}, top, top) }, x)
	VMOVUPS(top, Mem{Base: lanes})
	VZEROUPPER()
	RET()
}

// expLanes is how many sums expSum makes, on every instruction set.
const expLanes = 16

func expSum(v isa, c constants) {
	start("expSum", "func(x *float32, n int, scale, top float32, lanes *float32)",
		"replaces x by exp(scale*(x-top)) and adds it to 16 lanes. n is a multiple of the lanes.", v)
	x, n, lanes := Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("lanes"), GP64())
	scale, top := v.vector(), v.vector()
	VBROADCASTSS(NewParamAddr("scale", 16), scale)
	VBROADCASTSS(NewParamAddr("top", 20), top)
	sums := make([]reg.VecVirtual, expLanes/v.width)
	for i := range sums {
		sums[i] = v.vector()
		VMOVUPS(Mem{Base: lanes}.Offset(4*v.width*i), sums[i])
	}
	all := v
	all.width = expLanes
	loop(all, n, func() {
		for i, sum := range sums {
			at := Mem{Base: x}.Offset(4 * v.width * i)
			e := v.vector()
			VMOVUPS(at, e)
			VSUBPS(top, e, e)
			VMULPS(scale, e, e)
			e = c.exp(e, v)
			VMOVUPS(e, at)
			VADDPS(e, sum, sum)
		}
	}, x)
	for i, sum := range sums {
		VMOVUPS(sum, Mem{Base: lanes}.Offset(4*v.width*i))
	}
	VZEROUPPER()
	RET()
}

func siluMul(v isa, c constants) {
	start("siluMul", "func(gate, up *float32, n int)",
		"replaces gate by silu(gate)*up. n is a multiple of the lanes.", v)
	gate, up, n := Load(Param("gate"), GP64()), Load(Param("up"), GP64()), Load(Param("n"), GP64())
	loop(v, n, func() {
		g, e, zero, above, below := v.vector(), v.vector(), v.vector(), v.vector(), v.vector()
		VMOVUPS(Mem{Base: gate}, g)
		VORPS(c.sign, g, e)
		e = c.exp(e, v)
		VXORPS(zero, zero, zero)
		VMAXPS(g, zero, above)
		VMINPS(g, zero, below)
		VFMADD231PS(e, below, above)
		VADDPS(c.one, e, e)
		VDIVPS(e, above, above)
		VMULPS(Mem{Base: up}, above, above)
		VMOVUPS(above, Mem{Base: gate})
	}, gate, up)
	VZEROUPPER()
	RET()
}
