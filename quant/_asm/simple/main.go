// Command simple generates what makes whole blocks of the types that search for
// nothing. Run go generate in package quant/internal/kernel.
package main

import (
	"fmt"
	"math"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/ggufkit/ggufkit/quant/_asm/vector"
)

func main() {
	ConstraintExpr("amd64,!purego")
	t := newTables()
	for _, v := range []ISA{AVX2, AVX512} {
		k := generator{v, t}
		k.q80()
		k.fromExtreme("quantizeQ40", 18, -1.0/8, 8.5, 15)
		k.fromExtreme("quantizeQ50", 22, -1.0/16, 16.5, 31)
		k.fromLimits("quantizeQ41", 20, 15)
		k.fromLimits("quantizeQ51", 24, 31)
		k.mxfp4()
		k.nvfp4()
		k.f16()
		k.bf16()
		k.signs()
		k.q20()
		k.tq10()
		k.tq20()
	}
	Generate()
}

// generator makes the functions for one instruction set.
type generator struct {
	ISA
	tables
}

// size is the number of values in a block of most types.
const size = 32

// tables has constants, vectors of which are made when they are first asked for.
type tables struct {
	data Mem
	next *int
	all  map[uint32]Mem
	// order puts the groups of four bytes in order that AVX2 packs vectors to.
	order Mem
	// points are those halfway between the first eight of fp4Levels of package
	// quant: by q, below which a magnitude belongs to a lower level.
	points Mem
	// lifted is, by exponent, how many floats next to the following power of two
	// have a logarithm that float32 rounds to that of the power.
	lifted Mem
	// powers are those of 3, from 81 down to 3, four times each.
	powers Mem
	// halves are what halfUE4M3 of package quant returns, but for 0: no magnitude is
	// above infinity.
	halves Mem
}

func newTables() tables {
	t := tables{data: GLOBL("tables", RODATA|NOPTR), next: new(int), all: make(map[uint32]Mem)}
	t.order = t.put(0, 4, 1, 5, 2, 6, 3, 7)
	var points []uint32
	for _, p := range []float32{0, 0.5, 1.5, 2.5, 3.5, 5, 7, 10} {
		points = append(points, math.Float32bits(p))
	}
	t.points = t.put(append(points, points...)...)
	var lifted, halves []uint32
	for exponent := -127; exponent < 128; exponent++ {
		// The logarithm is next to exponent + 1. Each bit of the integer part before
		// it makes float32 coarser there: half a unit in the last place is then 44
		// floats at most, as 64*ln(2) is between 44 and 45.
		integer := max(exponent, -1-exponent)
		lifted = append(lifted, 44>>(7-bits.Len(uint(integer))))
	}
	t.lifted = t.put(lifted...)
	for b := range uint32(120) {
		half := math.Float32bits(float32(b) / 1024)
		if b >= 8 {
			half = (b>>3+127-7-1)<<23 | b&7<<20
		}
		if b == 0 {
			half = math.Float32bits(float32(math.Inf(1)))
		}
		halves = append(halves, half)
	}
	t.halves = t.put(halves...)
	t.powers = t.put(81, 81, 81, 81, 27, 27, 27, 27, 9, 9, 9, 9, 3, 3, 3, 3)
	return t
}

func (t tables) put(values ...uint32) Mem {
	at := t.data.Offset(*t.next)
	for _, value := range values {
		DATA(*t.next, U32(value))
		*t.next += 4
	}
	return at
}

// bits returns a vector of an integer.
func (t tables) bits(b uint32) Mem {
	if _, ok := t.all[b]; !ok {
		values := make([]uint32, 16)
		for i := range values {
			values[i] = b
		}
		t.all[b] = t.put(values...)
	}
	return t.all[b]
}

// float returns a vector of a float.
func (t tables) float(f float64) Mem { return t.bits(math.Float32bits(float32(f))) }

// apply emits op for a and b, where ops have the right operand first.
func (k generator) apply(op func(...Op), a, b Op) reg.VecVirtual {
	r := k.Vector()
	op(b, a, r)
	return r
}

// scalar is apply for the first float of vectors.
func scalar(op func(...Op), a, b Op) reg.VecVirtual {
	r := XMM()
	op(b, a, r)
	return r
}

func (k generator) and(a, b Op) reg.VecVirtual { return k.apply(VANDPS, a, b) }

// everyLane fills a vector with the first float of x.
func (k generator) everyLane(x Op) reg.VecVirtual {
	r := k.Vector()
	VBROADCASTSS(x, r)
	return r
}

// blocks begins a function and calls body, which makes the block at dst of the
// values at x, or jumps to the label done if it cannot, for one after another.
func (k generator) blocks(name, doc string, blockBytes, values int, body func(dst, x reg.Register)) {
	Start(name, "func(dst *byte, x *float32, n int) (done int)", doc, k.ISA)
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	left := GP64()
	MOVQ(n, left)
	TESTQ(left, left)
	JE(LabelRef("done"))
	Label("block")
	body(dst, x)
	ADDQ(U8(uint8(blockBytes)), dst)
	ADDQ(U32(uint32(4*values)), x)
	DECQ(left)
	JNE(LabelRef("block"))
	Label("done")
	SUBQ(left, n)
	Store(n, Return("done"))
	VZEROUPPER()
	RET()
}

// doc is that of a function which stops at values that are not finite.
func doc(what string, values int) string {
	return fmt.Sprintf("makes n blocks of %d values as %s of package quant does, up to one with a value that is not finite, and returns how many.", values,
		what)
}

func (k generator) load(x Mem, values int) []reg.VecVirtual {
	var v []reg.VecVirtual
	for i := 0; i < values; i += k.Width {
		v = append(v, k.Load(x.Offset(4*i)))
	}
	return v
}

func (k generator) each(x []reg.VecVirtual, f func(v reg.VecVirtual) reg.VecVirtual) []reg.VecVirtual {
	y := make([]reg.VecVirtual, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

func (k generator) magnitudes(x []reg.VecVirtual) []reg.VecVirtual {
	mask := k.Load(k.bits(1<<31 - 1))
	return k.each(x, func(v reg.VecVirtual) reg.VecVirtual { return k.and(v, mask) })
}

// reduce combines all lanes of x with op, into each of the first four.
func (k generator) reduce(op func(...Op), x []reg.VecVirtual) reg.VecVirtual {
	for len(x) > 1 {
		half := len(x) / 2
		var y []reg.VecVirtual
		for i := range half {
			y = append(y, k.apply(op, x[i], x[half+i]))
		}
		x = y
	}
	r := x[0]
	if k.Width == 16 {
		upper, both := YMM(), YMM()
		VEXTRACTF64X4(U8(1), r, upper)
		op(upper, r.AsY(), both)
		r = both
	}
	upper := XMM()
	VEXTRACTF128(U8(1), r, upper)
	r = scalar(op, r.AsX(), upper)
	for _, order := range []uint8{0x4e, 0xb1} { // swap halves, swap neighbours
		other := XMM()
		VPSHUFD(U8(order), r, other)
		r = scalar(op, r, other)
	}
	return r
}

// largest returns the largest of magnitudes, and leaves for done if it is not
// finite.
func (k generator) largest(magnitudes []reg.VecVirtual) reg.VecVirtual {
	r := k.reduce(VPMAXSD, magnitudes)
	b := GP32()
	VMOVD(r, b)
	CMPL(b, U32(0x7f800000))
	JGE(LabelRef("done"))
	return r
}

// leaveIfSpecial leaves for done if a value is not finite.
func (k generator) leaveIfSpecial(values []reg.VecVirtual) {
	if k.Masks {
		const notFinite = 0x99 // quiet NaN, infinity, -infinity and signaling NaN
		var special [2]reg.OpmaskVirtual
		for i, v := range values {
			special[i] = K()
			VFPCLASSPSZ(U8(notFinite), v, special[i])
		}
		KORTESTW(special[0], special[1])
	} else {
		m := k.magnitudes(values)
		for _, other := range m[1:] {
			VPMAXSD(other, m[0], m[0])
		}
		VPCMPGTD(k.float(math.MaxFloat32), m[0], m[0])
		lanes := GP32()
		VMOVMSKPS(m[0], lanes)
		TESTL(lanes, lanes)
	}
	JNE(LabelRef("done"))
}

// first returns the index of the first of 32 values that are equal to v, and
// there is one.
func (k generator) first(x []reg.VecVirtual, v reg.VecVirtual) reg.Register {
	v = k.everyLane(v)
	equal := GP32()
	if k.Masks {
		upper := GP32()
		KMOVW(k.Compare(Equal, x[0], v), equal)
		KMOVW(k.Compare(Equal, x[1], v), upper)
		SHLL(U8(16), upper)
		ORL(upper, equal)
	} else {
		masks := k.each(x, func(x reg.VecVirtual) reg.VecVirtual { return k.Compare(Equal, x, v).(reg.VecVirtual) })
		VPMOVMSKB(k.pack(masks, VPACKSSDW, VPACKSSWB), equal)
	}
	index := GP64()
	TZCNTL(equal, index.As32()) // is BSF, which is the same here, where there is no TZCNT
	return index
}

// pack makes bytes of four vectors of AVX2 that ops narrow.
func (k generator) pack(q []reg.VecVirtual, toWords, toBytes func(...Op)) reg.VecVirtual {
	p := k.apply(toBytes, k.apply(toWords, q[0], q[1]), k.apply(toWords, q[2], q[3]))
	VPERMD(p, k.Load(k.order), p)
	return p
}

// putLevels stores 32 integers, which are at most most or, for 0, the least
// integer: the fifth bits, if they have five, and then the low four bits, those of
// the first 16 in the low bits of bytes.
func (k generator) putLevels(q []reg.VecVirtual, at Mem, most uint32) {
	if k.Masks {
		first, second := q[0], q[1]
		if most > 15 {
			fifth := k.Load(k.bits(16))
			for i, q := range q {
				set := K()
				VPTESTMD(fifth, q, set)
				KMOVW(set, at.Offset(2*i))
			}
			at = at.Offset(4)
			first = k.and(first, k.bits(15))
		}
		VPSLLD(U8(4), second, second)
		VPORD(first, second, second)
		VPMOVDB(second, at)
		return
	}
	// What is negative becomes 0.
	all := k.pack(q, VPACKUSDW, VPACKUSWB)
	if most > 15 {
		fifth, bits := k.Vector(), GP32()
		VPSLLW(U8(3), all, fifth)
		VPMOVMSKB(fifth, bits)
		MOVL(bits, at)
		at = at.Offset(4)
		VPAND(k.bits(0x0f0f0f0f), all, all)
	}
	second := XMM()
	VEXTRACTI128(U8(1), all, second)
	VPSLLW(U8(4), second, second)
	VPOR(all.AsX(), second, second)
	VMOVDQU(second, at)
}

// putHalf stores f, rounded.
func putHalf(f reg.VecVirtual, at Mem) {
	half := XMM()
	VCVTPS2PH(U8(0), f, half)
	VPEXTRW(U8(0), half, at)
}

// reciprocal returns 1/d in all lanes, or 0 for 0.
func (k generator) reciprocal(d reg.VecVirtual) reg.VecVirtual {
	one, zero, mask := XMM(), XMM(), XMM()
	VMOVSS(k.float(1), one)
	VXORPS(zero, zero, zero)
	const notEqual = 0x04
	VCMPSS(U8(notEqual), zero, d, mask)
	r := scalar(VDIVSS, one, d)
	VANDPS(mask, r, r)
	return k.everyLane(r)
}

// toInt truncates in place. What is not in the range of integers becomes the
// least integer, the low byte of which is 0 as truncate of package quant has it.
func toInt(v reg.VecVirtual) reg.VecVirtual {
	VCVTTPS2DQ(v, v)
	return v
}

// roundAway has what rounds to the nearest integer, halves away from zero.
type roundAway struct {
	generator
	sign, half reg.VecVirtual
}

func (k generator) newRoundAway() roundAway {
	return roundAway{k, k.Load(k.bits(1 << 31)), k.Load(k.bits(math.Float32bits(0.5) - 1))}
}

// integer rounds f by adding the float just below a half, with the sign of f, and
// then truncating: from 0.5 on, sums that are closer to the next integer than
// floats are to each other round to it.
func (r roundAway) integer(f reg.VecVirtual) reg.VecVirtual {
	h := r.and(f, r.sign)
	VORPS(r.half, h, h)
	return toInt(r.Add(f, h))
}

func (k generator) q80() {
	k.blocks("quantizeQ80", doc("quantizeQ80", size), 34, size, func(dst, x reg.Register) {
		values := k.load(Mem{Base: x}, size)
		d := k.largest(k.magnitudes(values))
		d = scalar(VDIVSS, d, k.float(127))
		putHalf(d, Mem{Base: dst})
		inverse := k.reciprocal(d)
		round := k.newRoundAway()
		q := k.each(values, func(v reg.VecVirtual) reg.VecVirtual { return round.integer(k.Mul(v, inverse)) })
		if k.Masks {
			VPMOVDB(q[0], Mem{Base: dst, Disp: 2})
			VPMOVDB(q[1], Mem{Base: dst, Disp: 18})
			return
		}
		low := k.Load(k.bits(255))
		q = k.each(q, func(v reg.VecVirtual) reg.VecVirtual { return k.and(v, low) })
		VMOVDQU(k.pack(q, VPACKUSDW, VPACKUSWB), Mem{Base: dst, Disp: 2})
	})
}

// fromExtreme generates what has the value of largest magnitude, times factor, as
// its scale, and integers counted from the middle.
func (k generator) fromExtreme(name string, blockBytes int, factor, middle float64, most uint32) {
	k.blocks(name, doc(name, size), blockBytes, size, func(dst, x reg.Register) {
		values := k.load(Mem{Base: x}, size)
		magnitudes := k.magnitudes(values)
		at := k.first(magnitudes, k.largest(magnitudes))
		zero := XMM()
		VXORPS(zero, zero, zero)
		// Adding 0 makes the value 0 in a block of zeros, which may be negative.
		d := scalar(VADDSS, zero, Mem{Base: x, Index: at, Scale: 4})
		VMULSS(k.float(factor), d, d)
		putHalf(d, Mem{Base: dst})
		inverse, shift, limit := k.reciprocal(d), k.Load(k.float(middle)), k.Load(k.bits(most))
		q := k.each(values, func(v reg.VecVirtual) reg.VecVirtual {
			q := toInt(k.Add(k.Mul(v, inverse), shift))
			VPMINSD(limit, q, q)
			return q
		})
		k.putLevels(q, Mem{Base: dst, Disp: 2}, most)
	})
}

// fromLimits generates what spreads the integers over the range of the values.
func (k generator) fromLimits(name string, blockBytes int, most uint32) {
	k.blocks(name, doc(name, size), blockBytes, size, func(dst, x reg.Register) {
		values := k.load(Mem{Base: x}, size)
		k.leaveIfSpecial(values)
		low, greatest := k.reduce(VMINPS, values), k.reduce(VMAXPS, values)
		zero := XMM()
		VXORPS(zero, zero, zero)
		VUCOMISS(zero, low)
		JNE(LabelRef("low"))
		VMOVSS(Mem{Base: x, Index: k.first(values, low), Scale: 4}, low) // for its sign
		Label("low")
		// The difference of zeros is positive where both are the same one.
		d := scalar(VSUBSS, greatest, low)
		VANDPS(k.bits(1<<31-1), d, d)
		VDIVSS(k.float(float64(most)), d, d)
		putHalf(d, Mem{Base: dst})
		putHalf(low, Mem{Base: dst, Disp: 2})
		inverse, half, limit := k.reciprocal(d), k.Load(k.float(0.5)), k.Load(k.bits(most))
		low = k.everyLane(low)
		q := k.each(values, func(v reg.VecVirtual) reg.VecVirtual {
			q := toInt(k.Add(k.Mul(k.Sub(v, low), inverse), half))
			VPMINSD(limit, q, q)
			return q
		})
		k.putLevels(q, Mem{Base: dst, Disp: 4}, most)
	})
}

// fp4 returns, in each lane, what nearestFP4 of package quant does for values of at
// most 18*d, d being the same in all lanes: which points a magnitude is above, and
// the sign if it is above one. The differences nearestFP4 compares are exact where
// they are close, as the greater of two levels is at most twice the lower.
func (k generator) fp4(values, magnitudes []reg.VecVirtual, d reg.VecVirtual) []reg.VecVirtual {
	points := k.Mul(d, k.points)
	bit := func(b uint32) Op {
		if k.Masks {
			return k.Load(k.bits(b))
		}
		return k.bits(b) // there are not enough registers
	}
	bits := []Op{bit(4), bit(2), bit(1)}
	sign, zero := bit(8), bit(0)
	var all []reg.VecVirtual
	for i, m := range magnitudes {
		q := k.Vector()
		VMOVUPS(zero, q)
		for _, b := range bits {
			tried, at := k.Vector(), k.Vector()
			if k.Masks {
				VPADDD(b, q, tried)
				VPERMPS(points, tried, at)
				VMOVDQA32(tried, k.Compare(Greater, m, at), q)
			} else {
				VPOR(b, q, tried)
				VPERMPS(points, tried, at)
				q = k.Choose(k.Compare(Greater, m, at), tried, q)
			}
		}
		s := k.Vector()
		VPSRLD(U8(28), values[i], s)
		if k.Masks {
			above := K()
			VPTESTMD(q, q, above)
			VPANDD(sign, s, s)
			VPORD(s, q, above, q)
		} else {
			VPAND(sign, s, s)
			VPAND(k.apply(VPCMPGTD, q, zero), s, s)
			VPOR(s, q, q)
		}
		all = append(all, q)
	}
	return all
}

// mxfp4 generates quantizeMXFP4. It leaves for done where the exponent of the
// block would be less than 2, unless the block is zero, or more than 252.
func (k generator) mxfp4() {
	k.blocks("quantizeMXFP4", doc("quantizeMXFP4", size)+" It stops at extreme exponents, too.", 17, size, func(dst, x reg.Register) {
		values := k.load(Mem{Base: x}, size)
		magnitudes := k.magnitudes(values)
		largest, exponent, table := GP32(), GP32(), GP64()
		VMOVD(k.largest(magnitudes), largest)
		MOVL(largest, exponent)
		SHRL(U8(23), exponent)
		LEAQ(k.lifted, table)
		MOVL(Mem{Base: table, Index: exponent.As64(), Scale: 4}, exponent)
		ADDL(largest, exponent)
		SHRL(U8(23), exponent)
		SUBL(U8(2), exponent)
		// In a block of zeros, any d will do.
		stored, some := GP32(), GP32()
		MOVL(exponent, stored)
		MOVL(U32(2), some)
		TESTL(largest, largest)
		CMOVLEQ(largest, stored)
		CMOVLEQ(some, exponent)
		MOVB(stored.As8(), Mem{Base: dst})
		SUBL(U8(2), exponent)
		CMPL(exponent, U8(252-2))
		JHI(LabelRef("done"))
		INCL(exponent)
		SHLL(U8(23), exponent)
		d := XMM()
		VMOVD(exponent, d)
		k.putLevels(k.fp4(values, magnitudes, k.everyLane(d)), Mem{Base: dst, Disp: 1}, 15)
	})
}

// nvfp4 generates quantizeNVFP4. It leaves for done where the scale of a
// sub-block would be 256 or more.
func (k generator) nvfp4() {
	const subBlock = 16
	k.blocks("quantizeNVFP4", doc("quantizeNVFP4", 4*subBlock)+" It stops at the largest scale, too.", 36, 4*subBlock, func(dst, x reg.Register) {
		table := GP64()
		LEAQ(k.halves, table)
		for s := range 4 {
			values := k.load(Mem{Base: x, Disp: 4 * s * subBlock}, subBlock)
			magnitudes := k.magnitudes(values)
			f := scalar(VDIVSS, k.largest(magnitudes), k.float(6))
			bits, normal, subnormal, most := GP32(), GP32(), GP32(), GP32()
			VMOVD(f, bits)
			MOVL(bits, normal)
			ADDL(U32(1<<19), normal)
			SHRL(U8(20), normal)
			SUBL(U32((127-7)<<3), normal)
			f = scalar(VMULSS, f, k.float(512))
			VADDSS(k.float(0.5), f, f)
			VCVTTSS2SI(f, subnormal)
			MOVL(U32(7), most)
			CMPL(subnormal, most)
			CMOVLGT(most, subnormal)
			CMPL(bits, U32((127-7+1)<<23))
			CMOVLLT(subnormal, normal)
			CMPL(normal, U8(15<<3))
			JGE(LabelRef("done"))
			MOVB(normal.As8(), Mem{Base: dst, Disp: s})
			d := k.everyLane(Mem{Base: table, Index: normal.As64(), Scale: 4})
			q := k.fp4(values, magnitudes, d)
			low, high := XMM(), XMM()
			if k.Masks {
				VPMOVDB(q[0], low)
				VPSRLDQ(U8(8), low, high)
				VPSLLW(U8(4), high, high)
				VPOR(high, low, low)
			} else {
				VPSLLD(U8(4), q[1], q[1])
				VPOR(q[1], q[0], q[0])
				VEXTRACTI128(U8(1), q[0], high)
				VPACKUSDW(high, q[0].AsX(), low)
				VPACKUSWB(low, low, low)
			}
			VMOVQ(low, Mem{Base: dst, Disp: 4 + 8*s})
		}
	})
}

// chunk is how many values of F16 and BF16 are done at a time.
const chunk = 16

// numbers loads a chunk, and leaves for done if there is a NaN.
func (k generator) numbers(x reg.Register) []reg.VecVirtual {
	values := k.load(Mem{Base: x}, chunk)
	const unordered = 0x03
	if k.Masks {
		nan := k.Compare(unordered, values[0], values[0])
		KORTESTW(nan, nan)
	} else {
		nan, lanes := k.Compare(unordered, values[0], values[1]), GP32()
		VMOVMSKPS(nan, lanes)
		TESTL(lanes, lanes)
	}
	JNE(LabelRef("done"))
	return values
}

func (k generator) f16() {
	k.blocks("quantizeF16", doc("quantizeF16", chunk), 2*chunk, chunk, func(dst, x reg.Register) {
		for i, v := range k.numbers(x) {
			VCVTPS2PH(U8(0), v, Mem{Base: dst, Disp: 2 * k.Width * i})
		}
	})
}

// bf16 generates quantizeBF16. What is added rounds to nearest, ties to even.
func (k generator) bf16() {
	k.blocks("quantizeBF16", doc("quantizeBF16", chunk), 2*chunk, chunk, func(dst, x reg.Register) {
		values := k.numbers(x)
		one, half := k.Load(k.bits(1)), k.Load(k.bits(0x7fff))
		upper := k.each(values, func(v reg.VecVirtual) reg.VecVirtual {
			odd := k.Vector()
			VPSRLD(U8(16), v, odd)
			odd = k.and(odd, one)
			r := k.apply(VPADDD, v, half)
			VPADDD(odd, r, r)
			VPSRLD(U8(16), r, r)
			return r
		})
		if k.Masks {
			VPMOVDW(upper[0], Mem{Base: dst})
			return
		}
		words := k.apply(VPACKUSDW, upper[0], upper[1])
		VPERMQ(U8(0xd8), words, words) // packing keeps to halves of a vector
		VMOVDQU(words, Mem{Base: dst})
	})
}
