package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blocksInt8AMX generates kernel.tilesInt8Generic for one block after the other. A tile of a has the rows of a panel, one of
// b 16 of the columns; the sums of both pass through memory, as tiles have no other way out. Since the assembler does not know
// what its instructions do with registers, these are physical ones.
func blocksInt8AMX() {
	const (
		cols       = 2  // tiles of b, and vectors
		cacheLine  = 64 // bytes
		taskPanels = 8  // as many as kernel.MulInt8 has at most
	)
	right, left, sums := [cols]tileRegister{0, 1}, tileRegister(2), [cols]tileRegister{3, 4}
	config := GLOBL("tileConfig", attr.RODATA|attr.NOPTR)
	DATA(0, U64(1)) // the palette
	DATA(8, U64(0))
	DATA(16, U64(64<<48|64<<32|64<<16|64)) // bytes of a row of each
	DATA(24, U64(64))
	DATA(32, U64(0))
	DATA(40, U64(0))
	DATA(48, U64(tileRows*0x01_0101<<16|int8Block/4<<8|int8Block/4)) // their rows
	DATA(56, U64(0))

	TEXT("blocksInt8AMX", NOSPLIT, "func(c *float32, a *int8, starts *int32, scales *float32, b *uint8, rightScales *float32, sums *int32, panels, rows, blocks int)")
	Pragma("noescape")
	Doc("blocksInt8AMX multiplies blocks of panels of a, which has so many rows in all, and of a panel of b. sums is room for those of a panel,",
		"and to align them to 64 bytes. It needs AMX-INT8 and AVX512F.")
	panels, skipped, blocks := reg.RCX, reg.R12, reg.R13
	b, a, c, starts, scales, rightScales, room := reg.RDX, reg.RSI, reg.RDI, reg.R8, reg.R9, reg.R10, reg.R11
	leftStride, rightStride, ahead := reg.RAX, reg.RBX, reg.R14
	LEAQ(config, reg.RAX)
	loadTileConfig(reg.RAX)
	for i, r := range []reg.Register{a, starts, scales, b, rightScales, room, panels, skipped, blocks} {
		Load(ParamIndex(1+i), r)
	}
	IMUL3Q(U8(tileRows), panels, panels)
	SUBQ(panels, skipped)
	ADDQ(U8(63), room)
	ANDQ(I8(-64), room)
	MOVQ(U32(int8Block), leftStride)
	MOVQ(U32(4*tileCols), rightStride)

	Label("block")
	factors := [cols]reg.VecVirtual{ZMM(), ZMM()}
	for i := range cols {
		loadTile(b, rightStride, 64*i, right[i])
		VMOVUPS(Mem{Base: rightScales, Disp: 64 * i}, factors[i])
	}
	Load(Param("c"), c)
	Load(Param("panels"), panels)
	ADDQ(U32(int8Block*tileCols), b)
	MOVQ(b, ahead)
	Label("panel")
	for i := range int8Block * tileCols / cacheLine / taskPanels {
		PREFETCHT0(Mem{Base: ahead, Disp: cacheLine * i})
	}
	loadTile(a, leftStride, 0, left)
	for i, sum := range sums {
		zeroTile(sum)
		tileDotSignedUnsigned(left, right[i], sum)
	}
	for i, sum := range sums {
		storeTile(sum, room, rightStride, 64*i)
	}
	for r := range tileRows {
		start, scale := ZMM(), ZMM()
		VPBROADCASTD(Mem{Base: starts, Disp: 4 * r}, start)
		VBROADCASTSS(Mem{Base: scales, Disp: 4 * r}, scale)
		for i := range cols {
			sum, offset := ZMM(), 4*r*tileCols+64*i
			VPADDD(Mem{Base: room, Disp: offset}, start, sum)
			VCVTDQ2PS(sum, sum)
			VMULPS(factors[i], sum, sum)
			VMULPS(scale, sum, sum)
			VADDPS(Mem{Base: c, Disp: offset}, sum, sum)
			VMOVUPS(sum, Mem{Base: c, Disp: offset})
		}
	}
	ADDQ(U32(int8Block*tileCols/taskPanels), ahead)
	ADDQ(U32(int8Block*tileRows), a)
	ADDQ(U32(4*tileRows*tileCols), c)
	ADDQ(U8(4*tileRows), starts)
	ADDQ(U8(4*tileRows), scales)
	DECQ(panels)
	JNZ(LabelRef("panel"))
	LEAQ(Mem{Base: starts, Index: skipped, Scale: 4}, starts)
	LEAQ(Mem{Base: scales, Index: skipped, Scale: 4}, scales)
	MOVQ(skipped, panels)
	SHLQ(U8(6), panels) // int8Block
	ADDQ(panels, a)
	ADDQ(U32(4*tileCols), rightScales)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	releaseTiles()
	VZEROUPPER()
	RET()
}
