package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8Block is kernel.Int8Block.
const int8Block = 128

const tilesInt8Signature = "func(c *float32, a *int8, starts *int32, scales *float32, b *uint8, rightScales *float32, steps, panels int)"

// tilesInt8AVX512 generates kernel.tilesInt8Generic: 24 vectors of sums stay in
// registers while a block passes.
func tilesInt8AVX512() {
	TEXT("tilesInt8AVX512", NOSPLIT, tilesInt8Signature)
	Pragma("noescape")
	Doc("tilesInt8AVX512 multiplies one block of panels of a, each of steps groups, and a panel of b. It needs AVX512F and VNNI.")
	c := Load(Param("c"), GP64())
	a := Load(Param("a"), GP64())
	starts := Load(Param("starts"), GP64())
	scales := Load(Param("scales"), GP64())
	b := Load(Param("b"), GP64())
	rightScales := Load(Param("rightScales"), GP64())
	panels := Load(Param("panels"), GP64())

	const cols = 2 // vectors
	var sums [tileRows][cols]reg.VecVirtual
	for r := range sums {
		for i := range sums[r] {
			sums[r][i] = ZMM()
		}
	}
	bs := []reg.VecVirtual{ZMM(), ZMM()}
	as := []reg.VecVirtual{ZMM(), ZMM()}

	Label("panel")
	for r := range sums {
		for _, sum := range sums[r] {
			VPBROADCASTD(Mem{Base: starts, Disp: 4 * r}, sum)
		}
	}
	w := GP64()
	MOVQ(b, w)
	steps := Load(Param("steps"), GP64())
	step := func(n int) {
		for i := range bs {
			VMOVDQU64(Mem{Base: w, Disp: 4*n*tileCols + 64*i}, bs[i])
		}
		for r := range sums {
			x := as[r%len(as)]
			VPBROADCASTD(Mem{Base: a, Disp: 4 * (n*tileRows + r)}, x)
			for i := range bs {
				VPDPBUSD(x, bs[i], sums[r][i])
			}
		}
	}
	unrolled(steps, func(n int) {
		for i := range n {
			step(i)
		}
		ADDQ(U32(4*tileRows*n), a)
		ADDQ(U32(4*tileCols*n), w)
	})

	for i := range bs {
		VMOVUPS(Mem{Base: rightScales, Disp: 64 * i}, bs[i])
	}
	for r := range sums {
		for i, sum := range sums[r] {
			at := Mem{Base: c, Disp: 4*r*tileCols + 64*i}
			VCVTDQ2PS(sum, sum)
			VMULPS(bs[i], sum, sum)
			VMULPS_BCST(Mem{Base: scales, Disp: 4 * r}, sum, sum)
			VADDPS(at, sum, sum)
			VMOVUPS(sum, at)
		}
	}
	ADDQ(U32(4*tileRows*tileCols), c)
	ADDQ(U8(4*tileRows), starts)
	ADDQ(U8(4*tileRows), scales)
	DECQ(panels)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// tileInt8AVX2 generates a part of kernel.tilesInt8Generic: 4 rows of a panel of a
// and 16 of a panel of b. Bytes are widened to 16 bits before they are
// multiplied, since VPMADDUBSW saturates.
func tileInt8AVX2(c constants) {
	const rows, cols = 4, 2
	t := startTileInt8("tileInt8AVX2", "AVX2", rows, cols*8)
	var sums [rows][cols]reg.VecVirtual
	for r := range sums {
		for i := range sums[r] {
			sums[r][i] = YMM()
			VPBROADCASTD(Mem{Base: t.starts, Disp: 4 * r}, sums[r][i])
		}
	}
	Label("step")
	var even, odd [cols]reg.VecVirtual
	for i := range cols {
		even[i], odd[i] = YMM(), YMM()
		VMOVDQU(Mem{Base: t.b, Disp: 32 * i}, even[i])
		VPSRLW(U8(8), even[i], odd[i])
		VPAND(c.lowBytes, even[i], even[i])
	}
	x, high, product := YMM(), YMM(), YMM()
	for r := range sums {
		VPBROADCASTD(Mem{Base: t.a, Disp: 4 * r}, x)
		VPSRAW(U8(8), x, high)
		VPSLLW(U8(8), x, x)
		VPSRAW(U8(8), x, x)
		for i, sum := range sums[r] {
			VPMADDWD(even[i], x, product)
			VPADDD(product, sum, sum)
			VPMADDWD(odd[i], high, product)
			VPADDD(product, sum, sum)
		}
	}
	ADDQ(U8(4*tileRows), t.a)
	ADDQ(U32(4*tileCols), t.b)
	DECQ(t.steps)
	JNZ(LabelRef("step"))
	for r := range sums {
		VBROADCASTSS(Mem{Base: t.scales, Disp: 4 * r}, x)
		for i, sum := range sums[r] {
			t.add(sum, x, r, i)
		}
	}
	VZEROUPPER()
	RET()
}

// tileInt8AVXVNNI generates another part of it, 6 rows of a panel of a and 16
// of a panel of b, with the VPDPBUSD that CPUs without AVX-512 have.
func tileInt8AVXVNNI() {
	const rows, cols = 6, 2
	t := startTileInt8("tileInt8AVXVNNI", "AVX2 and AVX-VNNI", rows, cols*8)
	registers := vectors(32)
	sum := func(r, i int) reg.VecPhysical { return registers[r*cols+i] }
	bs, as := registers[rows*cols:][:cols], registers[rows*cols+cols:]
	for r := range rows {
		for i := range cols {
			VPBROADCASTD(Mem{Base: t.starts, Disp: 4 * r}, sum(r, i))
		}
	}
	Label("step")
	for i, w := range bs {
		VMOVDQU(Mem{Base: t.b, Disp: 32 * i}, w)
	}
	for r := range rows {
		x := as[r%len(as)]
		VPBROADCASTD(Mem{Base: t.a, Disp: 4 * r}, x)
		for i, w := range bs {
			vexVPDPBUSD(x, w, sum(r, i))
		}
	}
	ADDQ(U8(4*tileRows), t.a)
	ADDQ(U32(4*tileCols), t.b)
	DECQ(t.steps)
	JNZ(LabelRef("step"))
	for r := range rows {
		VBROADCASTSS(Mem{Base: t.scales, Disp: 4 * r}, as[0])
		for i := range cols {
			t.add(sum(r, i), as[0], r, i)
		}
	}
	VZEROUPPER()
	RET()
}

// tileInt8 has the parameters of the parts of a tile.
type tileInt8 struct {
	c, a, starts, scales, b, rightScales, steps reg.Register
}

func startTileInt8(name, needs string, rows, cols int) tileInt8 {
	TEXT(name, NOSPLIT, "func(c *float32, a *int8, starts *int32, scales *float32, b *uint8, rightScales *float32, steps int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies %d rows of one block of a panel of a, of steps groups, and %d of a panel of b. It needs %s.", name, rows, cols, needs))
	return tileInt8{
		c: Load(Param("c"), GP64()), a: Load(Param("a"), GP64()),
		starts: Load(Param("starts"), GP64()), scales: Load(Param("scales"), GP64()), b: Load(Param("b"), GP64()),
		rightScales: Load(Param("rightScales"), GP64()), steps: Load(Param("steps"), GP64()),
	}
}

// add scales a vector of sums and adds it to c.
func (t tileInt8) add(sum, scale reg.Register, row, col int) {
	at := Mem{Base: t.c, Disp: 4*row*tileCols + 32*col}
	VCVTDQ2PS(sum, sum)
	VMULPS(Mem{Base: t.rightScales, Disp: 32 * col}, sum, sum)
	VMULPS(scale, sum, sum)
	VADDPS(at, sum, sum)
	VMOVUPS(sum, at)
}

// fold combines all lanes of x by op and returns the result.
func fold(x reg.VecVirtual, v isa, op func(...Op)) reg.GPVirtual {
	low := x.AsX()
	if v.width == 16 {
		half := YMM()
		VEXTRACTI64X4(U8(1), x, half)
		op(half, x.AsY(), x.AsY())
	}
	quarter := XMM()
	VEXTRACTI128(U8(1), x.AsY(), quarter)
	op(quarter, low, low)
	for _, order := range []uint8{0b_11_10_11_10, 0b_01_01_01_01} {
		VPSHUFD(U8(order), low, quarter)
		op(quarter, low, low)
	}
	result := GP32()
	VMOVD(low, result)
	return result
}

// topBits generates kernel.topBitsGeneric.
func topBits(v isa, c constants) {
	start("topBits", "func(x *float32) uint32", fmt.Sprintf("returns the largest of %d floats without their signs, as bits.", int8Block), v)
	x := Load(Param("x"), GP64())
	var tops [4]reg.VecVirtual
	for i := range int8Block / v.width {
		magnitude := v.vector()
		VMOVUPS(Mem{Base: x, Disp: 4 * v.width * i}, magnitude)
		VANDPS(c.absolute, magnitude, magnitude)
		if i < len(tops) {
			tops[i] = magnitude
		} else {
			VPMAXUD(magnitude, tops[i%len(tops)], tops[i%len(tops)])
		}
	}
	VPMAXUD(tops[2], tops[0], tops[0])
	VPMAXUD(tops[3], tops[1], tops[1])
	VPMAXUD(tops[1], tops[0], tops[0])
	result := fold(tops[0], v, VPMAXUD)
	VZEROUPPER()
	Store(result, ReturnIndex(0))
	RET()
}

// roundInt8 generates kernel.roundInt8Generic.
func roundInt8(v isa, c constants) {
	start("roundInt8", "func(q *int8, x *float32, factor float32) int32",
		fmt.Sprintf("rounds %d floats times factor to integers and returns their sum.", int8Block), v)
	q, x := Load(Param("q"), GP64()), Load(Param("x"), GP64())
	factor, lowest, sum := v.vector(), v.vector(), v.vector()
	VBROADCASTSS(NewParamAddr("factor", 16), factor)
	VMOVUPS(c.lowestInt8, lowest)
	VPXOR(sum.AsX(), sum.AsX(), sum.AsX())
	next := 0
	round := func() reg.VecVirtual {
		r := v.vector()
		VMULPS(Mem{Base: x, Disp: 4 * v.width * next}, factor, r)
		next++
		VCVTPS2DQ(r, r)
		VPMAXSD(lowest, r, r) // what stands for NaN becomes the byte that it is packed to
		VPADDD(r, sum, sum)
		return r
	}
	if v.width == 16 {
		for i := range int8Block / v.width {
			VPMOVSDB(round(), Mem{Base: q, Disp: v.width * i})
		}
	} else {
		order := YMM()
		VMOVDQU(c.packedOrder, order)
		for i := range int8Block / 32 {
			r0, r1, r2, r3 := round(), round(), round(), round()
			VPACKSSDW(r1, r0, r0)
			VPACKSSDW(r3, r2, r2)
			VPACKSSWB(r2, r0, r0)
			VPERMD(r0, order, r0)
			VMOVDQU(r0, Mem{Base: q, Disp: 32 * i})
		}
	}
	result := fold(sum, v, VPADDD)
	VZEROUPPER()
	Store(result, ReturnIndex(0))
	RET()
}
