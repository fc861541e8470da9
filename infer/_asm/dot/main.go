// Command dot generates the assembly of the float32 products of vectors. Run go
// generate in package infer/internal/kernel.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is what differs between the versions.
type isa struct {
	suffix, needs string
	vector        func() reg.VecVirtual
	width         int // floats
}

func main() {
	ConstraintExpr("amd64,!purego")
	for _, v := range []isa{
		{"AVX2", "AVX2 and FMA", func() reg.VecVirtual { return YMM() }, 8},
		{"AVX512", "AVX512F", func() reg.VecVirtual { return ZMM() }, 16},
	} {
		dot(v)
		addScaled(v)
		for _, e := range elements {
			dotRows(v, e)
			addRows(v, e)
		}
	}
	Generate()
}

// unroll is how many floats a step takes: four vectors of AVX-512.
const unroll = 64

// steps emits a loop that advances the pointers by a step, n/unroll times.
func steps(n reg.Register, body func(), pointers ...reg.Register) {
	Label("loop")
	CMPQ(n, U8(unroll))
	JLT(LabelRef("done"))
	body()
	for _, p := range pointers {
		ADDQ(U32(4*unroll), p)
	}
	SUBQ(U8(unroll), n)
	JMP(LabelRef("loop"))
	Label("done")
}

// dot leaves the sums of the 64 lanes of a step to the caller, so that they are
// added in one order whatever the width.
func dot(v isa) {
	TEXT("dotLanes"+v.suffix, NOSPLIT, "func(a, b *float32, n int, lanes *float32)")
	Pragma("noescape")
	Doc("dotLanes" + v.suffix + " stores the sums of every 64th product. n is a multiple of 64. It needs " + v.needs + ".")
	a, b, n, lanes := Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("n"), GP64()), Load(Param("lanes"), GP64())
	sums := make([]reg.VecVirtual, unroll/v.width)
	for i := range sums {
		sums[i] = v.vector()
		VXORPS(sums[i], sums[i], sums[i])
	}
	steps(n, func() {
		x := v.vector()
		for i, sum := range sums {
			VMOVUPS(Mem{Base: a, Disp: 4 * i * v.width}, x)
			VFMADD231PS(Mem{Base: b, Disp: 4 * i * v.width}, x, sum)
		}
	}, a, b)
	for i, sum := range sums {
		VMOVUPS(sum, Mem{Base: lanes, Disp: 4 * i * v.width})
	}
	VZEROUPPER()
	RET()
}

func addScaled(v isa) {
	TEXT("addScaled"+v.suffix, NOSPLIT, "func(dst, x *float32, n int, factor float32)")
	Pragma("noescape")
	Doc("addScaled" + v.suffix + " adds factor*x to dst. n is a multiple of 64. It needs " + v.needs + ".")
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	factor := v.vector()
	VBROADCASTSS(NewParamAddr("factor", 24), factor)
	steps(n, func() {
		for i := 0; i < unroll; i += v.width {
			d := v.vector()
			VMOVUPS(Mem{Base: dst, Disp: 4 * i}, d)
			VFMADD231PS(Mem{Base: x, Disp: 4 * i}, factor, d)
			VMOVUPS(d, Mem{Base: dst, Disp: 4 * i})
		}
	}, dst, x)
	VZEROUPPER()
	RET()
}
