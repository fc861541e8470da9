package main

import (
	"math"

	"github.com/ggufkit/ggufkit/quant/_asm/neon"
)

// levels are the integers of a place, as floats.
const levels = third

// What there is one group of.
var (
	first       = slot(0) // the least value, or 0 if that is greater
	high        = slot(1)
	sumW        = slot(2)
	sumX        = slot(3)
	best        = slot(4)
	scale       = slot(5)
	low         = slot(6)
	usedInverse = slot(7) // what made the integers of the best fit
	usedLow     = slot(8)
)

// weighings of package kernel.
const (
	byMagnitude = iota
	byRMS
	byImportance
)

const (
	one      = 0x3f800000
	infinity = 0x7f800000
	rounder  = 0x4b400000 // 1.5 * 2^23, which nearestInt of package quant adds
)

func generateAffine(file *neon.File) {
	fitAffine(file)
	roundAffine(file)
	positiveErrors(file)
}

// fitAffine generates fitAffine of package quant with one sub-block per lane.
//
// It differs in what it remembers of the best fit: not the integers but what they
// were rounded with, from which it makes them again at the end. Lanes whose values
// are all the same start with an error that nothing can beat, a scale of 0, and a
// limit that makes their integers 0.
func fitAffine(file *neon.File) {
	f := &affine{lanes{Function: file.Function("fitAffineNEON",
		"q *uint8, x *float32, importance *float32, variances *float32, size int, scales *float32, minima *float32, sums *float32, work *float32, n "+
			"float32, first float32, step float32, steps int, absolute int, weighing int", "ok bool")}}
	f.work, f.size = f.Parameter("work"), f.Parameter("size")
	f.Scope(func() { f.transpose("values", f.Parameter("x"), values) })
	f.weigh()
	f.limits()
	n, zero := f.Fill("n"), f.Vector()
	f.Zero(zero)

	f.Comment("The fit that spreads the range over all integers.")
	f.Scope(func() { f.firstFit(n, zero) })

	f.Comment("The other fits.")
	f.Scope(func() {
		left, tried := f.Parameter("steps"), f.Register()
		f.Op("MOVD ZR, %v", tried)
		f.Label("step")
		f.Scope(func() { f.tryStep(n, zero, tried) })
		f.Op("ADD $1, %v", tried)
		f.Op("SUBS $1, %v", left)
		f.Op("BGE step")
	})

	f.Comment("The results.")
	f.Scope(func() {
		scales, minima, sums := f.Parameter("scales"), f.Parameter("minima"), f.Parameter("sums")
		f.store(f.load(f.work, scale), scales, 0)
		minimum := f.load(f.work, low)
		f.to1(minimum, f.FNEG)
		f.store(minimum, minima, 0)
		f.store(f.load(f.work, sumW), sums, 0)
	})
	f.Scope(func() {
		integerN, inverse, lowest := f.Vector(), f.Vector(), f.Vector()
		f.FCVTZS(integerN, n)
		f.rows(usedInverse, func(at neon.Register) {
			f.Op("FMOVS (%v), F%d", at, inverse)
			f.DUP(inverse, inverse, 0)
			f.Op("FMOVS %d(%v), F%d", usedLow-usedInverse, at, lowest)
			f.DUP(lowest, lowest, 0)
		}, func(x neon.Vector) {
			f.FSUB(x, x, lowest)
			f.FMUL(x, x, inverse)
			f.FCVTNS(x, x)
			f.SMAX(neon.S4, x, x, zero)
			f.SMIN(neon.S4, x, x, integerN)
		}, func(neon.Vector) {})
	})
	f.ReturnBool("ok", true)
	f.Label("fail")
	f.ReturnBool("ok", false)
}

type affine struct{ lanes }

// weigh makes the weights.
func (f *affine) weigh() {
	f.Scope(func() {
		weighing := f.Parameter("weighing")
		f.Op("CMP $%d, %v", byRMS, weighing)
	})
	f.Op("BEQ rms")
	f.Op("BGT important")
	f.each("magnitudes", func(at neon.Register, offset int) {
		w := f.load(at, offset+values)
		f.to1(w, f.FABS)
		f.store(w, at, offset+weights)
	})
	f.Op("B weighed")

	f.Label("rms")
	f.Scope(func() {
		sum := f.zeros()
		f.each("squares", func(at neon.Register, offset int) {
			x := f.load(at, offset+values)
			f.to(x, f.FMUL, x)
			f.to(sum, f.FADD, x)
		})
		size := f.Vector()
		f.Op("SCVTFS %v, F%d", f.size, size)
		f.DUP(size, size, 0)
		f.to(sum, f.FDIV, both(size))
		f.to1(sum, f.FSQRT)
		f.each("deviations", func(at neon.Register, offset int) {
			w := f.load(at, offset+values)
			f.to1(w, f.FABS)
			f.to(w, f.FADD, sum)
			f.store(w, at, offset+weights)
		})
	})
	f.Op("B weighed")

	f.Label("important")
	f.Scope(func() { f.transpose("importances", f.Parameter("importance"), weights) })
	f.weighByImportance("roots")
	f.Label("weighed")
}

// limits takes the limits and the sums, and fails if a value is not finite. Of
// several zeros, the first one is the least. Where all weights are -0, it makes no
// difference that their sum is not.
func (f *affine) limits() {
	f.Comment("The limits and the sums.")
	f.Scope(func() {
		least, largest := f.load(f.work, values), f.load(f.work, values)
		sw, sx := f.zeros(), group{f.Constant(1 << 31), f.Constant(1 << 31)}
		f.each("limits", func(at neon.Register, offset int) {
			x, w := f.load(at, offset+values), f.load(at, offset+weights)
			f.to(largest, f.FMAX, x)
			less := f.do(f.FCMGT, least, x)
			for g := range groups {
				f.BIT(least[g], x[g], less[g])
			}
			f.to(sw, f.FADD, w)
			f.to(x, f.FMUL, w)
			f.to(sx, f.FADD, x)
		})
		f.store(sw, f.work, sumW)
		f.store(sx, f.work, sumX)
		f.store(largest, f.work, high)
		lowest := f.do(f.FMIN, least, both(f.zeros()[0]))
		f.store(lowest, f.work, first)
		f.store(lowest, f.work, low)
		f.magnitude(least, largest)
		f.FMAX(least[0], least[0], least[1])
		f.leaveUnless(least[0], infinity, "fail")
	})
}

// divide puts levels / (high - low) into inverse. It fails if one of
// inverse * (x - low) may be as large as 2^22: as rounding is monotone, none is
// farther from 0 than that of the largest value or that of the least, for which
// first stands.
//
// Up to there, nearestInt of package quant rounds as FRINTN does.
func (f *affine) divide(inverse, levels, high, low group) {
	f.Scope(func() {
		span, least := f.do(f.FSUB, high, low), f.load(f.work, first)
		for g := range groups {
			f.FDIV(inverse[g], levels[g], span[g])
		}
		f.to(least, f.FSUB, low)
		f.to(least, f.FMUL, inverse)
		f.to(span, f.FMUL, inverse)
		f.magnitude(least, span)
		f.FMAX(least[0], least[0], least[1])
		f.leaveUnless(least[0], math.Float32bits(1<<22), "fail")
	})
}

// round makes integers of the values of a place.
func (f *affine) round(at neon.Register, offset int, inverse, low group, n, zero neon.Vector) (x, level group) {
	x = f.load(at, offset+values)
	level = f.do(f.FSUB, x, low)
	f.to(level, f.FMUL, inverse)
	f.to1(level, f.FRINTN)
	f.to(level, f.FMAX, both(zero))
	f.to(level, f.FMIN, both(n))
	f.store(level, at, offset+levels)
	return x, level
}

// fitError returns the error of the integers.
func (f *affine) fitError(label string, scale, low group) group {
	sum := f.zeros()
	errors := func(label string, size func(d group)) {
		f.each(label, func(at neon.Register, offset int) {
			d, x, w := f.load(at, offset+levels), f.load(at, offset+values), f.load(at, offset+weights)
			f.to(d, f.FMUL, scale)
			f.to(d, f.FADD, low)
			f.to(d, f.FSUB, x)
			size(d)
			f.to(d, f.FMUL, w)
			f.to(sum, f.FADD, d)
		})
	}
	f.Scope(func() {
		absolute := f.Parameter("absolute")
		f.Op("CBNZ %v, %s_absolute", absolute, label)
	})
	errors(label+"_squares", func(d group) { f.to(d, f.FMUL, d) })
	f.Op("B %s_done", label)
	f.Label(label + "_absolute")
	errors(label+"_magnitudes", func(d group) { f.to1(d, f.FABS) })
	f.Label(label + "_done")
	return sum
}

func (f *affine) firstFit(n, zero neon.Vector) {
	lowest, highest := f.load(f.work, first), f.load(f.work, high)
	flat := f.do(f.FCMEQ, highest, lowest)
	ones := both(f.Constant(one))
	for g := range groups {
		f.BIT(highest[g], ones[g], flat[g])
	}
	f.store(highest, f.work, high)
	inverse := f.group()
	f.divide(inverse, both(n), highest, lowest)
	s := f.do(f.FDIV, ones, inverse)
	f.each("first", func(at neon.Register, offset int) { f.round(at, offset, inverse, lowest, n, zero) })
	e := f.fitError("first_error", s, lowest)
	unbeatable := f.Constant(infinity | 1<<31)
	for g := range groups {
		f.BIT(e[g], unbeatable, flat[g])
		f.BIT(s[g], zero, flat[g])
	}
	f.store(e, f.work, best)
	f.store(s, f.work, scale)
	f.store(inverse, f.work, usedInverse)
	f.store(lowest, f.work, usedLow)
}

// tryStep rounds the values with another scale, finds the line through them, and
// makes it the best fit of the lanes where it is better.
func (f *affine) tryStep(n, zero neon.Vector, tried neon.Register) {
	lowest := f.load(f.work, low)
	inverse := f.group()
	f.Scope(func() {
		levels, t := f.Fill("first"), f.Vector()
		f.Scope(func() {
			step := f.Fill("step")
			f.Op("SCVTFS %v, F%d", tried, t)
			f.DUP(t, t, 0)
			f.FMUL(t, step, t)
		})
		f.FADD(levels, levels, t)
		f.FADD(levels, levels, n)
		f.divide(inverse, both(levels), f.load(f.work, high), lowest)
	})
	newScale, newLow, determinant := f.group(), f.group(), f.group()
	f.Scope(func() {
		q, qq, xq := f.zeros(), f.zeros(), f.zeros()
		f.each("round", func(at neon.Register, offset int) {
			x, level := f.round(at, offset, inverse, lowest, n, zero)
			wl := f.load(at, offset+weights)
			f.to(wl, f.FMUL, level)
			f.to(q, f.FADD, wl)
			f.to(level, f.FMUL, wl)
			f.to(qq, f.FADD, level)
			f.to(wl, f.FMUL, x)
			f.to(xq, f.FADD, wl)
		})
		sw, sx := f.load(f.work, sumW), f.load(f.work, sumX)
		// difference puts a*b - c*d into to.
		difference := func(to, a, b, c, d group) {
			f.Scope(func() {
				cd := f.do(f.FMUL, c, d)
				for g := range groups {
					f.FMUL(to[g], a[g], b[g])
				}
				f.to(to, f.FSUB, cd)
			})
		}
		difference(determinant, sw, qq, q, q)
		difference(newScale, sw, xq, sx, q)
		difference(newLow, qq, sx, q, xq)
		f.to(newScale, f.FDIV, determinant)
		f.to(newLow, f.FDIV, determinant)
		origin := f.do(f.FDIV, xq, qq)
		positive := f.do(f.FCMGT, newLow, both(zero))
		for g := range groups {
			f.BIT(newScale[g], origin[g], positive[g])
		}
		f.to(newLow, f.FMIN, both(zero))
	})
	e := f.fitError("error", newScale, newLow)
	least := f.load(f.work, best)
	better := f.do(f.FCMGT, least, e)
	f.to(determinant, f.FCMGT, both(zero))
	f.to(better, f.AND, determinant)
	for _, s := range []struct {
		at    int
		value group
	}{{best, e}, {scale, newScale}, {low, newLow}, {usedInverse, inverse}, {usedLow, lowest}} {
		f.replace(s.at, s.value, better)
	}
}

// roundAffine generates round of package quant.
func roundAffine(file *neon.File) {
	f := file.Function("roundAffineNEON", "q *uint8, x *float32, scales *float32, minima *float32, size int, count int, n float32", "ok bool")
	q, x, size := f.Parameter("q"), f.Parameter("x"), f.Parameter("size")
	scales, minima, count, left := f.Parameter("scales"), f.Parameter("minima"), f.Parameter("count"), f.Register()
	base, most := f.Constant(rounder), f.Fill("n")
	f.FADD(most, most, base)
	round := newRounding(f, base, base, most)
	f.Label("row")
	scale, minimum := f.Vector(), f.Vector()
	f.Op("FMOVS.P 4(%v), F%d", scales, scale)
	f.Op("FMOVS.P 4(%v), F%d", minima, minimum)
	f.Op("FCMPS F%d, F%d", minimum, scale)
	f.Op("BVS fail") // one is NaN
	f.Op("FCMPS $(0.0), F%d", scale)
	f.Op("BEQ skip")
	f.DUP(scale, scale, 0)
	f.DUP(minimum, minimum, 0)
	f.Op("MOVD %v, %v", size, left)
	f.Label("bytes")
	v := f.Vectors(4)
	f.LoadPair(v[0], v[1], x, 0)
	f.LoadPair(v[2], v[3], x, 32)
	for _, v := range v {
		f.FADD(v, v, minimum)
		f.FDIV(v, v, scale)
		round(v)
	}
	narrow(f, v)
	f.Store(v[0], q, 0)
	f.Op("ADD $64, %v", x)
	f.Op("ADD $16, %v", q)
	f.Op("SUBS $16, %v", left)
	f.Op("BNE bytes")
	f.Op("B next")
	f.Label("skip")
	f.Op("ADD %v<<2, %v", size, x)
	f.Op("ADD %v, %v", size, q)
	f.Label("next")
	f.Op("SUBS $1, %v", count)
	f.Op("BNE row")
	f.ReturnBool("ok", true)
	f.Label("fail")
	f.ReturnBool("ok", false)
}

// positiveErrors generates what fitPositive of package quant does for eight scales,
// one in each lane.
func positiveErrors(file *neon.File) {
	f := &lanes{Function: file.Function("positiveErrorsNEON", "errors *float32, candidates *float32, x *float32, w *float32, count int, n float32", "")}
	x, w, count := f.Parameter("x"), f.Parameter("w"), f.Parameter("count")
	candidates, ones, total := f.load(f.Parameter("candidates"), 0), f.Constant(one), f.zeros()
	scale := f.do(f.FDIV, both(ones), candidates)
	base, most, mantissa := f.Constant(rounder), f.Fill("n"), f.Constant(1<<23-1)
	f.FADD(most, most, base)
	f.Label("values")
	value, weight := f.Vector(), f.Vector()
	f.Op("FMOVS.P 4(%v), F%d", x, value)
	f.Op("FMOVS.P 4(%v), F%d", w, weight)
	f.DUP(value, value, 0)
	f.DUP(weight, weight, 0)
	d := f.do(f.FMUL, candidates, both(value))
	for _, v := range d {
		roundAny(f.Function, v, base, mantissa)
		f.SMIN(neon.S4, v, v, most)
		f.FSUB(v, v, base)
	}
	f.to(d, f.FMUL, scale)
	f.to(d, func(d, n, m neon.Vector) { f.FSUB(d, m, n) }, both(value))
	weighted := f.do(f.FMUL, both(weight), d)
	f.to(weighted, f.FMUL, d)
	f.to(total, f.FADD, weighted)
	f.Op("SUBS $1, %v", count)
	f.Op("BNE values")
	f.store(total, f.Parameter("errors"), 0)
	f.Op("RET")
}

// roundAny rounds v as nearestInt of package quant does, whatever v is, and adds the
// rounder, which base is, to the result. The 23 bits that nearestInt keeps, with the
// exponent of the rounder put before them, are that, and are ordered as the results
// are.
func roundAny(f *neon.Function, v, base, mantissa neon.Vector) {
	f.FADD(v, v, base)
	f.BIF(v, base, mantissa)
}

// newRounding returns what does roundAny and limits v to least and most, which are
// plus the rounder too.
func newRounding(f *neon.Function, base, least, most neon.Vector) func(v neon.Vector) {
	mantissa := f.Constant(1<<23 - 1)
	return func(v neon.Vector) {
		roundAny(f, v, base, mantissa)
		f.SMAX(neon.S4, v, v, least)
		f.SMIN(neon.S4, v, v, most)
	}
}
