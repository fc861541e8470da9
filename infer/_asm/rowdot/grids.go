package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The types whose weights are points of a grid, by eights or fours, with signs or a delta.

// What levels are worth, as in package quant.
func iq2Value(level int) int    { return []int{8, 25, 43, 0}[min(level, 3)] }
func iq3XXSValue(level int) int { return []int{4, 12, 20, 28, 36, 44, 52, 62}[level%8] }
func iq3SValue(level int) int   { return 2*level%16 + 1 }

// grid is a super-block of 256 weights under way, part by part: of 64 weights with AVX-512, else of 32.
type grid struct {
	isa
	w, x, room reg.Register // room is what prepare filled
	points     reg.Register
	part       int
	vector     func() reg.VecVirtual // of as many bytes
	zero       reg.VecVirtual
	element    [3]reg.Register // with AVX-512: masks of the second to fourth
	products   reg.VecVirtual
}

// newGrid loads what all super-blocks need.
func (v isa) newGrid(w, room reg.Register) *grid {
	g := &grid{isa: v, w: w, room: room, points: Load(Param("points"), GP64()), part: 32, vector: func() reg.VecVirtual { return YMM() }}
	if !v.vnni {
		return g
	}
	g.part, g.vector, g.zero = 64, func() reg.VecVirtual { return ZMM() }, ZMM()
	VPXORD(g.zero, g.zero, g.zero)
	for i := range g.element {
		g.element[i] = K()
		mask := GP32()
		MOVL(U32(2<<i), mask)
		KMOVW(mask, g.element[i])
	}
	return g
}

// start starts a super-block.
func (g *grid) start(x reg.Register) {
	g.x = x
	if !g.vnni {
		g.products = zero()
		return
	}
	g.products = ZMM()
	VPXORD(g.products, g.products, g.products)
}

// each emits body for each part.
func (g *grid) each(body func(part int)) {
	for part := range 256 / g.part {
		body(part)
	}
}

// constant returns one by the bytes of a part.
func (g *grid) constant(value func(i int) int) Mem { return g.add(g.part, value) }

// gather returns the levels of the points of a part, dim each, whose numbers are in memory, in one byte or two.
func (g *grid) gather(part, dim int, number func(i int) Mem, bytes int) reg.VecVirtual {
	next := part * g.part / dim
	point := func() Mem {
		n := GP32()
		if bytes == 1 {
			MOVBLZX(number(next), n)
		} else {
			MOVWLZX(number(next), n)
		}
		next++
		return Mem{Base: g.points, Index: n.As64(), Scale: uint8(dim)}
	}
	// four returns four points, with AVX-512.
	four := func() reg.VecVirtual {
		q, broadcast := XMM(), VPBROADCASTD
		if dim == 8 {
			q, broadcast = YMM(), VPBROADCASTQ
		}
		broadcast(point(), q)
		for _, mask := range g.element {
			broadcast(point(), mask, q)
		}
		return q
	}
	sixteen := func() reg.VecVirtual {
		q := XMM()
		if dim == 8 {
			VMOVQ(point(), q)
			VPINSRQ(U8(1), point(), q, q)
			return q
		}
		VMOVD(point(), q)
		for i := range 3 {
			VPINSRD(U8(uint8(i+1)), point(), q, q)
		}
		return q
	}
	join := func(low, high reg.VecVirtual) reg.VecVirtual {
		q := YMM()
		VINSERTI128(U8(1), high, low.AsY(), q)
		return q
	}
	switch {
	case !g.vnni:
		return join(sixteen(), sixteen())
	case dim == 8:
		return g.double(four(), four())
	}
	return g.double(join(four(), four()), join(four(), four()))
}

// number returns where prepare put one, signs where it put these.
func (g *grid) number(i int) Mem { return Mem{Base: g.room, Disp: numbersAt + 2*i} }
func (g *grid) signs() Mem       { return Mem{Base: g.room, Disp: signsAt} }

// double returns 64 bytes.
func (g *grid) double(low, high reg.VecVirtual) reg.VecVirtual {
	q := ZMM()
	VINSERTI64X4(U8(1), high, low.AsZ(), q)
	return q
}

// Where kernels with a grid have the numbers of points, in words, and the signs of a super-block, in roomBytes.
const (
	numbersAt = 0
	signsAt   = 128
	roomBytes = 160
)

// putNumbers stores n numbers of points, in words: the bytes from low on and, above these, so many bits each of what is
// from high on, with no bit between them.
func (v isa) putNumbers(room reg.Register, n int, low, high Mem, bits int) {
	for i := range n / 16 {
		v.putSixteen(room, i, low, high.Offset(2*bits*i), v.pickBytes(func(i int) int { return i * bits / 8 }), func(i int) int { return i * bits % 8 }, bits)
	}
}

// putSixteen stores the sixteen with number i: pick shuffles to each its part of the eight bytes at high, which has
// its bits from a certain one on.
func (v isa) putSixteen(room reg.Register, i int, low, high, pick Mem, from func(i int) int, bits int) {
	number, upper := YMM(), YMM()
	VPMOVZXBW(low.Offset(16*i), number)
	VPBROADCASTQ(high, upper)
	VPSHUFB(pick, upper, upper)
	upper = v.fields(upper, from, bits)
	VPSLLW(U8(8), upper, upper)
	VPOR(upper, number, number)
	VMOVDQU(number, Mem{Base: room, Disp: numbersAt + 32*i})
}

// fields returns the words of x, each from the given bit on, with so many bits.
func (v isa) fields(x reg.VecVirtual, from func(i int) int, bits int) reg.VecVirtual {
	r := YMM()
	VPMULLW(v.words(func(i int) int { return 1 << (16 - bits - from(i)) }), x, r)
	VPSRLW(U8(uint8(16-bits)), r, r)
	return r
}

// worth returns what levels are worth.
func (g *grid) worth(value func(level int) int, levels reg.VecVirtual) reg.VecVirtual {
	q := g.vector()
	VPSHUFB(levels, g.table(value), q)
	return q
}

// table returns a constant of 16 bytes, in each quarter of a vector.
func (g *grid) table(value func(i int) int) reg.VecVirtual {
	m := g.constant(func(i int) int { return value(i % 16) })
	r, ok := g.registers[m]
	if !ok {
		if r = g.vector(); g.vnni {
			VMOVDQU64(m, r)
		} else {
			VMOVDQU(m, r)
		}
		g.registers[m] = r
	}
	return r
}

// values returns those of a part, with the signs changed whose bits, one after another in memory, are set.
func (g *grid) values(part int, signs Mem) reg.VecVirtual {
	m, x := Mem{Base: g.x, Disp: g.part * part}, g.vector()
	signs = signs.Offset(g.part / 8 * part)
	if g.vnni {
		k := K()
		KMOVQ(signs, k)
		VMOVDQU64(m, x)
		VPSUBB(x, g.zero, k, x)
		return x
	}
	negative := g.bits(signs)
	VPOR(g.same(1), negative, negative)
	VMOVDQU(m, x)
	VPSIGNB(negative, x, x)
	return x
}

// putSigns stores bytes of seven signs each, with an eighth that makes the number of those that are set even.
func (v isa) putSigns(room reg.Register, sevens reg.VecVirtual) {
	folded, odd := YMM(), YMM()
	VPSRLW(U8(4), sevens, folded)
	VPXOR(sevens, folded, folded)
	VPAND(v.same(15), folded, folded)
	VPSHUFB(folded, v.register(v.bytes(func(i int) int { return bits.OnesCount(uint(i%16)) % 2 * 128 })), odd)
	VPOR(sevens, odd, odd)
	VMOVDQU(odd, Mem{Base: room, Disp: signsAt})
}

// putSignsOf does that for the signs in eight words, four times seven each.
func (v isa) putSignsOf(room reg.Register, words reg.VecVirtual) {
	sevens := zero()
	for i := range 4 {
		part := YMM()
		VPSLLD(U8(uint8(i)), words, part)
		VPAND(v.doublewords(func(int) int { return 127 << (8 * i) }), part, part)
		VPOR(part, sevens, sevens)
	}
	v.putSigns(room, sevens)
}

// topScales returns the scales that are the four highest bits of eight words.
func (g *grid) topScales(words reg.VecVirtual) reg.VecVirtual {
	low, high := YMM(), YMM()
	VPSRLD(U8(28), words, low)
	VPSLLD(U8(16), low, high)
	VPOR(high, low, low)
	return g.scales(g.odd(low))
}

// odd returns words times two plus one.
func (v isa) odd(words reg.VecVirtual) reg.VecVirtual {
	VPADDW(words, words, words)
	VPADDW(v.sameWords(1), words, words)
	return words
}

// scales returns sixteen words, for 16 weights each, as bytes in each quarter of a vector.
func (g *grid) scales(words reg.VecVirtual) reg.VecVirtual {
	bytes := YMM()
	VPACKUSWB(words, words, bytes)
	VPERMQ(U8(0b10_00_10_00), bytes, bytes)
	if g.vnni {
		return g.double(bytes, bytes)
	}
	return bytes
}

// nibbleScales returns the scales that are nibbles from m on.
func (g *grid) nibbleScales(m Mem) reg.VecVirtual {
	low, high, words := XMM(), XMM(), YMM()
	VMOVQ(m, low)
	VPSRLW(U8(4), low, high)
	VPUNPCKLBW(high, low, low)
	VPAND(g.same(15), low, low)
	VPMOVZXBW(low, words)
	return g.scales(g.odd(words))
}

// multiply adds the products of a part's integers and values, with their scales.
func (g *grid) multiply(part int, q reg.VecVirtual, values Op, scales reg.VecVirtual) {
	words, scale := g.vector(), g.vector()
	VPMADDUBSW(values, q, words)
	VPSHUFB(g.constant(func(i int) int { return g.part/16*part + i/16 + i%2*0x80 }), scales, scale)
	g.addProducts(words, scale, g.products)
}

// sum returns the sum so far as eight integers.
func (g *grid) sum() reg.VecVirtual {
	if !g.vnni {
		return g.products
	}
	high := YMM()
	VEXTRACTI64X4(U8(1), g.products, high)
	VPADDD(high, g.products.AsY(), high)
	return high
}

// gridType is a type with a grid.
type gridType struct {
	name  string
	bytes int
	// prepare fills a room with what is read again in small pieces, one super-block ahead: the processor
	// would wait for what it has just written.
	prepare func(w, room reg.Register)
	dot     func(g *grid, sum reg.VecVirtual)
}

func (v isa) gridTypes() []gridType {
	return []gridType{
		{"IQ1_S", 50, v.prepareIQ1S, (*grid).dotIQ1S},
		{"IQ1_M", 56, v.prepareIQ1M, (*grid).dotIQ1M},
		{"IQ2_XXS", 66, v.prepareIQ2XXS, (*grid).dotIQ2XXS},
		{"IQ2_XS", 74, v.prepareIQ2XS, (*grid).dotIQ2XS},
		{"IQ2_S", 82, v.prepareIQ2S, (*grid).dotIQ2S},
		{"IQ3_XXS", 98, v.prepareIQ3XXS, (*grid).dotIQ3XXS},
		{"IQ3_S", 110, v.prepareIQ3S, (*grid).dotIQ3S},
	}
}

// wordsIQ2XXS returns the words with signs and scales, which are every other one.
func wordsIQ2XXS(w reg.Register) reg.VecVirtual {
	words := YMM()
	VSHUFPS(U8(0b11_01_11_01), load(Mem{Base: w, Disp: 34}), load(Mem{Base: w, Disp: 2}), words)
	VPERMQ(U8(0b11_01_10_00), words, words)
	return words
}

func (v isa) prepareIQ2XXS(w, room reg.Register) { v.putSignsOf(room, wordsIQ2XXS(w)) }

func (g *grid) dotIQ2XXS(sum reg.VecVirtual) {
	scales := g.topScales(wordsIQ2XXS(g.w))
	g.each(func(part int) {
		q := g.gather(part, 8, func(i int) Mem { return Mem{Base: g.w, Disp: 2 + i/4*8 + i%4} }, 1)
		g.multiply(part, g.worth(iq2Value, q), g.values(part, g.signs()), scales)
	})
	g.addFactor(Mem{Base: g.w}, 1./8, g.x, g.sum(), sum)
}

func (v isa) prepareIQ2XS(w, room reg.Register) {
	sevens := [2]reg.VecVirtual{}
	for i := range sevens {
		words, low := load(Mem{Base: w, Disp: 2 + 32*i}), YMM()
		VPAND(v.sameWords(511), words, low)
		VMOVDQU(low, Mem{Base: room, Disp: numbersAt + 32*i})
		VPSRLW(U8(9), words, words)
		sevens[i] = words
	}
	VPACKUSWB(sevens[1], sevens[0], sevens[0])
	VPERMQ(U8(0b11_01_10_00), sevens[0], sevens[0])
	v.putSigns(room, sevens[0])
}

func (g *grid) dotIQ2XS(sum reg.VecVirtual) {
	scales := g.nibbleScales(Mem{Base: g.w, Disp: 66})
	g.each(func(part int) {
		g.multiply(part, g.worth(iq2Value, g.gather(part, 8, g.number, 2)), g.values(part, g.signs()), scales)
	})
	g.addFactor(Mem{Base: g.w}, 1./8, g.x, g.sum(), sum)
}

func (v isa) prepareIQ2S(w, room reg.Register) {
	v.putNumbers(room, 32, Mem{Base: w, Disp: 2}, Mem{Base: w, Disp: 66}, 2)
}

func (g *grid) dotIQ2S(sum reg.VecVirtual) {
	scales := g.nibbleScales(Mem{Base: g.w, Disp: 74})
	g.each(func(part int) {
		g.multiply(part, g.worth(iq2Value, g.gather(part, 8, g.number, 2)), g.values(part, Mem{Base: g.w, Disp: 34}), scales)
	})
	g.addFactor(Mem{Base: g.w}, 1./8, g.x, g.sum(), sum)
}

func (v isa) prepareIQ3XXS(w, room reg.Register) { v.putSignsOf(room, load(Mem{Base: w, Disp: 66})) }

func (g *grid) dotIQ3XXS(sum reg.VecVirtual) {
	scales := g.topScales(load(Mem{Base: g.w, Disp: 66}))
	g.each(func(part int) {
		q := g.gather(part, 4, func(i int) Mem { return Mem{Base: g.w, Disp: 2 + i} }, 1)
		g.multiply(part, g.worth(iq3XXSValue, q), g.values(part, g.signs()), scales)
	})
	g.addFactor(Mem{Base: g.w}, 1./4, g.x, g.sum(), sum)
}

func (v isa) prepareIQ3S(w, room reg.Register) {
	v.putNumbers(room, 64, Mem{Base: w, Disp: 2}, Mem{Base: w, Disp: 66}, 1)
}

func (g *grid) dotIQ3S(sum reg.VecVirtual) {
	// Each nibble twice, in words.
	words := YMM()
	VPBROADCASTD(Mem{Base: g.w, Disp: 106}, words)
	VPSHUFB(g.pickBytes(func(i int) int { return i / 4 }), words, words)
	VPSRLVD(g.doublewords(func(i int) int { return i % 2 * 4 }), words, words)
	VPAND(g.sameWords(15), words, words)
	scales := g.scales(g.odd(words))
	g.each(func(part int) {
		g.multiply(part, g.worth(iq3SValue, g.gather(part, 4, g.number, 2)), g.values(part, Mem{Base: g.w, Disp: 74}), scales)
	})
	g.addFactor(Mem{Base: g.w}, 1, g.x, g.sum(), sum)
}

func (v isa) prepareIQ1S(w, room reg.Register) {
	for i := range 2 { // bits 8 to 10 of four numbers are in one word
		v.putSixteen(room, i, Mem{Base: w, Disp: 2}, Mem{Base: w, Disp: 34 + 8*i},
			v.pick(func(i int) int { return i / 4 % 4 }), func(i int) int { return i % 4 * 3 }, 3)
	}
}

// dotIQ1S multiplies with levels from 0. A weight is eight times its level less 7, or 9 where the
// delta is negative, times an eighth of the scale.
func (g *grid) dotIQ1S(sum reg.VecVirtual) {
	words, less := YMM(), YMM()
	VBROADCASTI128(Mem{Base: g.w, Disp: 34}, words)
	VPSHUFB(g.pick(func(i int) int { return i / 2 }), words, words) // each twice
	odd := g.odd(g.fields(words, func(int) int { return 12 }, 3))
	VPSRAW(U8(15), words, less)
	VPADDW(less, less, less)
	VPSUBW(less, g.register(g.sameWords(7)), less)
	VPMULLW(odd, less, less)
	VPMADDWD(Mem{Base: g.x, Disp: sumsAt}, less, less)
	scales := g.scales(odd)
	g.each(func(part int) {
		g.multiply(part, g.gather(part, 8, g.number, 2), Mem{Base: g.x, Disp: g.part * part}, scales)
	})
	products := g.sum()
	VPSLLD(U8(3), products, products)
	VPSUBD(less, products, products)
	g.addFactor(Mem{Base: g.w}, 1./8, g.x, products, sum)
}

func (v isa) prepareIQ1M(w, room reg.Register) {
	for i := range 2 { // bits 8 to 10 of two numbers are in one byte, with the signs of their deltas
		v.putSixteen(room, i, Mem{Base: w}, Mem{Base: w, Disp: 32 + 8*i},
			v.pickBytes(func(i int) int { return i / 2 }), func(i int) int { return i % 2 * 4 }, 3)
	}
}

// dotIQ1M does the same with a delta for eight weights: it multiplies with eight times the level,
// plus 2 where the delta is positive, and takes off nine times the values.
func (g *grid) dotIQ1M(sum reg.VecVirtual) {
	words, offset := YMM(), YMM()
	VPBROADCASTQ(Mem{Base: g.w, Disp: 48}, words)
	VPSHUFB(g.pick(func(i int) int { return i / 4 }), words, words) // each for four scales of three bits
	odd := g.odd(g.fields(words, func(i int) int { return i % 4 * 3 }, 3))
	VPMULLW(g.sameWords(9), odd, offset)
	VPMADDWD(Mem{Base: g.x, Disp: sumsAt}, offset, offset)
	scales := g.scales(odd)
	g.each(func(part int) {
		q := g.gather(part, 8, g.number, 2)
		VPSLLW(U8(3), q, q)
		g.addDelta(part, Mem{Base: g.w, Disp: 32}, q)
		g.multiply(part, q, Mem{Base: g.x, Disp: g.part * part}, scales)
	})
	products := g.sum()
	VPSUBD(offset, products, products)
	// The scale of all is the highest four bits of four words.
	bits, half, d := GP64(), GP64(), YMM()
	MOVQ(Mem{Base: g.w, Disp: 48}, bits)
	XORL(half.As32(), half.As32())
	for i := range 4 {
		part := GP64()
		MOVQ(bits, part)
		SHRQ(U8(uint8(12*(i+1))), part)
		ANDL(U32(15<<(4*i)), part.As32())
		ORL(part.As32(), half.As32())
	}
	VMOVD(half.As32(), d.AsX())
	VPBROADCASTW(d.AsX(), d.AsX())
	g.addScaled(d, 1./8, g.x, products, sum)
}

// addDelta adds 2 to the integers whose delta is positive: where bit 3 of their nibble at m is not set, which is
// for eight of them.
func (g *grid) addDelta(part int, m Mem, q reg.VecVirtual) {
	delta := g.vector()
	if m = m.Offset(g.part / 16 * part); g.vnni {
		VPBROADCASTD(m, delta)
	} else {
		VPBROADCASTW(m, delta)
	}
	VPSHUFB(g.constant(func(i int) int { return i / 16 }), delta, delta)
	negative := g.constant(func(i int) int { return 8 << (i / 8 % 2 * 4) })
	if g.vnni {
		positive := K()
		VPTESTNMB(negative, delta, positive)
		VPADDB(g.constant(func(int) int { return 2 }), q, positive, q)
		return
	}
	bit := g.register(negative)
	VPAND(bit, delta, delta)
	VPCMPEQB(bit, delta, delta)
	VPANDN(g.same(2), delta, delta)
	VPOR(delta, q, q)
}
