package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fitAffine generates fitAffine of package quant with one sub-block per lane.
//
// It differs in what it remembers of the best fit: not the integers but what
// they were rounded with, from which it makes them again at the end. Lanes
// whose values are all the same start with an error that nothing can beat and a
// scale of 0.
func fitAffine(v isa, c constants) {
	start("fitAffine", "func(x, w *float32, size int, work, scales, minima *float32, n, first, step float32, steps, absolute int)",
		fmt.Sprintf("fits %d sub-blocks of size values. It does steps+1 fits after the first. work has room for 3*size + 9 vectors; it leaves the integers, as floats, in the first size of them, those of a place in the sub-blocks side by side.", v.width), v)
	x, w, size := Load(Param("x"), GP64()), Load(Param("w"), GP64()), Load(Param("size"), GP64())
	levels := Load(Param("work"), GP64())
	bytes := 4 * v.width
	end := GP64()
	IMUL3Q(U32(uint32(bytes)), size, end)
	xs, ws, state := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: levels, Index: end, Scale: 1}, xs)
	LEAQ(Mem{Base: xs, Index: end, Scale: 1}, ws)
	LEAQ(Mem{Base: ws, Index: end, Scale: 1}, state)
	at := func(base reg.Register, i reg.Register) Mem { return Mem{Base: base, Index: i, Scale: 1} }
	slots := 0
	slot := func() Mem {
		m := Mem{Base: state, Disp: slots * bytes}
		slots++
		return m
	}
	low, high, sumW, sumX, scale, best, tried := slot(), slot(), slot(), slot(), slot(), slot(), slot()
	usedInverse, usedLow := slot(), slot()

	i := GP64()
	each := func(label string, body func()) {
		XORQ(i, i)
		Label(label)
		body()
		ADDQ(U8(bytes), i)
		CMPQ(i, end)
		JLT(LabelRef(label))
	}

	Comment("Put the sub-blocks into lanes.")
	index := v.vector()
	VPBROADCASTD(NewParamAddr("size", 16), index)
	VPMULLD(c.lanes, index, index)
	each("transpose", func() {
		VMOVUPS(v.gather(x, index), at(xs, i))
		VMOVUPS(v.gather(w, index), at(ws, i))
		ADDQ(U8(4), x)
		ADDQ(U8(4), w)
	})

	Comment("The limits and the sums.")
	least, largest := v.load(Mem{Base: xs}), v.load(Mem{Base: xs})
	sw, sx := v.load(c.minusZero), v.load(c.minusZero)
	each("limits", func() {
		value, weight := v.load(at(xs, i)), v.load(at(ws, i))
		VMINPS(least, value, least)
		VMAXPS(largest, value, largest)
		VADDPS(weight, sw, sw)
		VADDPS(v.mul(weight, value), sx, sx)
	})
	VMINPS(least, v.load(c.zero), least)
	VMOVUPS(sw, sumW)
	VMOVUPS(sx, sumX)
	VMOVUPS(least, low)
	VMOVUPS(largest, high)

	absolute := Load(Param("absolute"), GP64())
	// fitError returns the error of the integers in levels.
	fitError := func(label string, scale, low reg.VecVirtual) reg.VecVirtual {
		sum := v.vector()
		VXORPS(sum, sum, sum)
		errors := func(label string, size func(d reg.VecVirtual)) {
			each(label, func() {
				d := v.add(v.mul(scale, at(levels, i)), low)
				VSUBPS(at(xs, i), d, d)
				size(d)
				VMULPS(at(ws, i), d, d)
				VADDPS(d, sum, sum)
			})
		}
		TESTQ(absolute, absolute)
		JNE(LabelRef(label + "_absolute"))
		errors(label+"_squares", func(d reg.VecVirtual) { VMULPS(d, d, d) })
		JMP(LabelRef(label + "_done"))
		mask := v.vector()
		Label(label + "_absolute")
		VMOVUPS(c.absolute, mask)
		errors(label+"_magnitudes", func(d reg.VecVirtual) { VANDPS(mask, d, d) })
		Label(label + "_done")
		return sum
	}
	// roundAll makes integers of the values.
	roundAll := func(label string, inverse, low reg.VecVirtual, also func(level reg.VecVirtual)) {
		r := newRounding(v, c, v.load(c.zero), v.broadcast("n", 48))
		each(label, func() {
			level := r.round(v, v.mul(inverse, v.sub(v.load(at(xs, i)), low)))
			VMOVUPS(level, at(levels, i))
			also(level)
		})
	}

	Comment("The fit that spreads the range over all integers.")
	n := v.broadcast("n", 48)
	inverse := v.div(n, v.sub(largest, least))
	s := v.div(v.load(c.one), inverse)
	roundAll("first", inverse, least, func(reg.VecVirtual) {})
	e := fitError("first_error", s, least)
	flat := v.compare(equal, v.load(high), v.load(low))
	zero := v.load(c.zero)
	VMOVUPS(v.choose(flat, v.load(c.minusInfinity), e), best)
	VMOVUPS(v.choose(flat, zero, s), scale)
	VMOVUPS(v.choose(flat, zero, inverse), usedInverse)
	VMOVUPS(least, usedLow)
	VMOVUPS(zero, tried)

	Comment("The other fits.")
	left := Load(Param("steps"), GP64())
	Label("step")
	{
		inverse := v.mul(v.broadcast("step", 56), v.load(tried))
		inverse = v.add(v.broadcast("first", 52), inverse)
		inverse = v.add(inverse, v.broadcast("n", 48))
		least := v.load(low)
		inverse = v.div(inverse, v.sub(v.load(high), least))
		q, qq, xq := v.vector(), v.vector(), v.vector()
		VXORPS(q, q, q)
		VXORPS(qq, qq, qq)
		VXORPS(xq, xq, xq)
		roundAll("round", inverse, least, func(level reg.VecVirtual) {
			wl := v.mul(level, at(ws, i))
			VADDPS(wl, q, q)
			VMULPS(wl, level, level)
			VADDPS(level, qq, qq)
			VMULPS(at(xs, i), wl, wl)
			VADDPS(wl, xq, xq)
		})
		sw, sx := v.load(sumW), v.load(sumX)
		determinant := v.sub(v.mul(sw, qq), v.mul(q, q))
		newScale := v.div(v.sub(v.mul(sw, xq), v.mul(sx, q)), determinant)
		newLow := v.div(v.sub(v.mul(qq, sx), v.mul(q, xq)), determinant)
		zero := v.load(c.zero)
		newScale = v.choose(v.compare(greater, newLow, zero), v.div(xq, qq), newScale)
		VMINPS(newLow, zero, newLow)
		e := fitError("error", newScale, newLow)
		e = v.choose(v.compare(greater, determinant, v.load(c.zero)), e, v.load(c.infinity))
		b := v.load(best)
		better := v.compare(less, e, b)
		VMOVUPS(v.choose(better, e, b), best)
		VMOVUPS(v.choose(better, newScale, v.load(scale)), scale)
		VMOVUPS(v.choose(better, newLow, least), low)
		VMOVUPS(v.choose(better, inverse, v.load(usedInverse)), usedInverse)
		VMOVUPS(v.choose(better, least, v.load(usedLow)), usedLow)
		VMOVUPS(v.add(v.load(tried), v.load(c.one)), tried)
	}
	SUBQ(U8(1), left)
	JGE(LabelRef("step"))

	roundAll("last", v.load(usedInverse), v.load(usedLow), func(reg.VecVirtual) {})
	scales, minima := Load(Param("scales"), GP64()), Load(Param("minima"), GP64())
	VMOVUPS(v.load(scale), Mem{Base: scales})
	minimum := v.load(low)
	VXORPS(c.minusZero, minimum, minimum)
	VMOVUPS(minimum, Mem{Base: minima})
	VZEROUPPER()
	RET()
}
