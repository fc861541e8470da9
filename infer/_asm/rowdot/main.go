// Command rowdot generates the assembly of the products of quantized rows and
// 8-bit vectors. Run go generate in package infer/internal/kernel.
//
// Most work on 256-bit vectors: a block has no more in one piece. Those for AVX-512
// have VNNI's instructions, which add to the sum, and where points of a grid are
// put together, masks and vectors of 512 bits.
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in kernel.Vector8.
const (
	sumsAt   = 256
	scaleAt  = 288
	vectorAt = 320 // of the next one
)

// ahead is how many bytes before their use rows are asked for, by the second-level cache: it waits for more of them at
// once than the first.
const ahead = 4096

// isa is what differs between the versions, and the constants that they share.
type isa struct {
	*constants
	suffix, needs string
	vnni          bool
}

func main() {
	ConstraintExpr("amd64,!purego")
	c := newConstants()
	for _, v := range []isa{{c, "AVX2", "AVX2, FMA and F16C", false}, {c, "AVX512", "AVX-512 VL, BW and VNNI", true}} {
		for _, t := range v.blockTypes() {
			v.kernel(t.name, 8, t.bytes, func(w, x reg.Register, sum reg.VecVirtual) { v.dotBlocks(t, w, x, sum) })
		}
		v.kernel("Q2_K", 1, 84, v.dotQ2K)
		v.kernel("Q3_K", 1, 110, v.dotQ3K)
		v.kernel("Q4_K", 1, 144, v.dotQ4K)
		v.kernel("Q5_K", 1, 176, v.dotQ5K)
		v.kernel("Q6_K", 1, 210, v.dotQ6K)
		v.kernel("IQ4_XS", 1, 136, v.dotIQ4XS)
		v.kernel("TQ1_0", 1, 54, v.dotTQ10)
		v.kernel("TQ2_0", 1, 66, v.dotTQ20)
		for _, t := range v.gridTypes() {
			v.gridKernel(t)
		}
	}
	Generate()
}

// kernel emits a loop over rows, and in it one over kernel.Vector8s, of which body
// does one: it adds to the eight lanes of sum.
func (v isa) kernel(typ string, perVector, blockBytes int, body func(w, x reg.Register, sum reg.VecVirtual)) {
	v.begin(typ)
	v.loops(perVector*blockBytes, Load(Param("w"), GP64()), body)
}

// gridKernel is kernel for a type with a grid: it prepares each super-block while it does the one before.
func (v isa) gridKernel(t gridType) {
	v.begin(t.name)
	w, room, ahead, last, bytes := Load(Param("w"), GP64()), GP64(), GP64(), GP64(), GP64()
	LEAQ(AllocLocal(roomBytes), room)
	LEAQ(AllocLocal(roomBytes), ahead)
	Load(Param("rows"), last)
	Load(Param("vectors"), bytes)
	IMULQ(bytes, last)
	IMUL3Q(U32(uint32(t.bytes)), last, last)
	LEAQ(Mem{Base: w, Index: last, Scale: 1, Disp: -t.bytes}, last)
	t.prepare(w, room)
	g := v.newGrid(w, room)
	v.loops(t.bytes, w, func(w, x reg.Register, sum reg.VecVirtual) {
		next := GP64()
		LEAQ(Mem{Base: w, Disp: t.bytes}, next)
		CMPQ(next, last)
		CMOVQHI(last, next)
		t.prepare(next, ahead)
		g.start(x)
		t.dot(g, sum)
		XCHGQ(room, ahead)
	})
}

// begin begins a kernel.
func (v isa) begin(typ string) {
	name := "dot" + typ + v.suffix
	TEXT(name, NOSPLIT, "func(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)")
	Pragma("noescape")
	Doc(name + " is DotRows for " + typ + ". It needs " + v.needs + ".")
	v.registers = make(map[Mem]reg.VecVirtual)
}

// loops emits the loops of a kernel, for so many bytes in each Vector8.
func (v isa) loops(bytes int, w reg.Register, body func(w, x reg.Register, sum reg.VecVirtual)) {
	dst, rows, x, n := Load(Param("dst"), GP64()), Load(Param("rows"), GP64()), GP64(), GP64()
	Label("row")
	Load(Param("x"), x)
	Load(Param("vectors"), n)
	sum := zero()
	Label("loop")
	// Rows come from memory, where the hardware looks less far ahead.
	for at := 0; at < bytes; at += 64 {
		PREFETCHT1(Mem{Base: w, Disp: ahead + at})
	}
	body(w, x, sum)
	ADDQ(U32(uint32(bytes)), w)
	ADDQ(U32(vectorAt), x)
	SUBQ(U8(1), n)
	JNZ(LabelRef("loop"))
	high := XMM()
	VEXTRACTF128(U8(1), sum, high)
	VADDPS(sum.AsX(), high, high)
	VMOVHLPS(high, high, sum.AsX())
	VADDPS(sum.AsX(), high, high)
	VMOVSHDUP(high, sum.AsX())
	VADDSS(sum.AsX(), high, high)
	VMOVSS(high, Mem{Base: dst})
	ADDQ(U8(4), dst)
	SUBQ(U8(1), rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

func load(m Op) reg.VecVirtual {
	r := YMM()
	VMOVDQU(m, r)
	return r
}

func zero() reg.VecVirtual {
	r := YMM()
	VPXOR(r, r, r)
	return r
}

// shift shifts the words of x right, or left if n is negative, and keeps the bits of mask.
func shift(x reg.VecVirtual, n int, mask Op) reg.VecVirtual {
	r := YMM()
	switch {
	case n > 0:
		VPSRLW(U8(uint8(n)), x, r)
	case n < 0:
		VPSLLW(U8(uint8(-n)), x, r)
	default:
		VPAND(mask, x, r)
		return r
	}
	VPAND(mask, r, r)
	return r
}

// addProducts adds to the eight integers of sum the products of the words of p
// and scale, in pairs.
func (v isa) addProducts(p, scale Op, sum reg.VecVirtual) {
	if v.vnni {
		VPDPWSSD(scale, p, sum)
		return
	}
	t := YMM()
	VPMADDWD(scale, p, t)
	VPADDD(t, sum, sum)
}

// addFactor adds to sum products times the half d, the scale of x, and factor.
func (v isa) addFactor(d Mem, factor float32, x reg.Register, products, sum reg.VecVirtual) {
	f := YMM()
	VPBROADCASTW(d, f.AsX())
	v.addScaled(f, factor, x, products, sum)
}

// addScaled is addFactor with the half in each word of the lower half of d.
func (v isa) addScaled(d reg.VecVirtual, factor float32, x reg.Register, products, sum reg.VecVirtual) {
	VCVTDQ2PS(products, products)
	scale := YMM()
	VCVTPH2PS(d.AsX(), d)
	VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
	VMULPS(scale, d, d)
	if factor != 1 {
		bits := int(math.Float32bits(factor))
		VMULPS(v.doublewords(func(int) int { return bits }), d, d)
	}
	VFMADD231PS(products, d, sum)
}
