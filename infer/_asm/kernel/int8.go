package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8Block is kernel.Int8Block.
const int8Block = 64

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

// fold combines all lanes of x by op, in its first one.
func fold(x reg.VecVirtual, v isa, op func(...Op)) {
	if v.width == 16 {
		half := YMM()
		VEXTRACTI64X4(U8(1), x, half)
		op(half, x.AsY(), x.AsY())
	}
	low, other := x.AsX(), XMM()
	VEXTRACTI128(U8(1), x.AsY(), other)
	op(other, low, low)
	for _, order := range []uint8{0b_11_10_11_10, 0b_01_01_01_01} {
		VPSHUFD(U8(order), low, other)
		op(other, low, low)
	}
}

// quantizeInt8 generates kernel.quantizeInt8Generic.
func quantizeInt8(v isa, c constants) {
	start("quantizeInt8", "func(q *int8, x, scales *float32, sums *int32, n int)",
		fmt.Sprintf("quantizes n blocks of %d floats.", int8Block), v)
	q, x := Load(Param("q"), GP64()), Load(Param("x"), GP64())
	scales, sums := Load(Param("scales"), GP64()), Load(Param("sums"), GP64())
	n := Load(Param("n"), GP64())

	Label("block")
	values := make([]reg.VecVirtual, int8Block/v.width)
	top, magnitude := v.vector(), v.vector()
	for i := range values {
		values[i] = v.vector()
		VMOVUPS(Mem{Base: x, Disp: 4 * v.width * i}, values[i])
		if i == 0 {
			VANDPS(c.absolute, values[i], top)
			continue
		}
		VANDPS(c.absolute, values[i], magnitude)
		VPMAXUD(magnitude, top, top)
	}
	fold(top, v, VPMAXUD)

	most, scale, inverse, large := XMM(), XMM(), XMM(), XMM()
	VMOVSS(c.int8Most, most)
	VDIVSS(most, top.AsX(), scale)
	VDIVSS(top.AsX(), most, inverse)
	VCMPSS(U8(5), c.smallestInt8, top.AsX(), large) // not less than: a NaN is large
	VANDPS(large, scale, scale)
	VANDPS(large, inverse, inverse)
	VMOVSS(scale, Mem{Base: scales})

	factor, sum := v.vector(), v.vector()
	VBROADCASTSS(inverse, factor)
	for i, r := range values {
		VMULPS(factor, r, r)
		VCVTPS2DQ(r, r)
		VPMAXSD(c.lowestInt8, r, r) // what stands for NaN becomes the byte that it is packed to
		if i == 0 {
			VMOVAPS(r, sum)
		} else {
			VPADDD(r, sum, sum)
		}
		if v.width == 16 {
			VPMOVSDB(r, Mem{Base: q, Disp: v.width * i})
		}
	}
	if v.width == 8 {
		order := YMM()
		VMOVDQU(c.packedOrder, order)
		for i := 0; i < len(values); i += 4 {
			VPACKSSDW(values[i+1], values[i], values[i])
			VPACKSSDW(values[i+3], values[i+2], values[i+2])
			VPACKSSWB(values[i+2], values[i], values[i])
			VPERMD(values[i], order, values[i])
			VMOVDQU(values[i], Mem{Base: q, Disp: 8 * i})
		}
	}
	fold(sum, v, VPADDD)
	VMOVD(sum.AsX(), Mem{Base: sums})

	ADDQ(U32(int8Block), q)
	ADDQ(U32(4*int8Block), x)
	ADDQ(U8(4), scales)
	ADDQ(U8(4), sums)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
