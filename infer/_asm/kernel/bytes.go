package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Instructions that the Go assembler does not know are emitted as bytes
// (Intel SDM, volume 2, sections 2.3 and 2.7). Their registers have to be
// physical ones. Operands are in Go's order: the destination is the last.

// vexVPDPBUSD is the AVX-VNNI form of VPDPBUSD on 256 bits, where the assembler knows
// only that of AVX-512: VEX.256.66.0F38.W0 50 /r.
func vexVPDPBUSD(signed, unsigned, dst reg.VecPhysical) {
	rm, v, r := index(signed, 32, 16), index(unsigned, 32, 16), index(dst, 32, 16)
	emit("VPDPBUSD "+signed.Asm()+", "+unsigned.Asm()+", "+dst.Asm(),
		0xc4,
		(^r>>3&1)<<7|1<<6|(^rm>>3&1)<<5|0b00010,
		(^v&15)<<3|0b101,
		0x50,
		0b11<<6|(r&7)<<3|rm&7)
}

// dpBF16 is VDPBF16PS on 512 bits: EVEX.512.F3.0F38.W0 52 /r.
func dpBF16(y, x, dst reg.VecPhysical) {
	rm, v, r := index(y, 64, 32), index(x, 64, 32), index(dst, 64, 32)
	emit("VDPBF16PS "+y.Asm()+", "+x.Asm()+", "+dst.Asm(),
		0x62,
		(^r>>3&1)<<7|(^rm>>4&1)<<6|(^rm>>3&1)<<5|(^r>>4&1)<<4|0b0010,
		(^v&15)<<3|0b110,
		0b10<<5|(^v>>4&1)<<3,
		0x52,
		0b11<<6|(r&7)<<3|rm&7)
}

// tileRegister is the number of a register of AMX.
type tileRegister uint8

// loadTileConfig is LDTILECFG: VEX.128.NP.0F38.W0 49 !(11):000:bbb.
func loadTileConfig(at reg.GPPhysical) {
	emit("LDTILECFG ("+at.Asm()+")", 0xc4, extended(0, at), 0b1111<<3, 0x49, 0b01<<6|uint8(at.PhysicalIndex())&7, 0)
}

// releaseTiles is TILERELEASE: VEX.128.NP.0F38.W0 49 C0.
func releaseTiles() { emit("TILERELEASE", 0xc4, 0xe2, 0x78, 0x49, 0xc0) }

// zeroTile is TILEZERO: VEX.128.F2.0F38.W0 49 11:rrr:000.
func zeroTile(t tileRegister) {
	emit(fmt.Sprintf("TILEZERO TMM%d", t), 0xc4, 0xe2, 0b1111<<3|0b11, 0x49, 0b11<<6|uint8(t)<<3)
}

// loadTile is TILELOADD, of rows that are stride apart: VEX.128.F2.0F38.W0 4B !(11):rrr:100.
func loadTile(base, stride reg.GPPhysical, disp int, t tileRegister) {
	emit(fmt.Sprintf("TILELOADD %d(%s)(%s*1), TMM%d", disp, base.Asm(), stride.Asm(), t),
		0xc4, extended(stride.PhysicalIndex(), base), 0b1111<<3|0b11, 0x4b, 0b01<<6|uint8(t)<<3|0b100, sib(base, stride), uint8(disp))
}

// storeTile is TILESTORED: VEX.128.F3.0F38.W0 4B !(11):rrr:100.
func storeTile(t tileRegister, base, stride reg.GPPhysical, disp int) {
	emit(fmt.Sprintf("TILESTORED TMM%d, %d(%s)(%s*1)", t, disp, base.Asm(), stride.Asm()),
		0xc4, extended(stride.PhysicalIndex(), base), 0b1111<<3|0b10, 0x4b, 0b01<<6|uint8(t)<<3|0b100, sib(base, stride), uint8(disp))
}

// tileDotSignedUnsigned is TDPBSUD, which adds the products of signed and unsigned bytes to dst: VEX.128.F3.0F38.W0 5E 11:rrr:bbb.
func tileDotSignedUnsigned(signed, unsigned, dst tileRegister) {
	emit(fmt.Sprintf("TDPBSUD TMM%d, TMM%d, TMM%d", unsigned, signed, dst),
		0xc4, 0xe2, (^uint8(unsigned)&15)<<3|0b10, 0x5e, 0b11<<6|uint8(dst)<<3|uint8(signed))
}

// extended is the second byte of a VEX prefix with map 0F38: the highest bits of an index and a base.
func extended(index reg.Index, base reg.GPPhysical) uint8 {
	return 1<<7 | (^uint8(index)>>3&1)<<6 | (^uint8(base.PhysicalIndex())>>3&1)<<5 | 0b00010
}

// sib is the byte of base + index*1.
func sib(base, index reg.GPPhysical) uint8 {
	return uint8(index.PhysicalIndex())&7<<3 | uint8(base.PhysicalIndex())&7
}

// index returns the number of a register of the given size in bytes.
func index(r reg.VecPhysical, size, count uint) uint8 {
	i := r.PhysicalIndex()
	if r.Size() != size || uint(i) >= count {
		panic("no such operand: " + r.Asm())
	}
	return uint8(i)
}

func emit(mnemonic string, code ...uint8) {
	Comment(mnemonic)
	for _, b := range code {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}})
	}
}

// vectors returns the vector registers of a size in bytes.
func vectors(size uint) []reg.VecPhysical {
	if size == 64 {
		return []reg.VecPhysical{
			reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
			reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
			reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
			reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
		}
	}
	return []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}
}
