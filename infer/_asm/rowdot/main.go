// Command rowdot generates the assembly of the products of quantized rows and
// 8-bit vectors. Run go generate in package infer/internal/kernel.
//
// All versions work on 256-bit vectors: a block has no more in one piece. That
// of AVX-512 has VNNI's instructions, which add to the sum.
package main

import (
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

// ahead is how many bytes before their use rows are asked for.
const ahead = 16384

// isa is what differs between the versions.
type isa struct {
	suffix, needs string
	vnni          bool
}

func main() {
	ConstraintExpr("amd64,!purego")
	c := newConstants()
	two, four := newTwoBitConstants(), newIQ4Constants()
	for _, v := range []isa{{"AVX2", "AVX2, FMA and F16C", false}, {"AVX512", "AVX-512 VL and VNNI", true}} {
		dotBlocks4(v, c, "dotQ4_0", "Q4_0", four.q4, four.halves)
		dotBlocks4(v, c, "dotIQ4NL", "IQ4_NL", four.iq4, four.halves)
		dotIQ4XS(v, c, four)
		dotQ8_0(v, c)
		dotQ4K(v, c)
		dotQ6K(v, c)
		dotQ5K(v, c)
		dotQ3K(v, c, two)
		dotQ2K(v, c, two)
	}
	Generate()
}

type constants struct {
	low4, high2, ones Mem    // bytes 15, bytes 0x30, words 1
	word              [8]Mem // shuffles byte i into all words
	pair              [8]Mem // shuffles bytes 2i and 2i+1 into eight bytes each
}

func newConstants() (c constants) {
	add := table("rowdotConstants")
	c.low4 = add(32, func(int) uint8 { return 15 })
	c.high2 = add(32, func(int) uint8 { return 0x30 })
	c.ones = add(32, func(i int) uint8 { return uint8(1 - i%2) })
	for s := range c.word {
		c.word[s] = add(32, func(i int) uint8 { return uint8(s + i%2*0x80) })
		c.pair[s] = add(16, func(i int) uint8 { return uint8(2*s + i/8) })
	}
	return c
}

// table begins a table of constants and returns what adds n bytes to it, and
// returns where they are.
func table(name string) func(n int, value func(i int) uint8) Mem {
	start := GLOBL(name, RODATA|NOPTR)
	next := 0
	return func(n int, value func(i int) uint8) Mem {
		at := start.Offset(next)
		for i := range n {
			DATA(next, U8(value(i)))
			next++
		}
		return at
	}
}

// kernel emits a loop over rows, and in it one over kernel.Vector8s, of which body
// does one: it adds to the eight lanes of sum.
func kernel(name, doc string, v isa, perVector, blockBytes int, body func(w, x reg.Register, sum reg.VecVirtual)) {
	TEXT(name+v.suffix, NOSPLIT, "func(dst *float32, rows int, w *byte, x *int8, vectors int)")
	Pragma("noescape")
	Doc(name + v.suffix + " " + doc + " It needs " + v.needs + ".")
	dst, rows := Load(Param("dst"), GP64()), Load(Param("rows"), GP64())
	w, x, n := Load(Param("w"), GP64()), GP64(), GP64()
	Label("row")
	Load(Param("x"), x)
	Load(Param("vectors"), n)
	sum := YMM()
	VXORPS(sum, sum, sum)
	Label("loop")
	// Rows come from memory, where the hardware looks less far ahead.
	for at := 0; at < perVector*blockBytes; at += 64 {
		PREFETCHT0(Mem{Base: w, Disp: ahead + at})
	}
	body(w, x, sum)
	ADDQ(U32(uint32(perVector*blockBytes)), w)
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

func zero() reg.VecVirtual {
	r := YMM()
	VPXOR(r, r, r)
	return r
}

// dotQ8_0 multiplies magnitudes of weights with values that have their signs.
func dotQ8_0(v isa, c constants) {
	kernel("dotQ8_0", "is DotRows for Q8_0.", v, 8, 34, func(w, x reg.Register, sum reg.VecVirtual) {
		scale := YMM()
		VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
		for b := range 8 {
			addBlock(v, c, load(Mem{Base: w, Disp: 34*b + 2}), Mem{Base: x, Disp: 32 * b}, Mem{Base: w, Disp: 34 * b}, scale, sum)
		}
	})
}

// addBlock adds to sum the products of 32 weights with a scale d, and values with
// another.
func addBlock(v isa, c constants, weights reg.VecVirtual, x, d Mem, scale, sum reg.VecVirtual) {
	magnitudes, values, products := YMM(), load(x), YMM()
	VPABSB(weights, magnitudes)
	VPSIGNB(weights, values, values)
	if v.vnni {
		products = zero()
		VPDPBUSD(values, magnitudes, products)
	} else {
		VPMADDUBSW(values, magnitudes, products)
		VPMADDWD(c.ones, products, products)
	}
	factor := YMM()
	VPBROADCASTW(d, factor.AsX())
	VCVTPH2PS(factor.AsX(), factor)
	VMULPS(scale, factor, factor)
	VCVTDQ2PS(products, products)
	VFMADD231PS(products, factor, sum)
}

func dotQ4K(v isa, c constants) {
	kernel("dotQ4K", "is DotRows for Q4_K.", v, 1, 144, func(w, x reg.Register, sum reg.VecVirtual) {
		scales, minima := eightScales(w, x)
		mask, products := load(c.low4), zero()
		for j := range 4 {
			low, high := load(Mem{Base: w, Disp: 16 + 32*j}), YMM()
			VPSRLW(U8(4), low, high)
			VPAND(mask, low, low)
			VPAND(mask, high, high)
			for i, q := range []reg.VecVirtual{low, high} {
				s, scale := 2*j+i, YMM()
				VPMADDUBSW(Mem{Base: x, Disp: 32 * s}, q, q)
				VPSHUFB(c.word[s], scales, scale)
				v.addProducts(q, scale, products)
			}
		}
		addScaled(Mem{Base: w}, x, products, minima, sum)
	})
}

// eightScales returns the scales of a block of Q4_K or Q5_K, bytes in each quarter,
// and eight integers that make the sum of the products of minima and values.
func eightScales(w, x reg.Register) (scales, minima reg.VecVirtual) {
	// Six bits each of eight scales and minima: see scaleMin of package quant.
	var packed [3]reg.GPVirtual
	for i := range packed {
		packed[i] = GP32()
		MOVL(Mem{Base: w, Disp: 4 + 4*i}, packed[i])
	}
	masked := func(r reg.GPVirtual, shift uint8, mask uint32) reg.GPVirtual {
		t := GP32()
		MOVL(r, t)
		if shift > 0 {
			SHRL(U8(shift), t)
		}
		ANDL(U32(mask), t)
		return t
	}
	eight := func(first reg.GPVirtual, shift uint8) reg.VecVirtual {
		high, top, low := masked(packed[2], shift, 0x0f0f0f0f), masked(first, 6, 0x03030303), masked(first, 0, 0x3f3f3f3f)
		SHLL(U8(4), top)
		ORL(top, high)
		both := high.As64()
		SHLQ(U8(32), both)
		ORQ(low.As64(), both)
		r := YMM()
		VMOVQ(both, r.AsX())
		return r
	}
	scales, minima = eight(packed[0], 0), eight(packed[1], 4)
	VPBROADCASTQ(scales.AsX(), scales)
	VPUNPCKLBW(minima.AsX(), minima.AsX(), minima.AsX())
	VPMOVZXBW(minima.AsX(), minima)
	VPMADDWD(Mem{Base: x, Disp: sumsAt}, minima, minima)
	return scales, minima
}

// addScaled adds to sum products and takes off minima, each times its factor of the
// two halves at factors and the scale of x.
func addScaled(factors Mem, x reg.Register, products, minima, sum reg.VecVirtual) {
	VCVTDQ2PS(products, products)
	VCVTDQ2PS(minima, minima)
	d, dmin, scale := YMM(), YMM(), XMM()
	VMOVD(factors, d.AsX())
	VCVTPH2PS(d.AsX(), d.AsX())
	VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
	VMULPS(scale, d.AsX(), d.AsX())
	VMOVSHDUP(d.AsX(), dmin.AsX())
	VBROADCASTSS(d.AsX(), d)
	VBROADCASTSS(dmin.AsX(), dmin)
	VFMADD231PS(products, d, sum)
	VFNMADD231PS(minima, dmin, sum)
}

// dotQ6K multiplies with integers from 0, and takes off 32 times the sums of the
// values.
func dotQ6K(v isa, c constants) {
	kernel("dotQ6K", "is DotRows for Q6_K.", v, 1, 210, func(w, x reg.Register, sum reg.VecVirtual) {
		scales, offset := XMM(), YMM()
		VMOVDQU(Mem{Base: w, Disp: 192}, scales)
		VPMOVSXBW(scales, offset)
		VPMADDWD(Mem{Base: x, Disp: sumsAt}, offset, offset)
		VPSLLD(U8(5), offset, offset)

		low4, high2, products := load(c.low4), load(c.high2), zero()
		for h := range 2 {
			a, b, high := load(Mem{Base: w, Disp: 64 * h}), load(Mem{Base: w, Disp: 64*h + 32}), load(Mem{Base: w, Disp: 128 + 32*h})
			for i, low := range []reg.VecVirtual{a, b, a, b} {
				q, top := YMM(), YMM()
				if i < 2 {
					VPAND(low4, low, q)
				} else {
					VPSRLW(U8(4), low, q)
					VPAND(low4, q, q)
				}
				switch i {
				case 0, 1:
					VPSLLW(U8(uint8(4-2*i)), high, top)
					VPAND(high2, top, top)
				case 2:
					VPAND(high2, high, top)
				case 3:
					VPSRLW(U8(2), high, top)
					VPAND(high2, top, top)
				}
				VPOR(top, q, q)
				s, scale := 4*h+i, YMM()
				VPMADDUBSW(Mem{Base: x, Disp: 32 * s}, q, q)
				VPSHUFB(c.pair[s], scales, scale.AsX())
				VPMOVSXBW(scale.AsX(), scale)
				v.addProducts(q, scale, products)
			}
		}
		VPSUBD(offset, products, products)
		VCVTDQ2PS(products, products)
		d, scale := YMM(), YMM()
		VPBROADCASTW(Mem{Base: w, Disp: 208}, d.AsX())
		VCVTPH2PS(d.AsX(), d)
		VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
		VMULPS(scale, d, d)
		VFMADD231PS(products, d, sum)
	})
}
