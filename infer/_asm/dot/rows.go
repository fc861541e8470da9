package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ahead is how many bytes before their use rows are asked for.
const ahead = 16384

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

// dotRows is dot for rows of weights, one after another, and adds the lanes in
// the order of kernel.Dot.
func dotRows(v isa, e element) {
	name := "dotRows" + e.name + v.suffix
	TEXT(name, NOSPLIT, "func(dst *float32, rows int, w *byte, x *float32, n int)")
	Pragma("noescape")
	Doc(name + " is DotFloatRows for " + e.name + " and rows of n elements, a multiple of 64. It needs " + v.needs + ".")
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
	Label("step")
	for at := 0; at < e.bytes*unroll; at += 64 {
		PREFETCHT0(Mem{Base: w, Disp: ahead + at})
	}
	weights := v.vector()
	for i, sum := range sums {
		e.load(Mem{Base: w, Disp: e.bytes * i * v.width}, weights)
		VFMADD231PS(Mem{Base: x, Disp: 4 * i * v.width}, weights, sum)
	}
	ADDQ(U32(uint32(e.bytes*unroll)), w)
	ADDQ(U32(4*unroll), x)
	SUBQ(U8(unroll), n)
	JNZ(LabelRef("step"))

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
