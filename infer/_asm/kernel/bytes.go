package main

import (
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
