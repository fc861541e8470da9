package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ahead is how many bytes before their use rows are asked for, by the second-level cache: it waits for more of them at
// once than the first.
const ahead = 4096

// element is a type of floats that rows have.
type element struct {
	name  string
	bytes int
	load  func(w Mem, x reg.VecVirtual)
}

var elements = []element{
	{"F32", 4, func(w Mem, x reg.VecVirtual) { VMOVUPS(w, x) }},
	{"F16", 2, func(w Mem, x reg.VecVirtual) { VCVTPH2PS(w, x) }},
	{"BF16", 2, func(w Mem, x reg.VecVirtual) {
		VPMOVZXWD(w, x)
		VPSLLD(U8(16), x, x)
	}},
}

// part is how many floats what is left of a row behind its whole steps is a multiple of.
const part = 16

// dotRows is dot for rows of weights, one after another, and adds the lanes in
// the order of kernel.Dot.
func dotRows(v isa, e element) {
	name := "dotRows" + e.name + v.suffix
	TEXT(name, NOSPLIT, "func(dst *float32, rows int, w *byte, x *float32, n int)")
	Pragma("noescape")
	Doc(name + " is DotFloatRows for " + e.name + " and rows of n elements, a multiple of 16. It needs " + v.needs + ".")
	dst, rows := Load(Param("dst"), GP64()), Load(Param("rows"), GP64())
	w, x, n := Load(Param("w"), GP64()), GP64(), GP64()
	Label("row")
	Load(Param("x"), x)
	Load(Param("n"), n)
	sums := make([]reg.VecVirtual, unroll/v.width)
	for i := range sums {
		sums[i] = v.vector()
		VXORPS(sums[i], sums[i], sums[i])
	}
	weights := v.vector()
	Label("step")
	CMPQ(n, U8(unroll))
	JLT(LabelRef("rest"))
	for at := 0; at < e.bytes*unroll; at += 64 {
		PREFETCHT1(Mem{Base: w, Disp: ahead + at})
	}
	for i, sum := range sums {
		e.load(Mem{Base: w, Disp: e.bytes * i * v.width}, weights)
		VFMADD231PS(Mem{Base: x, Disp: 4 * i * v.width}, weights, sum)
	}
	ADDQ(U32(uint32(e.bytes*unroll)), w)
	ADDQ(U32(4*unroll), x)
	SUBQ(U8(unroll), n)
	JMP(LabelRef("step"))

	Label("rest")
	for at := 0; at < unroll-part; at += part {
		TESTQ(n, n)
		JZ(LabelRef("lanes"))
		for i := 0; i < part; i += v.width {
			e.load(Mem{Base: w, Disp: e.bytes * i}, weights)
			VMULPS(Mem{Base: x, Disp: 4 * i}, weights, weights)
			sum := sums[(at+i)/v.width]
			VADDPS(weights, sum, sum)
		}
		ADDQ(U8(uint8(e.bytes*part)), w)
		ADDQ(U8(4*part), x)
		SUBQ(U8(part), n)
	}

	Label("lanes")
	for half := len(sums) / 2; half > 0; half /= 2 {
		for i := range half {
			VADDPS(sums[i+half], sums[i], sums[i])
		}
	}
	sum, high := sums[0], YMM()
	if v.width == 16 {
		VEXTRACTF64X4(U8(1), sum, high)
		VADDPS(high, sum.AsY(), sum.AsY())
	}
	VEXTRACTF128(U8(1), sum.AsY(), high.AsX())
	VADDPS(high.AsX(), sum.AsX(), sum.AsX())
	VMOVHLPS(sum.AsX(), sum.AsX(), high.AsX())
	VADDPS(high.AsX(), sum.AsX(), sum.AsX())
	VMOVSHDUP(sum.AsX(), high.AsX())
	VADDSS(high.AsX(), sum.AsX(), sum.AsX())
	VMOVSS(sum.AsX(), Mem{Base: dst})
	ADDQ(U8(4), dst)
	SUBQ(U8(1), rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// addRows is addScaled for rows of weights, each times its factor. Some columns stay in registers for all rows.
func addRows(v isa, e element) {
	name := "addRows" + e.name + v.suffix
	TEXT(name, NOSPLIT, "func(dst *float32, n int, w *byte, rows, stride int, factors *float32)")
	Pragma("noescape")
	Doc(name + " is AddFloatRows for " + e.name + " and n elements, a multiple of 16, of rows that are stride bytes apart. It needs " + v.needs + ".")
	dst, n := Load(Param("dst"), GP64()), Load(Param("n"), GP64())
	w, stride := Load(Param("w"), GP64()), Load(Param("stride"), GP64())
	row, rows, factors := GP64(), GP64(), GP64()
	columns := func(name string, count int, add func(weights, factor, sum reg.VecVirtual)) {
		Label(name)
		CMPQ(n, U8(uint8(count)))
		JLT(LabelRef(name + "Done"))
		sums := make([]reg.VecVirtual, count/v.width)
		for i := range sums {
			sums[i] = v.vector()
			VMOVUPS(Mem{Base: dst, Disp: 4 * i * v.width}, sums[i])
		}
		MOVQ(w, row)
		Load(Param("rows"), rows)
		Load(Param("factors"), factors)
		Label(name + "Row")
		factor, weights := v.vector(), v.vector()
		VBROADCASTSS(Mem{Base: factors}, factor)
		for i, sum := range sums {
			e.load(Mem{Base: row, Disp: e.bytes * i * v.width}, weights)
			add(weights, factor, sum)
		}
		ADDQ(stride, row)
		ADDQ(U8(4), factors)
		SUBQ(U8(1), rows)
		JNZ(LabelRef(name + "Row"))
		for i, sum := range sums {
			VMOVUPS(sum, Mem{Base: dst, Disp: 4 * i * v.width})
		}
		ADDQ(U32(uint32(4*count)), dst)
		ADDQ(U32(uint32(e.bytes*count)), w)
		SUBQ(U8(uint8(count)), n)
		JMP(LabelRef(name))
		Label(name + "Done")
	}
	columns("step", unroll, func(weights, factor, sum reg.VecVirtual) { VFMADD231PS(weights, factor, sum) })
	columns("part", part, func(weights, factor, sum reg.VecVirtual) {
		VMULPS(weights, factor, weights)
		VADDPS(weights, sum, sum)
	})
	VZEROUPPER()
	RET()
}
