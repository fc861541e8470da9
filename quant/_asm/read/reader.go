package main

import (
	"encoding/binary"
	"math"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/ggufkit/ggufkit/quant/_asm/vector"
)

// reader is a function that is being generated. All types but the plain floats
// unpack their integers as bytes, with instructions of AVX2, and leave the rest to
// put.
type reader struct {
	ISA
	*constants
	dst, src reg.GPVirtual
	moved    bool // times has moved dst to the end of the block
}

// in and out are the bytes at an offset of src and the floats from an element of
// dst on.
func (r *reader) in(offset int) Mem   { return Mem{Base: r.src, Disp: offset} }
func (r *reader) out(element int) Mem { return Mem{Base: r.dst, Disp: 4 * element} }

// times makes a block of n parts, which all are what body reads. It moves dst by
// the values of one after each.
func (r *reader) times(n, values int, body func()) {
	count := GP64()
	MOVQ(U32(uint32(n)), count)
	Label("part")
	body()
	ADDQ(U32(uint32(4*values)), r.dst)
	DECQ(count)
	JNE(LabelRef("part"))
	r.moved = true
}

// param returns a register with a parameter.
func param(name string) reg.GPVirtual {
	p := GP64()
	Load(Param(name), p)
	return p
}

// pointer returns a register with the address of m.
func pointer(m Mem) reg.GPVirtual {
	p := GP64()
	LEAQ(m, p)
	return p
}

// half fills a vector with the binary16 number at m.
func (r *reader) half(m Mem) reg.VecVirtual {
	f := r.Vector()
	if r.Masks {
		VPBROADCASTW(m, f.AsY())
		VCVTPH2PS(f.AsY(), f)
	} else {
		VPBROADCASTW(m, f.AsX())
		VCVTPH2PS(f.AsX(), f)
	}
	return f
}

// fill fills a vector with the float at m.
func (r *reader) fill(m Mem) reg.VecVirtual {
	f := r.Vector()
	VBROADCASTSS(m, f)
	return f
}

// leaveSpecial leaves the block, and what comes after it, to generic Go if the
// bits of mask are all set at m, as they are in the exponents of a NaN or an
// infinity: signs that kernels change before they multiply, Go changes after it,
// and what is the sum of two NaN Go leaves open.
func (r *reader) leaveSpecial(m Mem, mask uint32) {
	bits := GP32()
	if mask > 1<<16 {
		MOVL(m, bits)
	} else {
		MOVWLZX(m, bits)
	}
	ANDL(U32(mask), bits)
	CMPL(bits, U32(mask))
	JEQ(LabelRef("done"))
}

// expand converts n signed bytes, which are in memory or at the start of a
// register, to vectors of floats, and gives them to body with the number of their
// first.
func expand(v ISA, levels Op, n int, body func(i int, x reg.VecVirtual)) {
	for i := 0; i < n; i += v.Width {
		x := v.Vector()
		switch m, ok := levels.(Mem); {
		case ok:
			VPMOVSXBD(m.Offset(i), x)
		case i == 0:
			VPMOVSXBD(levels.(reg.VecVirtual).AsX(), x)
		default:
			VPSRLDQ(U8(8), levels.(reg.VecVirtual).AsX(), x.AsX())
			VPMOVSXBD(x.AsX(), x)
		}
		VCVTDQ2PS(x, x)
		body(i, x)
	}
}

// put stores 16 elements, from that with the given number on: levels, which are
// signed bytes, after what then does to them as floats.
func (r *reader) put(element int, levels Op, then func(x reg.VecVirtual)) {
	expand(r.ISA, levels, 16, func(i int, x reg.VecVirtual) {
		then(x)
		VMOVUPS(x, r.out(element+i))
	})
}

// put32 is put for the 32 bytes of levels, with what to do to each half.
func (r *reader) put32(element int, levels reg.VecVirtual, then0, then1 func(x reg.VecVirtual)) {
	r.put(element, levels, then0)
	upper := XMM()
	VEXTRACTI128(U8(1), levels, upper)
	r.put(element+16, upper, then1)
}

// scale and affine are what put does to levels.
func scale(d Op) func(x reg.VecVirtual) {
	return func(x reg.VecVirtual) { VMULPS(d, x, x) }
}

func affine(d, minimum reg.VecVirtual) func(x reg.VecVirtual) {
	return func(x reg.VecVirtual) {
		VMULPS(d, x, x)
		VSUBPS(minimum, x, x)
	}
}

// putScales converts n levels of scales, as expand does, and stores them from m on
// after what then does to them.
func putScales(m Mem, levels Op, n int, then func(x reg.VecVirtual)) {
	expand(AVX2, levels, n, func(i int, x reg.VecVirtual) {
		then(x)
		VMOVUPS(x, m.Offset(4*i))
	})
}

// loadX and loadY load 16 and 32 bytes.
func loadX(m Mem) reg.VecVirtual {
	x := XMM()
	VMOVDQU(m, x)
	return x
}

func loadY(m Mem) reg.VecVirtual {
	y := YMM()
	VMOVDQU(m, y)
	return y
}

// shift shifts the words of x right, or left if n is negative, and keeps the bits
// of mask.
func shift(x reg.VecVirtual, n int, mask Mem) reg.VecVirtual {
	y := YMM()
	switch {
	case n > 0:
		VPSRLW(U8(uint8(n)), x, y)
	case n < 0:
		VPSLLW(U8(uint8(-n)), x, y)
	default:
		VPAND(mask, x, y)
		return y
	}
	VPAND(mask, y, y)
	return y
}

// join returns the 32 bytes of two registers of 16.
func join(low, high reg.VecVirtual) reg.VecVirtual {
	y := YMM()
	VINSERTI128(U8(1), high, low.AsY(), y)
	return y
}

// nibbles returns the low and then the high bits of 16 bytes.
func (r *reader) nibbles(m Mem) reg.VecVirtual {
	low, high := loadX(m), XMM()
	VPSRLW(U8(4), low, high)
	q := join(low, high)
	VPAND(r.same(15), q, q)
	return q
}

// pairs returns the low and the high bits of the bytes, 8 at most, that levels
// starts with, those of each byte side by side.
func (r *reader) pairs(levels reg.VecVirtual) reg.VecVirtual {
	high := XMM()
	VPSRLW(U8(4), levels, high)
	VPUNPCKLBW(high, levels, levels)
	VPAND(r.same(15), levels, levels)
	return levels
}

// bits returns bytes all bits of which are the bits of the uint32 at m.
func (r *reader) bits(m Mem) reg.VecVirtual {
	y := YMM()
	VPBROADCASTD(m, y)
	VPSHUFB(r.bytes(func(i int) int { return i / 8 }), y, y)
	bit := r.bytes(func(i int) int { return 1 << (i % 8) })
	VPAND(bit, y, y)
	VPCMPEQB(bit, y, y)
	return y
}

// lookup returns those of 16 bytes which the bytes of indices say.
func (r *reader) lookup(table [16]int8, indices reg.VecVirtual) reg.VecVirtual {
	y := loadY(r.bytes(func(i int) int { return int(table[i%16]) }))
	VPSHUFB(indices, y, y)
	return y
}

// fields returns the eight fields of the uint32 at m that are shifts from its
// lowest bit, with the bits of mask.
func (r *reader) fields(m Mem, shifts func(lane int) int, mask uint32) reg.VecVirtual {
	y := YMM()
	VPBROADCASTD(m, y)
	VPSRLVD(r.words(func(lane int) uint32 { return uint32(shifts(lane)) }), y, y)
	VPAND(r.words(func(int) uint32 { return mask }), y, y)
	return y
}

// constants are 32 bytes each, but for a table.
type constants struct {
	table Mem
	at    map[[32]byte]Mem
	// evenSigns has the signs of eight elements, -1 or 1, by the first seven as
	// bits, the number of the negative ones being even.
	evenSigns Mem
}

func newConstants() *constants {
	c := &constants{at: make(map[[32]byte]Mem)}
	c.evenSigns = GLOBL("evenSigns", RODATA|NOPTR)
	for i := range 128 {
		negative := i | bits.OnesCount(uint(i))%2<<7
		var signs [8]byte
		for j := range signs {
			signs[j] = byte(1 - negative>>j&1*2)
		}
		DATA(8*i, U64(binary.LittleEndian.Uint64(signs[:])))
	}
	c.table = GLOBL("readConstants", RODATA|NOPTR)
	return c
}

func (c *constants) add(b [32]byte) Mem {
	if m, ok := c.at[b]; ok {
		return m
	}
	start := 32 * len(c.at)
	for i := 0; i < 32; i += 8 {
		DATA(start+i, U64(binary.LittleEndian.Uint64(b[i:])))
	}
	c.at[b] = c.table.Offset(start)
	return c.at[b]
}

// bytes returns a constant by its bytes.
func (c *constants) bytes(value func(i int) int) Mem {
	var b [32]byte
	for i := range b {
		b[i] = byte(value(i))
	}
	return c.add(b)
}

// same returns a constant of equal bytes.
func (c *constants) same(value int) Mem { return c.bytes(func(int) int { return value }) }

// words returns a constant by its uint32 numbers.
func (c *constants) words(value func(lane int) uint32) Mem {
	var b [32]byte
	for lane := range 8 {
		binary.LittleEndian.PutUint32(b[4*lane:], value(lane))
	}
	return c.add(b)
}

// float returns a constant of equal floats.
func (c *constants) float(f float32) Mem {
	return c.words(func(int) uint32 { return math.Float32bits(f) })
}
