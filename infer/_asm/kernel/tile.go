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
	const unroll = 4
	loop := func(label string, steps int) {
		Label(label)
		CMPQ(k, U8(steps))
		JLT(LabelRef(label + "_done"))
		for n := range steps {
			step(n)
		}
		ADDQ(U32(4*tileRows*steps), a)
		ADDQ(U32(4*tileCols*steps), b)
		SUBQ(U8(steps), k)
		JMP(LabelRef(label))
		Label(label + "_done")
	}
	loop("four", unroll)
	loop("one", 1)

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
