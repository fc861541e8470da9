// Command affine generates the fits of scale and minimum. Run go generate in
// package quant/internal/kernel.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/ggufkit/ggufkit/quant/_asm/vector"
)

func main() {
	ConstraintExpr("amd64,!purego")
	c := NewConstants()
	limit, half := ConstData("limit", F32(1<<22)), ConstData("half", F32(0.5))
	for _, v := range []ISA{AVX2, AVX512} {
		fitAffine(v, c, limit, half)
		roundAffine(v, c)
	}
	positiveErrors(AVX2, c)
	Generate()
}

// groups is how many vectors of sub-blocks are fitted together. The CPU is with one
// while the divisions between the passes over another are under way.
const groups = 2

// maxSize is the largest number of values in a sub-block.
const maxSize = 32

// fit is a version of fitAffine being generated: where it has what.
type fit struct {
	ISA
	Constants
	limit, half Mem           // 2^22 and 0.5
	work        reg.GPVirtual // the memory that place and state share out
	i           reg.GPVirtual // bytes from the first place in the sub-blocks
	end         reg.GPVirtual // of i
	turn        int           // the place in a turn of a loop
}

func (f *fit) bytes() int { return 4 * f.Width }

// Arrays of the work memory with a vector for each place in the sub-blocks of a
// group. They begin at different places in their pages, such that a store to one
// does not look like one to another.
const (
	values = iota
	weights
	levels
	arrays
)

// place is the vector of place i.
func (f *fit) place(array, group int) Mem {
	return Mem{Base: f.work, Index: f.i, Scale: 1, Disp: f.array(array) + (group*maxSize+f.turn)*f.bytes()}
}

func (f *fit) array(array int) int { return array * (groups*maxSize*f.bytes() + 256) }

// State of the lanes, a vector for each group: those of all groups are side by
// side.
const (
	first = iota // the least value, or 0 if that is greater
	high
	sumW
	sumX
	best
	scale
	low
	usedInverse // what made the integers of the best fit
	usedLow
	triedInverse
	leastQuotient
	highQuotient
	determinants
	largest // the largest integer
	stateCount
)

func (f *fit) state(state, group int) Mem {
	return Mem{Base: f.work, Disp: f.array(arrays) + (groups*state+group)*f.bytes()}
}

// unrolled is how many places a turn of a loop does.
const unrolled = 4

// each emits a loop over the places.
func (f *fit) each(label string, body func()) {
	XORQ(f.i, f.i)
	Label(label)
	for f.turn = range unrolled {
		body()
	}
	f.turn = 0
	f.next(label)
}

func (f *fit) next(label string) {
	ADDQ(U32(uint32(unrolled*f.bytes())), f.i)
	CMPQ(f.i, f.end)
	JLT(LabelRef(label))
}

// cell is a vector on its way through a turn of a loop.
type cell struct{ r, wl reg.VecVirtual }

// eachAtOnce emits a loop over the places. It does each step for all places of a
// turn before the next one, such that steps do not wait for the one before.
func (f *fit) eachAtOnce(label string, steps ...func(c *cell)) {
	XORQ(f.i, f.i)
	Label(label)
	var cells [unrolled]cell
	for _, step := range steps {
		for f.turn = range cells {
			step(&cells[f.turn])
		}
	}
	f.turn = 0
	f.next(label)
}

// unlessAll jumps to label if mask does not have all lanes.
func (f *fit) unlessAll(mask Op, label string) {
	if f.Masks {
		KORTESTW(mask, mask)
		JCC(LabelRef(label))
		return
	}
	bits := GP32()
	VMOVMSKPS(mask, bits)
	CMPL(bits, U8(0xff))
	JNE(LabelRef(label))
}

// parameter fills a vector with a float.
func parameter(v ISA, name string) reg.VecVirtual {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return broadcast(v, p.Addr)
}

func broadcast(v ISA, m Mem) reg.VecVirtual {
	r := v.Vector()
	VBROADCASTSS(m, r)
	return r
}

// weighings of package kernel.
const (
	byMagnitude = iota
	byRMS
	byImportance
)

// fitAffine generates fitAffine of package quant with one sub-block per lane.
//
// It differs in what it remembers of the best fit: not the integers but what
// they were rounded with, from which it makes them again at the end. Lanes
// whose values are all the same start with an error that nothing can beat, a
// scale of 0, and a limit that makes their integers 0.
func fitAffine(v ISA, c Constants, limit, half Mem) {
	lanes := groups * v.Width
	f := &fit{ISA: v, Constants: c, limit: limit, half: half, work: GP64(), i: GP64(), end: GP64()}
	bytes := f.array(arrays) + stateCount*groups*f.bytes() + 63
	Start("fitAffine", "func(q *uint8, x, importance, variances *float32, size int, scales, minima, sums, work *float32, n, first, step float32, steps, "+
		"absolute, weighing int) bool",
		fmt.Sprintf("fits %d sub-blocks of size values, 16 or 32. It does steps+1 fits after the first. work has room for %d bytes. It reports false, and "+
			"what it stored means nothing, where a value is not finite or a quotient too large for nearestInt.", lanes, bytes), v)
	Load(Param("work"), f.work)
	ADDQ(U8(63), f.work)
	ANDQ(I8(-64), f.work)
	Load(Param("size"), f.end)
	IMUL3Q(U32(uint32(f.bytes())), f.end, f.end)

	f.transpose("values", values, Load(Param("x"), GP64()))
	weighing := Load(Param("weighing"), GP64())
	CMPQ(weighing, U8(byImportance))
	JNE(LabelRef("weigh"))
	f.transpose("importances", weights, Load(Param("importance"), GP64()))

	Label("weigh")
	for g := range groups {
		f.weigh(weighing, g)
	}
	for g := range groups {
		f.limits(g)
	}
	VMOVUPS(parameter(v, "n"), f.state(largest, 0))
	for g := range groups {
		f.firstFit(g)
	}

	Comment("The other fits.")
	var lowest [groups]reg.VecVirtual
	for g := range groups {
		lowest[g] = f.Load(f.state(low, g))
	}
	left, tried := Load(Param("steps"), GP64()), GP64()
	XORQ(tried, tried)
	Label("step")
	Comment("The range of the values is spread over n + first + step*tried levels.")
	number := XMM()
	VXORPS(number, number, number)
	VCVTSI2SSQ(tried, number, number)
	levelsOver := v.Vector()
	VBROADCASTSS(number, levelsOver)
	VMULPS(parameter(v, "step"), levelsOver, levelsOver)
	VADDPS(parameter(v, "first"), levelsOver, levelsOver)
	VADDPS(parameter(v, "n"), levelsOver, levelsOver)
	var solutions [groups]solution
	for g := range groups {
		solutions[g] = f.solve(g, levelsOver, lowest[g])
	}
	for g := range groups {
		f.choose(g, solutions[g], lowest[g])
	}
	INCQ(tried)
	SUBQ(U8(1), left)
	JGE(LabelRef("step"))

	f.store(lowest)
	result(true)
	Label("fail")
	result(false)
}

// transpose puts the sub-blocks that begin at from into lanes. In each part of a
// vector with four lanes it takes a square of four sub-blocks by four places.
func (f *fit) transpose(label string, array int, from reg.Register) {
	Comment("Put the " + label + " into lanes.")
	stride, stride3 := GP64(), GP64()
	Load(Param("size"), stride)
	SHLQ(U8(2), stride)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	for g := range groups {
		rows := make([]reg.GPVirtual, f.Width/4)
		for part := range rows {
			rows[part] = GP64()
			if part == 0 {
				MOVQ(from, rows[0])
			} else {
				LEAQ(Mem{Base: rows[part-1], Index: stride, Scale: 4}, rows[part])
			}
		}
		XORQ(f.i, f.i)
		loop := fmt.Sprintf("%s%d", label, g)
		Label(loop)
		var t [4]reg.VecVirtual
		for r := range t {
			t[r] = f.Vector()
			for part, at := range rows {
				m := Mem{Base: at}
				switch r {
				case 1, 2:
					m.Index, m.Scale = stride, uint8(r)
				case 3:
					m.Index, m.Scale = stride3, 1
				}
				switch {
				case part == 0 && f.Masks:
					VBROADCASTF32X4(m, t[r])
				case part == 0:
					VBROADCASTF128(m, t[r])
				case f.Masks:
					VINSERTF32X4(U8(part), m, t[r], t[r])
				default:
					VINSERTF128(U8(part), m, t[r], t[r])
				}
			}
		}
		low01, high01 := f.pair(VUNPCKLPS, t[0], t[1]), f.pair(VUNPCKHPS, t[0], t[1])
		low23, high23 := f.pair(VUNPCKLPS, t[2], t[3]), f.pair(VUNPCKHPS, t[2], t[3])
		for i, r := range []reg.VecVirtual{
			f.pair(VUNPCKLPD, low01, low23), f.pair(VUNPCKHPD, low01, low23),
			f.pair(VUNPCKLPD, high01, high23), f.pair(VUNPCKHPD, high01, high23),
		} {
			at := f.place(array, g)
			at.Disp += i * f.bytes()
			VMOVUPS(r, at)
		}
		for _, at := range rows {
			ADDQ(U8(16), at)
		}
		ADDQ(U32(uint32(4*f.bytes())), f.i)
		CMPQ(f.i, f.end)
		JLT(LabelRef(loop))
		if g+1 < groups {
			Comment("The sub-blocks of the next group follow.")
			IMUL3Q(U32(uint32(f.Width)), stride, f.i)
			ADDQ(f.i, from)
		}
	}
}

// pair emits op for a and b, where ops have the right operand first.
func (f *fit) pair(op func(...Op), a, b Op) reg.VecVirtual {
	r := f.Vector()
	op(b, a, r)
	return r
}

// weigh makes the weights of a group.
func (f *fit) weigh(weighing reg.Register, g int) {
	label := func(name string) string { return fmt.Sprintf("%s%d", name, g) }
	CMPQ(weighing, U8(byRMS))
	JEQ(LabelRef(label("rms")))
	JA(LabelRef(label("by_importance")))

	absolute := f.Load(f.Absolute)
	f.each(label("by_magnitude"), func() {
		w := f.Load(f.place(values, g))
		VANDPS(absolute, w, w)
		VMOVUPS(w, f.place(weights, g))
	})
	JMP(LabelRef(label("weighed")))

	Label(label("rms"))
	sum := f.Load(f.Zero)
	f.each(label("squares"), func() {
		x := f.Load(f.place(values, g))
		VMULPS(x, x, x)
		VADDPS(x, sum, sum)
	})
	size, sizeBits := f.Vector(), XMM()
	VXORPS(sizeBits, sizeBits, sizeBits)
	VCVTSI2SSQ(Load(Param("size"), GP64()), sizeBits, sizeBits)
	VBROADCASTSS(sizeBits, size)
	VDIVPS(size, sum, sum)
	VSQRTPS(sum, sum)
	absolute = f.Load(f.Absolute)
	f.each(label("deviation"), func() {
		w := f.Load(f.place(values, g))
		VANDPS(absolute, w, w)
		VADDPS(w, sum, w)
		VMOVUPS(w, f.place(weights, g))
	})
	JMP(LabelRef(label("weighed")))

	Label(label("by_importance"))
	variance := f.Load(Mem{Base: Load(Param("variances"), GP64()), Disp: g * f.bytes()})
	f.each(label("weighted"), func() {
		w := f.Load(f.place(values, g))
		VMULPS(w, w, w)
		VADDPS(w, variance, w)
		VSQRTPS(w, w)
		VMULPS(f.place(weights, g), w, w)
		VMOVUPS(w, f.place(weights, g))
	})
	Label(label("weighed"))
}

// limits takes the limits and the sums of a group, and fails if a value is not
// finite: then 0 times it is NaN.
func (f *fit) limits(g int) {
	XORQ(f.i, f.i)
	least, largest := f.Load(f.place(values, g)), f.Load(f.place(values, g))
	zero, zeros := f.Load(f.Zero), f.Load(f.Zero)
	// Where all weights are -0, it makes no difference that their sum is not.
	sw, sx := f.Load(f.Zero), f.Load(f.MinusZero)
	f.each(fmt.Sprintf("limits%d", g), func() {
		value, weight := f.Load(f.place(values, g)), f.Load(f.place(weights, g))
		VADDPS(f.Mul(value, zero), zeros, zeros)
		VMINPS(least, value, least)
		VMAXPS(largest, value, largest)
		VADDPS(weight, sw, sw)
		VADDPS(f.Mul(weight, value), sx, sx)
	})
	f.unlessAll(f.Compare(Equal, zeros, zero), "fail")
	VMINPS(least, zero, least)
	VMOVUPS(sw, f.state(sumW, g))
	VMOVUPS(sx, f.state(sumX, g))
	VMOVUPS(least, f.state(first, g))
	VMOVUPS(least, f.state(low, g))
	VMOVUPS(largest, f.state(high, g))
}

// Choose is ISA.Choose without VBLENDMPS, of which avo believes that it reads
// what it is about to overwrite, and so keeps the register from others before.
func (f *fit) Choose(mask, yes, no Op) reg.VecVirtual {
	if !f.Masks {
		return f.ISA.Choose(mask, yes, no)
	}
	r := f.Load(no)
	VMOVUPS(yes, mask, r)
	return r
}

// both returns the lanes that are in two masks.
func (f *fit) both(a, b Op) Op {
	if f.Masks {
		k := K()
		KANDW(a, b, k)
		return k
	}
	return f.pair(VANDPS, a, b)
}

// divide returns the inverse levelsOver / (high - low), with which values are
// rounded, and leaves the quotients inverse * (x - low) of the least and of the
// largest value in the state. first stands for the least. All others are between
// these, as the float operations are monotone in x.
func (f *fit) divide(g int, levelsOver, low reg.VecVirtual) reg.VecVirtual {
	span := f.Sub(f.Load(f.state(high, g)), low)
	inverse := f.Div(levelsOver, span)
	VMULPS(inverse, span, span)
	VMOVUPS(span, f.state(highQuotient, g))
	VMOVUPS(f.Mul(f.Sub(f.Load(f.state(first, g)), low), inverse), f.state(leastQuotient, g))
	VMOVUPS(inverse, f.state(triedInverse, g))
	return inverse
}

// quotientsAre returns the lanes in which predicate holds for all quotients and limit.
func (f *fit) quotientsAre(g int, predicate uint8, limit reg.VecVirtual) Op {
	return f.both(f.Compare(predicate, f.Load(f.state(leastQuotient, g)), limit), f.Compare(predicate, f.Load(f.state(highQuotient, g)), limit))
}

// mustRound fails if a quotient is farther from 0 than rounding is that of
// nearestInt.
func (f *fit) mustRound(g int) {
	limit := broadcast(f.ISA, f.limit)
	f.unlessAll(f.quotientsAre(g, Less, limit), "fail")
	VXORPS(f.MinusZero, limit, limit)
	f.unlessAll(f.quotientsAre(g, Greater, limit), "fail")
}

// roundAll makes integers of the values, and stores them. below says that some may
// be less than 0, above that some may be more than n. A quotient that is rounded to
// -0 needs no limit: sums begin with 0, so they stay the same, and errors have the
// sign of no zero.
func (f *fit) roundAll(label string, g int, inverse, low reg.VecVirtual, below, above bool, also ...func(c *cell)) {
	var zero, upper Op = f.Zero, f.state(largest, 0)
	if f.Masks {
		zero, upper = f.Load(zero), f.Load(upper)
	}
	steps := []func(c *cell){
		func(c *cell) { c.r = f.Load(f.place(values, g)) },
		func(c *cell) { VSUBPS(low, c.r, c.r) },
		func(c *cell) { VMULPS(inverse, c.r, c.r) },
		func(c *cell) { f.toInteger(c.r) },
	}
	// Floats that are not negative are ordered as their bits are.
	if below {
		steps = append(steps, func(c *cell) { VPMAXSD(zero, c.r, c.r) })
	}
	if above {
		steps = append(steps, func(c *cell) { VPMINSD(upper, c.r, c.r) })
	}
	steps = append(steps, func(c *cell) { VMOVUPS(c.r, f.place(levels, g)) })
	f.eachAtOnce(label, append(steps, also...)...)
}

// toInteger rounds to the nearest integer, halves to even.
func (f *fit) toInteger(r reg.VecVirtual) {
	if f.Masks {
		VRNDSCALEPS(U8(0), r, r)
	} else {
		VROUNDPS(U8(0), r, r)
	}
}

// fitError returns the error of the integers.
func (f *fit) fitError(label string, g int, scale, low reg.VecVirtual) reg.VecVirtual {
	label = fmt.Sprintf("%s%d", label, g)
	sum := f.Load(f.Zero)
	errors := func(label string, size func(d reg.VecVirtual)) {
		f.eachAtOnce(label,
			func(c *cell) { c.r = f.Mul(scale, f.place(levels, g)) },
			func(c *cell) { VADDPS(low, c.r, c.r) },
			func(c *cell) { VSUBPS(f.place(values, g), c.r, c.r) },
			func(c *cell) { size(c.r) },
			func(c *cell) { VMULPS(f.place(weights, g), c.r, c.r) },
			func(c *cell) { VADDPS(c.r, sum, sum) })
	}
	absolute := Load(Param("absolute"), GP64())
	TESTQ(absolute, absolute)
	JNE(LabelRef(label + "_absolute"))
	errors(label+"_squares", func(d reg.VecVirtual) { VMULPS(d, d, d) })
	JMP(LabelRef(label + "_done"))
	Label(label + "_absolute")
	mask := f.Load(f.Absolute)
	errors(label+"_magnitudes", func(d reg.VecVirtual) { VANDPS(mask, d, d) })
	Label(label + "_done")
	return sum
}

// firstFit is the fit that spreads the range over n levels.
func (f *fit) firstFit(g int) {
	low, highest := f.Load(f.state(first, g)), f.Load(f.state(high, g))
	flat := f.Compare(Equal, highest, low)
	VMOVUPS(f.Choose(flat, f.Load(f.One), highest), f.state(high, g))
	inverse := f.divide(g, f.Load(f.state(largest, 0)), low)
	f.mustRound(g)
	f.roundAll(fmt.Sprintf("first%d", g), g, inverse, low, true, true)
	s := f.Div(f.Load(f.One), inverse)
	e := f.fitError("first_error", g, s, low)
	VMOVUPS(f.Choose(flat, f.Load(f.MinusInfinity), e), f.state(best, g))
	VMOVUPS(f.Choose(flat, f.Load(f.Zero), s), f.state(scale, g))
	VMOVUPS(inverse, f.state(usedInverse, g))
	VMOVUPS(low, f.state(usedLow, g))
}

// solution is what a step finds for a group.
type solution struct{ scale, low reg.VecVirtual }

// solve rounds the values with another scale, and finds the line through the
// integers and the values, or that through the origin.
func (f *fit) solve(g int, levelsOver, lowest reg.VecVirtual) solution {
	label := func(name string) string { return fmt.Sprintf("%s%d", name, g) }
	inverse := f.divide(g, levelsOver, lowest)
	q, qq, xq := f.Load(f.Zero), f.Load(f.Zero), f.Load(f.Zero)
	round := func(name string, below, above bool) {
		f.roundAll(label(name), g, inverse, lowest, below, above,
			func(c *cell) { c.wl = f.Mul(c.r, f.place(weights, g)) },
			func(c *cell) { VADDPS(c.wl, q, q) },
			func(c *cell) { VMULPS(c.wl, c.r, c.r) },
			func(c *cell) { VADDPS(c.r, qq, qq) },
			func(c *cell) { VMULPS(f.place(values, g), c.wl, c.wl) },
			func(c *cell) { VADDPS(c.wl, xq, xq) })
	}
	half := broadcast(f.ISA, f.half)
	f.unlessAll(f.quotientsAre(g, Less, f.Add(half, f.state(largest, 0))), label("above"))
	VXORPS(f.MinusZero, half, half)
	f.unlessAll(f.quotientsAre(g, Greater, half), label("below"))
	round("round", false, false)
	JMP(LabelRef(label("rounded")))
	Label(label("below"))
	f.mustRound(g)
	round("round_below", true, false)
	JMP(LabelRef(label("rounded")))
	Label(label("above"))
	f.mustRound(g)
	round("round_above", true, true)
	Label(label("rounded"))

	sw, sx := f.state(sumW, g), f.state(sumX, g)
	determinant := f.Sub(f.Mul(qq, sw), f.Mul(q, q))
	VMOVUPS(determinant, f.state(determinants, g))
	newScale := f.Div(f.Sub(f.Mul(xq, sw), f.Mul(q, sx)), determinant)
	newLow := f.Div(f.Sub(f.Mul(qq, sx), f.Mul(q, xq)), determinant)
	zero := f.Load(f.Zero)
	positive := f.Compare(Greater, newLow, zero)
	newScale = f.Choose(positive, f.Div(xq, qq), newScale)
	VMINPS(newLow, zero, newLow)
	return solution{newScale, newLow}
}

// choose makes the solution the best fit of the lanes where it is better.
func (f *fit) choose(g int, s solution, lowest reg.VecVirtual) {
	e := f.fitError("error", g, s.scale, s.low)
	e = f.Choose(f.Compare(Greater, f.Load(f.state(determinants, g)), f.Load(f.Zero)), e, f.Load(f.Infinity))
	least := f.Load(f.state(best, g))
	better := f.Compare(Less, e, least)
	remember := func(value reg.VecVirtual, state int) {
		VMOVUPS(f.Choose(better, value, f.Load(f.state(state, g))), f.state(state, g))
	}
	remember(e, best)
	remember(s.scale, scale)
	remember(lowest, usedLow)
	VMOVUPS(f.Choose(better, s.low, lowest), lowest)
	remember(f.Load(f.state(triedInverse, g)), usedInverse)
}

// store stores the results. It makes the integers of one sub-block after another.
func (f *fit) store(lowest [groups]reg.VecVirtual) {
	scales, minima, sums := Load(Param("scales"), GP64()), Load(Param("minima"), GP64()), Load(Param("sums"), GP64())
	for g := range groups {
		VMOVUPS(f.Load(f.state(scale, g)), Mem{Base: scales, Disp: g * f.bytes()})
		VMOVUPS(f.pair(VXORPS, lowest[g], f.Load(f.MinusZero)), Mem{Base: minima, Disp: g * f.bytes()})
		VMOVUPS(f.Load(f.state(sumW, g)), Mem{Base: sums, Disp: g * f.bytes()})
	}
	used := GP64()
	LEAQ(f.state(usedInverse, 0), used)
	q, x, size := Load(Param("q"), GP64()), Load(Param("x"), GP64()), Load(Param("size"), GP64())
	r := newLevels(f.ISA, f.Constants)
	row := GP64()
	XORQ(row, row)
	Label("row")
	at := Mem{Base: used, Index: row, Scale: 4}
	inverse := broadcast(f.ISA, at)
	at.Disp = groups * f.bytes() * (usedLow - usedInverse)
	low := broadcast(f.ISA, at)
	r.store("sixteen", q, x, size, func(x Mem) reg.VecVirtual {
		return f.Add(f.Mul(f.Sub(f.Load(x), low), inverse), r.rounder)
	})
	INCQ(row)
	CMPQ(row, U8(groups*f.Width))
	JLT(LabelRef("row"))
}

// levelStore limits integers to [0, n] and stores them as bytes.
type levelStore struct {
	ISA
	rounder, upper reg.VecVirtual
}

func newLevels(v ISA, c Constants) levelStore {
	rounder := v.Load(c.Rounder)
	return levelStore{v, rounder, v.Add(rounder, parameter(v, "n"))}
}

// store makes bytes of the size values at x. biased rounds those at an address,
// and returns the rounder plus the integers: their low bytes are those of the
// limited integers. q and x move on.
func (s levelStore) store(label string, q, x, size reg.Register, biased func(x Mem) reg.VecVirtual) {
	limited := func(x Mem) reg.VecVirtual {
		r := biased(x)
		VMAXPS(s.rounder, r, r)
		VMINPS(s.upper, r, r)
		return r
	}
	end := GP64()
	LEAQ(Mem{Base: q, Index: size, Scale: 1}, end)
	Label(label)
	if s.Masks {
		VPMOVDB(limited(Mem{Base: x}), Mem{Base: q})
	} else {
		a, b := limited(Mem{Base: x}), limited(Mem{Base: x, Disp: 32})
		VPSUBD(s.rounder, a, a)
		VPSUBD(s.rounder, b, b)
		VPACKSSDW(b, a, a)
		VPERMQ(U8(0b11_01_10_00), a, a)
		high := XMM()
		VEXTRACTI128(U8(1), a, high)
		VPACKUSWB(high, a.(reg.Vec).AsX(), high)
		VMOVDQU(high, Mem{Base: q})
	}
	ADDQ(U8(64), x)
	ADDQ(U8(16), q)
	CMPQ(q, end)
	JLT(LabelRef(label))
}

// roundAffine generates round of package quant for sub-blocks. Limiting the floats
// is limiting the integers, as rounder plus integer is positive.
func roundAffine(v ISA, c Constants) {
	Start("roundAffine", "func(q *uint8, x, scales, minima *float32, size, count int, n float32) bool",
		"stores (x + minimum)/scale as an integer in [0, n], for count sub-blocks of size values, 16 or 32, but for those with a scale of 0. It reports "+
			"false, and the integers mean nothing, where a scale or a minimum is NaN.", v)
	q, x, size := Load(Param("q"), GP64()), Load(Param("x"), GP64()), Load(Param("size"), GP64())
	scales, minima := Load(Param("scales"), GP64()), Load(Param("minima"), GP64())
	count := Load(Param("count"), GP64())
	r := newLevels(v, c)
	mantissa, exponent := v.Load(c.Mantissa), v.Load(c.Exponent)
	row := GP64()
	XORQ(row, row)
	Label("row")
	scale, minimum := broadcast(v, Mem{Base: scales, Index: row, Scale: 4}), broadcast(v, Mem{Base: minima, Index: row, Scale: 4})
	VUCOMISS(minimum.(reg.Vec).AsX(), scale.(reg.Vec).AsX())
	JPS(LabelRef("fail"))
	bits := GP32()
	MOVL(Mem{Base: scales, Index: row, Scale: 4}, bits)
	ADDL(bits, bits)
	JEQ(LabelRef("skip"))
	r.store("sixteen", q, x, size, func(x Mem) reg.VecVirtual {
		f := v.Add(v.Div(v.Add(v.Load(x), minimum), scale), r.rounder)
		if v.Masks {
			VPTERNLOGD(U8(0xea), exponent, mantissa, f) // f&mantissa | exponent
		} else {
			VPAND(mantissa, f, f)
			VPOR(exponent, f, f)
		}
		return f
	})
	JMP(LabelRef("next"))
	Label("skip")
	ADDQ(size, q)
	LEAQ(Mem{Base: x, Index: size, Scale: 4}, x)
	Label("next")
	INCQ(row)
	CMPQ(row, count)
	JLT(LabelRef("row"))
	result(true)
	Label("fail")
	result(false)
}

// positiveErrors generates the errors of eight candidates of fitPositive of
// package quant, which are in lanes.
func positiveErrors(v ISA, c Constants) {
	Start("positiveErrors", "func(errors, candidates, x, w *float32, count int, n int32)",
		"stores the errors of eight candidates for count values, at least one.", v)
	x, w, end := Load(Param("x"), GP64()), Load(Param("w"), GP64()), Load(Param("count"), GP64())
	inverse := v.Load(Mem{Base: Load(Param("candidates"), GP64())})
	scale := v.Div(v.Load(c.One), inverse)
	sum, rounder, mantissa := v.Load(c.Zero), v.Load(c.Rounder), v.Load(c.Mantissa)
	n, bias := v.Vector(), v.Vector()
	VMOVD(Load(Param("n"), GP32()), n.(reg.Vec).AsX())
	VPBROADCASTD(n.(reg.Vec).AsX(), n)
	VPAND(mantissa, rounder, bias)
	i := GP64()
	XORQ(i, i)
	Label("value")
	value := broadcast(v, Mem{Base: x, Index: i, Scale: 4})
	level := v.Add(v.Mul(value, inverse), rounder)
	VPAND(mantissa, level, level)
	VPSUBD(bias, level, level)
	VPMINSD(n, level, level)
	VCVTDQ2PS(level, level)
	d := v.Sub(value, v.Mul(scale, level))
	e := v.Mul(v.Mul(broadcast(v, Mem{Base: w, Index: i, Scale: 4}), d), d)
	VADDPS(e, sum, sum)
	INCQ(i)
	CMPQ(i, end)
	JLT(LabelRef("value"))
	VMOVUPS(sum, Mem{Base: Load(Param("errors"), GP64())})
	VZEROUPPER()
	RET()
}

// result returns a bool.
func result(ok bool) {
	r := GP8()
	if ok {
		MOVB(U8(1), r)
	} else {
		XORB(r, r)
	}
	Store(r, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
