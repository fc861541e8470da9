// Command columns generates what makes blocks of codes that are in columns of words. Run
// go generate in package quant/internal/kernel.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/ggufkit/ggufkit/quant/_asm/vector"
)

func main() {
	ConstraintExpr("amd64,!purego")
	columnsQ40()
	Generate()
}

// columnsQ40 generates the one for Q4_0, which has a column in each lane.
func columnsQ40() {
	Start("columnsQ40", "func(dst *byte, stride int, d *uint16, words *byte, width int, n int)",
		"makes n blocks, a multiple of 8, as ColumnsQ40 of package quant does.", AVX2)
	dst, stride := Load(Param("dst"), GP64()), Load(Param("stride"), GP64())
	d, words := Load(Param("d"), GP64()), Load(Param("words"), GP64())
	width, n := Load(Param("width"), GP64()), Load(Param("n"), GP64())
	SHLQ(U8(2), width)
	low, ones := YMM(), GP32()
	MOVL(U32(0x0f0f0f0f), ones)
	VMOVD(ones, low.AsX())
	VPBROADCASTD(low.AsX(), low)

	Label("columns")
	var w [4]reg.VecVirtual
	at := GP64()
	MOVQ(words, at)
	for i := range w {
		w[i] = YMM()
		VMOVDQU(Mem{Base: at}, w[i])
		ADDQ(width, at)
	}
	for range w { // those of the next blocks of the columns, which may be beyond the end
		PREFETCHT1(Mem{Base: at})
		ADDQ(width, at)
	}
	first, second := pairs(w[0], w[2], low), pairs(w[1], w[3], low)
	var blocks [4]reg.VecVirtual // of columns i and i + 4
	for i := range blocks {
		blocks[i] = YMM()
		if i%2 == 0 {
			VPUNPCKLQDQ(second[i/2], first[i/2], blocks[i])
		} else {
			VPUNPCKHQDQ(second[i/2], first[i/2], blocks[i])
		}
	}
	half := GP32()
	for i := range 8 {
		MOVWLZX(Mem{Base: d, Disp: 2 * i}, half)
		MOVW(half.As16(), Mem{Base: dst})
		if i < 4 {
			VMOVDQU(blocks[i].AsX(), Mem{Base: dst, Disp: 2})
		} else {
			VEXTRACTI128(U8(1), blocks[i-4], Mem{Base: dst, Disp: 2})
		}
		PREFETCHT0(Mem{Base: dst, Disp: 64})
		ADDQ(stride, dst)
	}
	ADDQ(U8(32), words)
	ADDQ(U8(16), d)
	SUBQ(U8(8), n)
	JNE(LabelRef("columns"))
	VZEROUPPER()
	RET()
}

// pairs returns, eight bytes for each lane, the codes of lane x in the low and those of y
// in the high bits: those of lanes 0, 1, 4 and 5, and those of the others.
func pairs(x, y, low reg.VecVirtual) [2]reg.VecVirtual {
	even, odd, t := YMM(), YMM(), YMM()
	VPAND(low, x, even)
	VPAND(low, y, t)
	VPSLLD(U8(4), t, t)
	VPOR(t, even, even)
	VPSRLD(U8(4), x, odd)
	VPAND(low, odd, odd)
	VPANDN(y, low, t)
	VPOR(t, odd, odd)
	both := [2]reg.VecVirtual{YMM(), YMM()}
	VPUNPCKLBW(odd, even, both[0])
	VPUNPCKHBW(odd, even, both[1])
	return both
}
