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
	for _, v := range []ISA{AVX2, AVX512} {
		fitAffine(v, c)
	}
	Generate()
}

// fitAffine generates fitAffine of package quant with one sub-block per lane.
//
// It differs in what it remembers of the best fit: not the integers but what
// they were rounded with, from which it makes them again at the end. Lanes
// whose values are all the same start with an error that nothing can beat and a
// scale of 0.
func fitAffine(v ISA, c Constants) {
	Start("fitAffine", "func(x, w *float32, size int, work, scales, minima *float32, n, first, step float32, steps, absolute int)",
		fmt.Sprintf("fits %d sub-blocks of size values. It does steps+1 fits after the first. work has room for 3*size + 9 vectors; it leaves the integers, as floats, in the first size of them, those of a place in the sub-blocks side by side.", v.Width), v)
	x, w, size := Load(Param("x"), GP64()), Load(Param("w"), GP64()), Load(Param("size"), GP64())
	levels := Load(Param("work"), GP64())
	bytes := 4 * v.Width
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
	index := v.Vector()
	VPBROADCASTD(NewParamAddr("size", 16), index)
	VPMULLD(c.Lanes, index, index)
	each("transpose", func() {
		VMOVUPS(v.Gather(x, index), at(xs, i))
		VMOVUPS(v.Gather(w, index), at(ws, i))
		ADDQ(U8(4), x)
		ADDQ(U8(4), w)
	})

	Comment("The limits and the sums.")
	least, largest := v.Load(Mem{Base: xs}), v.Load(Mem{Base: xs})
	sw, sx := v.Load(c.MinusZero), v.Load(c.MinusZero)
	each("limits", func() {
		value, weight := v.Load(at(xs, i)), v.Load(at(ws, i))
		VMINPS(least, value, least)
		VMAXPS(largest, value, largest)
		VADDPS(weight, sw, sw)
		VADDPS(v.Mul(weight, value), sx, sx)
	})
	VMINPS(least, v.Load(c.Zero), least)
	VMOVUPS(sw, sumW)
	VMOVUPS(sx, sumX)
	VMOVUPS(least, low)
	VMOVUPS(largest, high)

	absolute := Load(Param("absolute"), GP64())
	// fitError returns the error of the integers in levels.
	fitError := func(label string, scale, low reg.VecVirtual) reg.VecVirtual {
		sum := v.Vector()
		VXORPS(sum, sum, sum)
		errors := func(label string, size func(d reg.VecVirtual)) {
			each(label, func() {
				d := v.Add(v.Mul(scale, at(levels, i)), low)
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
		mask := v.Vector()
		Label(label + "_absolute")
		VMOVUPS(c.Absolute, mask)
		errors(label+"_magnitudes", func(d reg.VecVirtual) { VANDPS(mask, d, d) })
		Label(label + "_done")
		return sum
	}
	// roundAll makes integers of the values.
	roundAll := func(label string, inverse, low reg.VecVirtual, also func(level reg.VecVirtual)) {
		r := NewRounding(v, c, v.Load(c.Zero), v.Broadcast("n", 48))
		each(label, func() {
			level := r.Round(v, v.Mul(inverse, v.Sub(v.Load(at(xs, i)), low)))
			VMOVUPS(level, at(levels, i))
			also(level)
		})
	}

	Comment("The fit that spreads the range over all integers.")
	n := v.Broadcast("n", 48)
	inverse := v.Div(n, v.Sub(largest, least))
	s := v.Div(v.Load(c.One), inverse)
	roundAll("first", inverse, least, func(reg.VecVirtual) {})
	e := fitError("first_error", s, least)
	flat := v.Compare(Equal, v.Load(high), v.Load(low))
	zero := v.Load(c.Zero)
	VMOVUPS(v.Choose(flat, v.Load(c.MinusInfinity), e), best)
	VMOVUPS(v.Choose(flat, zero, s), scale)
	VMOVUPS(v.Choose(flat, zero, inverse), usedInverse)
	VMOVUPS(least, usedLow)
	VMOVUPS(zero, tried)

	Comment("The other fits.")
	left := Load(Param("steps"), GP64())
	Label("step")
	{
		inverse := v.Mul(v.Broadcast("step", 56), v.Load(tried))
		inverse = v.Add(v.Broadcast("first", 52), inverse)
		inverse = v.Add(inverse, v.Broadcast("n", 48))
		least := v.Load(low)
		inverse = v.Div(inverse, v.Sub(v.Load(high), least))
		q, qq, xq := v.Vector(), v.Vector(), v.Vector()
		VXORPS(q, q, q)
		VXORPS(qq, qq, qq)
		VXORPS(xq, xq, xq)
		roundAll("round", inverse, least, func(level reg.VecVirtual) {
			wl := v.Mul(level, at(ws, i))
			VADDPS(wl, q, q)
			VMULPS(wl, level, level)
			VADDPS(level, qq, qq)
			VMULPS(at(xs, i), wl, wl)
			VADDPS(wl, xq, xq)
		})
		sw, sx := v.Load(sumW), v.Load(sumX)
		determinant := v.Sub(v.Mul(sw, qq), v.Mul(q, q))
		newScale := v.Div(v.Sub(v.Mul(sw, xq), v.Mul(sx, q)), determinant)
		newLow := v.Div(v.Sub(v.Mul(qq, sx), v.Mul(q, xq)), determinant)
		zero := v.Load(c.Zero)
		newScale = v.Choose(v.Compare(Greater, newLow, zero), v.Div(xq, qq), newScale)
		VMINPS(newLow, zero, newLow)
		e := fitError("error", newScale, newLow)
		e = v.Choose(v.Compare(Greater, determinant, v.Load(c.Zero)), e, v.Load(c.Infinity))
		b := v.Load(best)
		better := v.Compare(Less, e, b)
		VMOVUPS(v.Choose(better, e, b), best)
		VMOVUPS(v.Choose(better, newScale, v.Load(scale)), scale)
		VMOVUPS(v.Choose(better, newLow, least), low)
		VMOVUPS(v.Choose(better, inverse, v.Load(usedInverse)), usedInverse)
		VMOVUPS(v.Choose(better, least, v.Load(usedLow)), usedLow)
		VMOVUPS(v.Add(v.Load(tried), v.Load(c.One)), tried)
	}
	SUBQ(U8(1), left)
	JGE(LabelRef("step"))

	roundAll("last", v.Load(usedInverse), v.Load(usedLow), func(reg.VecVirtual) {})
	scales, minima := Load(Param("scales"), GP64()), Load(Param("minima"), GP64())
	VMOVUPS(v.Load(scale), Mem{Base: scales})
	minimum := v.Load(low)
	VXORPS(c.MinusZero, minimum, minimum)
	VMOVUPS(minimum, Mem{Base: minima})
	VZEROUPPER()
	RET()
}
