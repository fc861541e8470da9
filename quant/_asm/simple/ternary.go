package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// signs generates what has a bit for each value of a Q1_0 block, set if it is not
// negative.
func (k generator) signs() {
	k.blocks("signsQ10", "stores the signs in n blocks of 128 values as quantizeQ10 of package quant does, and returns n.", 18, 128, func(dst, x reg.Register) {
		zero := k.Load(k.bits(0))
		const notLess = 0x1d // false for NaN
		for i := 0; i < 128; i += k.Width {
			at := Mem{Base: dst, Disp: 2 + i/8}
			positive := k.Compare(notLess, k.Load(Mem{Base: x, Disp: 4 * i}), zero)
			if k.Masks {
				KMOVW(positive, at)
			} else {
				bits := GP32()
				VMOVMSKPS(positive, bits)
				MOVB(bits.As8(), at)
			}
		}
	})
}

// ternary has what rounds values to -1, 0 or 1.
type ternary struct {
	roundAway
	inverse, one reg.VecVirtual
}

// newTernary stores the largest magnitude of the values at x at d, and leaves for
// done if it is not finite.
func (k generator) newTernary(x reg.Register, values int, d Mem) ternary {
	mask := k.Load(k.bits(1<<31 - 1))
	largest := []reg.VecVirtual{k.Load(k.bits(0)), k.Load(k.bits(0))} // two chains
	for i := 0; i < values; i += k.Width {
		l := largest[i/k.Width%2]
		VPMAXSD(k.and(mask, Mem{Base: x, Disp: 4 * i}), l, l)
	}
	peak := k.largest(largest)
	putHalf(peak, d)
	return ternary{k.newRoundAway(), k.reciprocal(peak), k.Load(k.bits(1))}
}

// integer returns, counted from -1, the values at x over the largest magnitude.
// Where those are not finite, as with a subnormal one, it is the least integer
// plus 1.
func (t ternary) integer(x Mem) reg.VecVirtual {
	q := t.roundAway.integer(t.Mul(t.inverse, x))
	VPADDD(t.one, q, q)
	return q
}

// putBytes stores the low bytes of integers.
func (k generator) putBytes(q reg.VecVirtual, at Mem) {
	if k.Masks {
		VPMOVDB(q, at)
		return
	}
	VPAND(k.bits(255), q, q)
	upper, low := XMM(), XMM()
	VEXTRACTI128(U8(1), q, upper)
	VPACKUSDW(upper, q.AsX(), low)
	VPACKUSWB(low, low, low)
	VMOVQ(low, at)
}

// q20 generates quantizeQ20.
func (k generator) q20() {
	k.blocks("quantizeQ20", doc("quantizeQ20", 64), 18, 64, func(dst, x reg.Register) {
		t := k.newTernary(x, 64, Mem{Base: dst})
		for half := range 2 {
			var q []reg.VecVirtual
			for i := 0; i < 32; i += k.Width {
				v := t.integer(Mem{Base: x, Disp: 4 * (32*half + i)})
				VPMAXSD(k.bits(0), v, v) // where v is not finite
				q = append(q, v)
			}
			// The bytes of four elements become one, in two steps.
			all, words, quads := YMM(), YMM(), YMM()
			if k.Masks {
				upper := XMM()
				VPMOVDB(q[0], all.AsX())
				VPMOVDB(q[1], upper)
				VINSERTI128(U8(1), upper, all, all)
			} else {
				all = k.pack(q, VPACKUSDW, VPACKUSWB)
			}
			VPMADDUBSW(k.bits(0x04010401), all, words)
			VPMADDWD(k.bits(0x00100001), words, quads)
			at := Mem{Base: dst, Disp: 2 + 8*half}
			if k.Masks {
				VPMOVDB(quads, at)
			} else {
				k.putBytes(quads, at)
			}
		}
	})
}

// tq20 generates quantizeTQ20.
func (k generator) tq20() {
	k.blocks("quantizeTQ20", doc("quantizeTQ20", 256), 66, 256, func(dst, x reg.Register) {
		t := k.newTernary(x, 256, Mem{Base: dst, Disp: 64})
		for half := range 2 {
			for i := 0; i < 32; i += k.Width {
				var sum reg.VecVirtual
				for part := range 4 {
					q := t.integer(Mem{Base: x, Disp: 4 * (128*half + 32*part + i)})
					if part == 0 {
						sum = q
						continue
					}
					VPSLLD(U8(uint8(2*part)), q, q)
					VPADDD(q, sum, sum)
				}
				k.putBytes(sum, Mem{Base: dst, Disp: 32*half + i})
			}
		}
	})
}

// tq10 generates quantizeTQ10.
func (k generator) tq10() {
	k.blocks("quantizeTQ10", doc("quantizeTQ10", 256), 54, 256, func(dst, x reg.Register) {
		t := k.newTernary(x, 256, Mem{Base: dst, Disp: 52})
		for _, run := range []struct{ firstByte, bytes, firstElement int }{{0, 32, 0}, {32, 16, 160}} {
			for i := 0; i < run.bytes; i += k.Width {
				var number reg.VecVirtual
				for digit := range 5 {
					q := t.integer(Mem{Base: x, Disp: 4 * (run.firstElement + digit*run.bytes + i)})
					if digit > 0 {
						twice := k.apply(VPADDD, number, number)
						VPADDD(twice, number, number)
						VPADDD(number, q, q)
					}
					number = q
				}
				k.putBytes(k.fraction(number), Mem{Base: dst, Disp: run.firstByte + i})
			}
		}

		// The last four bytes have four digits, and 0 for the fifth.
		var last []reg.VecVirtual
		for i := 0; i < 16; i += k.Width {
			q := t.integer(Mem{Base: x, Disp: 4 * (240 + i)})
			VPMULLD(k.powers.Offset(4*i), q, q)
			last = append(last, q)
		}
		number := last[0]
		if k.Masks {
			upper, both := YMM(), YMM()
			VEXTRACTI64X4(U8(1), number, upper)
			VPADDD(upper, number.AsY(), both)
			number = both
		} else {
			VPADDD(last[1], number, number)
		}
		upper, all := XMM(), XMM()
		VEXTRACTI128(U8(1), number, upper)
		VPADDD(upper, number.AsX(), all)
		all = k.fraction(all)
		VPAND(k.bits(255), all, all)
		VPACKUSDW(all, all, all)
		VPACKUSWB(all, all, all)
		VMOVD(all, Mem{Base: dst, Disp: 48})
	})
}

// fraction returns the low bytes of numbers, which are less than 243, as fractions
// of 243 in 256ths, rounded up, in the low bytes. Multiplying by 8631 and
// shifting by 16 + 5 divides by 243 for all of them.
func (k generator) fraction(number reg.VecVirtual) reg.VecVirtual {
	VPSLLW(U8(8), number, number)
	VPADDW(k.bits(242), number, number)
	VPMULHUW(k.bits(8631), number, number)
	VPSRLW(U8(5), number, number)
	return number
}
