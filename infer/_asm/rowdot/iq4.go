package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// iq4Constants are those of the types whose weights are one of 16 levels.
type iq4Constants struct {
	iq4, q4 Mem    // the levels of IQ4_NL and IQ4_XS, and of Q4_0, in both halves
	halves  Mem    // shifts of quadwords: none, 4 bits in the upper half
	high2   Mem    // factors that move the pair i of a word's bits to its top
	offset  Mem    // words 32
	word    [8]Mem // shuffles word i into all words
}

func newIQ4Constants() (c iq4Constants) {
	add := table("rowdotIQ4Constants")
	levels := [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	c.iq4 = add(32, func(i int) uint8 { return uint8(levels[i%16]) })
	c.q4 = add(32, func(i int) uint8 { return uint8(i%16 - 8) })
	c.halves = add(32, func(i int) uint8 {
		if i >= 16 && i%8 == 0 {
			return 4
		}
		return 0
	})
	c.high2 = add(16, func(i int) uint8 { return uint8(uint16(1) << (14 - i/2*2) >> (i % 2 * 8)) })
	c.offset = add(16, func(i int) uint8 { return uint8(32 * (1 - i%2)) })
	for s := range c.word {
		c.word[s] = add(32, func(i int) uint8 { return uint8(2*s + i%2) })
	}
	return c
}

// unpack16 returns the levels of 32 weights: the low nibbles of 16 bytes and
// then the high ones.
func unpack16(m Mem, mask, halves, levels reg.VecVirtual) reg.VecVirtual {
	q := YMM()
	VBROADCASTI128(m, q)
	VPSRLVQ(halves, q, q)
	VPAND(mask, q, q)
	VPSHUFB(q, levels, q)
	return q
}

// dotBlocks4 is for blocks of 32 weights with a scale. Like dotQ8_0, it multiplies
// magnitudes.
func dotBlocks4(v isa, c constants, name, typ string, levels, halves Mem) {
	kernel(name, "is DotRows for "+typ+".", v, 8, 18, func(w, x reg.Register, sum reg.VecVirtual) {
		scale, mask, shifts, table := YMM(), load(c.low4), load(halves), load(levels)
		VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
		for b := range 8 {
			weights := unpack16(Mem{Base: w, Disp: 18*b + 2}, mask, shifts, table)
			addBlock(v, c, weights, Mem{Base: x, Disp: 32 * b}, Mem{Base: w, Disp: 18 * b}, scale, sum)
		}
	})
}

// dotIQ4XS multiplies the products of magnitudes with the blocks' scales.
func dotIQ4XS(v isa, c constants, k iq4Constants) {
	kernel("dotIQ4XS", "is DotRows for IQ4_XS.", v, 1, 136, func(w, x reg.Register, sum reg.VecVirtual) {
		// Scales have six bits, offset by 32: the upper two of all eight are a
		// word, the lower four are nibbles.
		scales, low, high := YMM(), GP32(), GP32()
		MOVL(Mem{Base: w, Disp: 4}, low)
		MOVL(low, high)
		ANDL(U32(0x0f0f0f0f), low)
		SHRL(U8(4), high)
		ANDL(U32(0x0f0f0f0f), high)
		nibbles, odd := XMM(), XMM()
		VMOVD(low, nibbles)
		VMOVD(high, odd)
		VPUNPCKLBW(odd, nibbles, nibbles)
		VPMOVZXBW(nibbles, nibbles)
		VPBROADCASTW(Mem{Base: w, Disp: 2}, scales.AsX())
		VPMULLW(k.high2, scales.AsX(), scales.AsX())
		VPSRLW(U8(14), scales.AsX(), scales.AsX())
		VPSLLW(U8(4), scales.AsX(), scales.AsX())
		VPOR(nibbles, scales.AsX(), scales.AsX())
		VPSUBW(k.offset, scales.AsX(), scales.AsX())
		VINSERTI128(U8(1), scales.AsX(), scales, scales)

		mask, shifts, table, products := load(c.low4), load(k.halves), load(k.iq4), zero()
		for s := range 8 {
			weights, values, scale := unpack16(Mem{Base: w, Disp: 8 + 16*s}, mask, shifts, table), load(Mem{Base: x, Disp: 32 * s}), YMM()
			VPSIGNB(weights, values, values)
			VPABSB(weights, weights)
			VPMADDUBSW(values, weights, weights)
			VPSHUFB(k.word[s], scales, scale)
			v.addProducts(weights, scale, products)
		}
		VCVTDQ2PS(products, products)
		d, scale := YMM(), YMM()
		VPBROADCASTW(Mem{Base: w}, d.AsX())
		VCVTPH2PS(d.AsX(), d)
		VBROADCASTSS(Mem{Base: x, Disp: scaleAt}, scale)
		VMULPS(scale, d, d)
		VFMADD231PS(products, d, sum)
	})
}
