package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Widths of the packed panels in floats: kernel.TileRows and kernel.TileCols.
const (
	tileRows = 12
	tileCols = 32
)

// tile generates a micro-kernel that adds to rows x (cols vectors) of c. It
// keeps that part of c in registers; each step along k loads cols vectors of b
// and broadcasts rows floats of a.
func tile(v isa, rows, cols int) {
	start("tile", "func(c *float32, ldc int, a, b *float32, k int)",
		fmt.Sprintf("adds to %d x %d of c.", rows, cols*v.width), v)
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("k"), GP64())
	SHLQ(U8(2), ldc)

	sums := make([][]reg.VecVirtual, rows)
	for r := range sums {
		for range cols {
			sum := v.vector()
			VXORPS(sum, sum, sum)
			sums[r] = append(sums[r], sum)
		}
	}
	bs := make([]reg.VecVirtual, cols)
	for i := range bs {
		bs[i] = v.vector()
	}
	as := []reg.VecVirtual{v.vector(), v.vector()}

	step := func(n int) {
		for i := range bs {
			VMOVUPS(Mem{Base: b, Disp: 4 * (n*tileCols + i*v.width)}, bs[i])
		}
		for r := range rows {
			ar := as[r%len(as)]
			VBROADCASTSS(Mem{Base: a, Disp: 4 * (n*tileRows + r)}, ar)
			for i := range bs {
				VFMADD231PS(bs[i], ar, sums[r][i])
			}
		}
	}
	unrolled(k, func(n int) {
		for i := range n {
			step(i)
		}
		ADDQ(U32(4*tileRows*n), a)
		ADDQ(U32(4*tileCols*n), b)
	})

	for r := range rows {
		for i := range cols {
			at := Mem{Base: c, Disp: 4 * i * v.width}
			VADDPS(at, sums[r][i], sums[r][i])
			VMOVUPS(sums[r][i], at)
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// unrolled emits a loop over steps, four at a time and then one by one.
func unrolled(steps reg.Register, body func(n int)) {
	for _, part := range []struct {
		label string
		n     int
	}{{"four", 4}, {"one", 1}} {
		Label(part.label)
		CMPQ(steps, U8(part.n))
		JLT(LabelRef(part.label + "_done"))
		body(part.n)
		SUBQ(U8(part.n), steps)
		JMP(LabelRef(part.label))
		Label(part.label + "_done")
	}
}

// tileBF16 generates the micro-kernel for pairs of bfloat16: as tile on
// AVX-512, with two steps at once.
func tileBF16() {
	TEXT("tileBF16AVX512", NOSPLIT, "func(c *float32, ldc int, a, b *uint32, k int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("tileBF16AVX512 adds to %d x %d of c. It needs AVX512F and BF16.", tileRows, tileCols))
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("k"), GP64())
	SHLQ(U8(2), ldc)

	const cols = 2 // vectors
	registers := vectors(64)
	sums := registers[:tileRows*cols]
	bs := registers[len(sums):][:cols]
	as := registers[len(sums)+cols:][:2]
	for _, sum := range sums {
		VPXORD(sum, sum, sum)
	}
	step := func(n int) {
		for i, w := range bs {
			VMOVDQU32(Mem{Base: b, Disp: 4*n*tileCols + 64*i}, w)
		}
		for r := range tileRows {
			x := as[r%len(as)]
			VPBROADCASTD(Mem{Base: a, Disp: 4 * (n*tileRows + r)}, x)
			for i, w := range bs {
				dpBF16(x, w, sums[r*cols+i])
			}
		}
	}
	unrolled(k, func(n int) {
		for i := range n {
			step(i)
		}
		ADDQ(U32(4*tileRows*n), a)
		ADDQ(U32(4*tileCols*n), b)
	})
	for r := range tileRows {
		for i, sum := range sums[r*cols:][:cols] {
			at := Mem{Base: c, Disp: 64 * i}
			VADDPS(at, sum, sum)
			VMOVUPS(sum, at)
		}
		if r < tileRows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// roundBF16 generates kernel.roundPairsGeneric for whole vectors.
func roundBF16(c constants) {
	TEXT("roundBF16AVX512", NOSPLIT, "func(dst *uint32, src *float32, n int)")
	Pragma("noescape")
	Doc("roundBF16AVX512 rounds n floats, a multiple of 16. It needs AVX512F.")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	Label("loop")
	CMPQ(n, U8(16))
	JLT(LabelRef("done"))
	x, odd, nan := ZMM(), ZMM(), K()
	VMOVUPS(Mem{Base: src}, x)
	VCMPPS(U8(3), x, x, nan) // unordered
	VPSRLD(U8(16), x, odd)
	VPANDD(c.integerOne, odd, odd)
	quiet := ZMM()
	VPORD(c.quietNaN, x, quiet)
	VPADDD(c.belowHalf, odd, odd)
	VPADDD(odd, x, x)
	VMOVDQA32(quiet, nan, x)
	VPSRLD(U8(16), x, x)
	VPMOVDW(x, Mem{Base: dst})
	ADDQ(U8(64), src)
	ADDQ(U8(32), dst)
	SUBQ(U8(16), n)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}
