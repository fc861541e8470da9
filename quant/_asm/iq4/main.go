// Command iq4 generates the fit of a scale to the levels of IQ4_NL and IQ4_XS,
// and the rounding to them. Run go generate in package quant/internal/kernel.
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
	c := NewConstants()
	l := newLevels(c)
	for _, v := range []ISA{AVX2, AVX512} {
		fit(v, c, l)
		pack(v, l)
	}
	Generate()
}

// size is the number of values in a block.
const size = 32

// levels are iq4Levels of package quant and what finds the nearest of them.
type levels struct {
	level, next  table // by q: of q and of q+1
	above, below table // by q: halfway to the next, and to the one before
	zero, bits   Mem   // bits has the integers 1, 2, 4 and 8, a vector of each
	candidates   Mem   // what the peak goes to: 7 below to 7 above the lowest level
	lowest       Mem
	negligible   Mem
	largest      Mem // the largest float
	order        Mem // puts what AVX2 packs in order
}

// table has 16 floats.
type table struct {
	Mem
	register reg.VecVirtual // the same, where a permutation takes 16
}

func newLevels(c Constants) levels {
	data := GLOBL("levels", RODATA|NOPTR)
	next := 0
	put := func(bits uint32) {
		DATA(next, U32(bits))
		next += 4
	}
	tableOf := func(value func(q int) float64) table {
		at := data.Offset(next)
		for q := range 16 {
			put(math.Float32bits(float32(value(q))))
		}
		return table{Mem: at}
	}
	all := func(bits uint32) Mem {
		at := data.Offset(next)
		for range 16 {
			put(bits)
		}
		return at
	}
	level := [17]float64{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113, math.Inf(1)}
	l := levels{
		zero:  c.Zero,
		level: tableOf(func(q int) float64 { return level[q] }),
		next:  tableOf(func(q int) float64 { return level[q+1] }),
		above: tableOf(func(q int) float64 { return (level[q] + level[q+1]) / 2 }),
		below: tableOf(func(q int) float64 {
			if q == 0 {
				return math.Inf(-1)
			}
			return (level[q-1] + level[q]) / 2
		}),
		candidates: data.Offset(next),
	}
	for step := -7; step <= 7; step++ {
		put(math.Float32bits(float32(step) - 127))
	}
	put(0)
	l.bits = data.Offset(next)
	for b := range 4 {
		all(1 << b)
	}
	l.lowest = all(math.Float32bits(-127))
	l.negligible = all(math.Float32bits(1e-15))
	l.largest = all(math.Float32bits(math.MaxFloat32))
	l.order = data.Offset(next)
	for _, i := range []uint32{0, 4, 1, 5, 0, 0, 0, 0} {
		put(i)
	}
	return l
}

// load puts the tables where lookup wants them.
func (l levels) load(v ISA) levels {
	if v.Masks {
		for _, t := range []*table{&l.level, &l.next, &l.above, &l.below} {
			t.register = v.Load(t.Mem)
		}
	}
	return l
}

// place is an integer q in each lane: index where a permutation takes 16 floats;
// or else its low three bits are in index, and upper is the mask of bit 3.
type place struct {
	index reg.VecVirtual
	upper Op
}

// lookup returns t[q].
func (p place) lookup(v ISA, t table) reg.VecVirtual {
	r := v.Vector()
	if v.Masks {
		VPERMPS(t.register, p.index, r)
		return r
	}
	upper := v.Vector()
	VPERMPS(t.Mem, p.index, r)
	VPERMPS(t.Offset(32), p.index, upper)
	return v.Choose(p.upper, upper, r)
}

// notLess is a predicate of Compare, true for NaN.
const notLess = 0x15

// nearest returns what nearestIQ4 of package quant does. It takes the greatest q
// for which f is not below halfway from the level before. Near that point the
// differences nearestIQ4 compares are exact: the point has no smaller exponent
// than its distance to the two levels.
func (l levels) nearest(v ISA, f Op) place {
	if v.Masks {
		q := v.Load(l.zero)
		for b := 8; b > 0; b /= 2 {
			tried, at := v.Vector(), v.Vector()
			VPADDD(l.bit(b), q, tried)
			VPERMPS(l.below.register, tried, at)
			VMOVDQA32(tried, v.Compare(notLess, f, at), q)
		}
		return place{index: q}
	}
	half := v.Vector()
	VBROADCASTSS(l.below.Offset(4*8), half)
	p := place{upper: v.Compare(notLess, f, half)}
	lower, upper := v.Vector(), v.Vector()
	VBROADCASTSS(l.below.Offset(4*4), lower)
	VBROADCASTSS(l.below.Offset(4*12), upper)
	q := v.Vector()
	VPAND(l.bit(4), v.Compare(notLess, f, v.Choose(p.upper, upper, lower)).(reg.Register), q)
	for b := 2; b > 0; b /= 2 {
		tried := v.Vector()
		VPOR(l.bit(b), q, tried)
		at := place{tried, p.upper}.lookup(v, l.below)
		m := v.Compare(notLess, f, at).(reg.Register)
		VPAND(l.bit(b), m, m)
		VPOR(m, q, q)
	}
	p.index = q
	return p
}

// bit returns a vector of the integers b, one of 1, 2, 4 and 8.
func (l levels) bit(b int) Mem { return l.bits.Offset(64 * (bits.Len(uint(b)) - 1)) }

// apply emits op for a and b, where ops have the right operand first.
func apply(v ISA, op func(...Op), a, b Op) reg.VecVirtual {
	r := v.Vector()
	op(b, a, r)
	return r
}

// fit generates fitIQ4 of package quant with one block per lane.
//
// But for the first, which sends the peak to the other side of zero, the candidate
// scales differ by so little that a value is next to the same level with all of
// them, or to one of two: those around the one point halfway between levels that
// it may pass. From the scale that sends the peak farthest to the one that sends it
// nearest, values shrink to 120/134 of what they were, but of two points on the same
// side of zero the nearer is at most 93.5/115.5 of the other. So all that depends on
// the candidate is on which side of that point a value is, which chooses one of two
// terms for each sum.
func fit(v ISA, c Constants, l levels) {
	Start("fitIQ4", "func(x, importance, variances, scales *float32) (finite bool)",
		fmt.Sprintf("fits %d blocks. Without importance, it needs no variances. If a value is not finite, it stores nothing.", v.Width), v)
	Attributes(0) // the frame is too large for NOSPLIT

	// For each position in the blocks there are six vectors, and then those of
	// what the values are multiplied with, one for each candidate.
	bytes := 4 * v.Width
	const (
		value      = iota
		weight     // then, the point between the levels
		xqLow      // w*x*level of the lower level
		xqHigh     // and of the higher one
		qqLow      // w*level*level
		qqHigh     //
		vectors    //
		point      = weight
		candidates = 15
	)
	const alignment = 64
	frame := AllocLocal((size*vectors+candidates+4)*bytes + alignment)
	work := GP64()
	LEAQ(frame.Offset(alignment-1), work)
	ANDQ(I8(-alignment), work)
	at := func(position reg.Register, vector int) Mem { return Mem{Base: position, Disp: vector * bytes} }
	inverse := func(candidate int) Mem { return Mem{Base: work, Disp: (size*vectors + candidate) * bytes} }
	mirrored, peakSlot, scale, best := inverse(candidates), inverse(candidates+1), inverse(candidates+2), inverse(candidates+3)
	i, left := GP64(), GP64()
	each := func(label string, body func()) {
		MOVQ(work, i)
		MOVQ(U32(size), left)
		Label(label)
		body()
		ADDQ(U32(uint32(vectors*bytes)), i)
		DECQ(left)
		JNE(LabelRef(label))
	}
	stride := GP64()
	MOVQ(U32(4*size), stride)
	toLanes := func(label string, rows reg.Register, vector int) {
		MOVQ(work, i)
		MOVQ(U32(uint32(size/v.Width)), left)
		Label(label)
		Transpose(v, rows, stride, func(column int, values reg.VecVirtual) {
			VMOVUPS(values, at(i, column*vectors+vector))
		})
		ADDQ(U8(uint8(bytes)), rows)
		ADDQ(U32(uint32(v.Width*vectors*bytes)), i)
		DECQ(left)
		JNE(LabelRef(label))
	}
	x, importance := Load(Param("x"), GP64()), Load(Param("importance"), GP64())
	toLanes("transpose", x, value)

	Comment("The values of largest magnitude.")
	peak, largest := v.Load(c.Zero), v.Load(c.Zero)
	magnitude := v.Load(c.Absolute)
	each("extreme", func() {
		x := v.Load(at(i, value))
		a := apply(v, VANDPS, x, magnitude)
		larger := greater(v, a, largest)
		VPMAXSD(a, largest, largest)
		replace(v, larger, x, peak)
	})
	Comment("Leave blocks that have values which are not finite.")
	special, specials := greater(v, largest, v.Load(l.largest)), GP32()
	if v.Masks {
		KMOVW(special, specials)
	} else {
		VMOVMSKPS(special, specials)
	}
	finite := GP8()
	TESTL(specials, specials)
	SETEQ(finite)
	Store(finite, Return("finite"))
	JNE(LabelRef("done"))

	Comment("The weights.")
	TESTQ(importance, importance)
	JNE(LabelRef("weigh"))
	each("squares", func() {
		x := v.Load(at(i, value))
		VMOVUPS(v.Mul(x, x), at(i, weight))
	})
	JMP(LabelRef("weighed"))
	Label("weigh")
	toLanes("transpose_importance", importance, weight)
	variance := v.Load(Mem{Base: Load(Param("variances"), GP64())})
	each("roots", func() {
		x := v.Load(at(i, value))
		root := v.Add(variance, v.Mul(x, x))
		VSQRTPS(root, root)
		VMOVUPS(v.Mul(root, at(i, weight)), at(i, weight))
	})
	Label("weighed")

	Comment("What the candidates multiply values with.")
	VMOVUPS(peak, peakSlot)
	opposite := apply(v, VXORPS, peak, v.Load(c.MinusZero))
	VMOVUPS(v.Div(v.Load(c.One), v.Div(opposite, v.Load(l.lowest))), mirrored)
	for candidate := range candidates {
		to := v.Vector()
		VBROADCASTSS(l.candidates.Offset(4*candidate), to)
		VMOVUPS(v.Div(to, peak), inverse(candidate))
	}

	Comment("The first candidate, and for the others the point that they may move a value over and the terms on either side.")
	{
		l := l.load(v)
		farthest, nearest := v.Load(inverse(0)), v.Load(inverse(candidates-1))
		first := v.Load(mirrored)
		xq, qq := v.Load(c.Zero), v.Load(c.Zero)
		each("terms", func() {
			x, w := v.Load(at(i, value)), v.Load(at(i, weight))
			terms := func(level reg.VecVirtual) (xq, qq reg.VecVirtual) {
				wl := v.Mul(w, level)
				return v.Mul(wl, x), v.Mul(wl, level)
			}
			addXQ, addQQ := terms(l.nearest(v, v.Mul(first, x)).lookup(v, l.level))
			VADDPS(addXQ, xq, xq)
			VADDPS(addQQ, qq, qq)

			f := v.Mul(farthest, x)
			VMINPS(v.Mul(nearest, x), f, f)
			q := l.nearest(v, f)
			low1, low2 := terms(q.lookup(v, l.level))
			VMOVUPS(low1, at(i, xqLow))
			VMOVUPS(low2, at(i, qqLow))
			high1, high2 := terms(q.lookup(v, l.next))
			VMOVUPS(high1, at(i, xqHigh))
			VMOVUPS(high2, at(i, qqHigh))
			VMOVUPS(q.lookup(v, l.above), at(i, point))
		})
		s := v.Load(c.Zero)
		replace(v, v.Compare(Greater, qq, s), v.Div(xq, qq), s)
		VMOVUPS(s, scale)
		VMOVUPS(v.Mul(s, xq), best)
	}

	Comment("The candidates.")
	chosen := v.Vector()
	together := v.Width / 2 // as many as there are registers for
	for from := 0; from < candidates; from += together {
		together := min(together, candidates-from)
		xq, qq := make([]reg.VecVirtual, together), make([]reg.VecVirtual, together)
		for n := range together {
			xq[n], qq[n] = v.Load(c.Zero), v.Load(c.Zero)
		}
		each(fmt.Sprintf("candidates_%d", from), func() {
			x := v.Load(at(i, value))
			xl, xh := v.Load(at(i, xqLow)), v.Load(at(i, xqHigh))
			ql, qh := v.Load(at(i, qqLow)), v.Load(at(i, qqHigh))
			for n := range together {
				higher := v.Compare(notLess, v.Mul(x, inverse(from+n)), at(i, point))
				choose(v, higher, xh, xl, chosen)
				VADDPS(chosen, xq[n], xq[n])
				choose(v, higher, qh, ql, chosen)
				VADDPS(chosen, qq[n], qq[n])
			}
		})
		for n := range together {
			xq, qq := xq[n], qq[n]
			better := v.Compare(Greater, qq, v.Load(c.Zero))
			s := v.Div(xq, qq)
			b := v.Load(best)
			better = both(v, better, v.Compare(Greater, v.Mul(xq, xq), v.Mul(b, qq)))
			VMULPS(s, xq, xq)
			replace(v, better, xq, b)
			VMOVUPS(b, best)
			b = v.Load(scale)
			replace(v, better, s, b)
			VMOVUPS(b, scale)
		}
	}
	negligible := v.Compare(Less, apply(v, VANDPS, v.Load(peakSlot), c.Absolute), v.Load(l.negligible))
	s := v.Load(scale)
	replace(v, negligible, v.Load(c.Zero), s)
	VMOVUPS(s, Mem{Base: Load(Param("scales"), GP64())})
	Label("done")
	VZEROUPPER()
	RET()
}

// choose is Choose into r. To avo, a register that is written under a mask has a
// value before, so it would keep a new one for each use from the start.
func choose(v ISA, mask, yes, no Op, r reg.Register) {
	if v.Masks {
		VBLENDMPS(yes, no, mask, r)
	} else {
		VBLENDVPS(mask, yes, no, r)
	}
}

// replace puts what is new in the lanes of mask into r.
func replace(v ISA, mask, new, r Op) {
	if v.Masks {
		VMOVUPS(new, mask, r)
	} else {
		VBLENDVPS(mask, new, r, r)
	}
}

// greater returns the mask of the lanes where the integer a is above b.
func greater(v ISA, a, b Op) Op {
	if v.Masks {
		k := K()
		VPCMPGTD(b, a, k)
		return k
	}
	return apply(v, VPCMPGTD, a, b)
}

// both returns the lanes that are in both masks.
func both(v ISA, a, b Op) Op {
	if v.Masks {
		k := K()
		KANDW(a, b, k)
		return k
	}
	return apply(v, VANDPS, a, b)
}

// pack generates packIQ4 of package quant, with values side by side in lanes.
func pack(v ISA, l levels) {
	Start("packIQ4", "func(dst *byte, stride int, x, inverses *float32, n int)",
		"packs n blocks into 16 bytes each, which begin stride bytes apart.", v)
	dst, stride := Load(Param("dst"), GP64()), Load(Param("stride"), GP64())
	x, inverses, left := Load(Param("x"), GP64()), Load(Param("inverses"), GP64()), Load(Param("n"), GP64())
	l = l.load(v)
	order := v.Vector()
	if !v.Masks {
		VMOVDQU(l.order, order)
	}
	Label("block")
	inverse := v.Vector()
	VBROADCASTSS(Mem{Base: inverses}, inverse)
	bytes := 4 * v.Width
	level := func(part int) reg.VecVirtual {
		q := l.nearest(v, v.Mul(inverse, Mem{Base: x, Disp: part * bytes}))
		if !v.Masks {
			upper := v.Vector()
			VPAND(l.bit(8), q.upper, upper)
			VPOR(upper, q.index, q.index)
		}
		return q.index
	}
	parts := size / 2 / v.Width // of each half
	var nibbles [2]reg.VecVirtual
	for part := range parts {
		low, high := level(part), level(part+parts)
		VPSLLD(U8(4), high, high)
		if v.Masks {
			VPORD(high, low, low)
		} else {
			VPOR(high, low, low)
		}
		nibbles[part] = low
	}
	if v.Masks {
		VPMOVDB(nibbles[0], Mem{Base: dst})
	} else {
		// Packing keeps to halves of a vector.
		packed := apply(v, VPACKUSDW, nibbles[0], nibbles[1])
		VPACKUSWB(packed, packed, packed)
		VPERMD(packed, order, packed)
		VMOVDQU(packed.AsX(), Mem{Base: dst})
	}
	ADDQ(stride, dst)
	ADDQ(U8(4), inverses)
	SUBQ(I8(-4*size), x)
	DECQ(left)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}
