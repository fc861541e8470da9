package main

import (
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/quant/_asm/neon"
)

// products are the values times their weights.
const products = third

// What there is one group of.
var (
	chosen = slot(0) // what the values are multiplied with for the integers
	tiny   = slot(1) // the mask of the sub-blocks that count as zero
)

func generateSymmetric(file *neon.File) {
	fitSymmetric(file)
	fitByDescent(file)
	roundSubBlocks(file)
	weighValues(file)
}

// symmetric is fitSymmetric under construction.
type symmetric struct {
	lanes
	peak, inverse, scale, best group
	least, most                neon.Vector // the limits of the integers
}

// fitSymmetric generates fitSymmetric of package quant with one sub-block per lane.
// As no quotient is large, nearestInt rounds as FRINTN does.
//
// It differs in what it remembers of the best fit: not the integers but what they
// were rounded with, from which it makes them again at the end.
func fitSymmetric(file *neon.File) {
	f := &symmetric{lanes: lanes{Function: file.Function("fitSymmetricNEON",
		"q *uint8, x *float32, w *float32, size int, scales *float32, totals *float32, work *float32, n float32", "ok bool")}}
	f.work, f.size = f.Parameter("work"), f.Parameter("size")
	f.Scope(func() { f.transpose("values", f.Parameter("x"), values) })
	f.Scope(func() {
		w := f.Parameter("w")
		f.Op("CBZ %v, no_weights", w)
		f.transpose("weights", w, weights)
	})
	f.Op("B weighed")
	f.Label("no_weights")
	f.each("squares", func(at neon.Register, offset int) {
		x := f.load(at, offset+values)
		f.to(x, f.FMUL, x)
		f.store(x, at, offset+weights)
	})
	f.Label("weighed")
	f.peak, f.inverse, f.scale, f.best = f.zeros(), f.group(), f.group(), f.group()
	f.limits()

	f.least, f.most = f.Fill("n"), f.Vector()
	f.Scope(func() { f.FSUB(f.most, f.least, f.Constant(one)) })
	f.FNEG(f.least, f.least)
	steps := []int{0}
	for step := -9; step <= 9; step++ {
		if step != 0 {
			steps = append(steps, step)
		}
	}
	for len(steps) > 0 {
		n := min(2, len(steps))
		f.try(steps[:n])
		steps = steps[n:]
	}

	f.Comment("The results.")
	f.store(f.inverse, f.work, chosen)
	f.Scope(func() {
		zero := f.zeros()
		mask := f.load(f.work, tiny)
		for g := range groups {
			f.BIT(f.scale[g], zero[g], mask[g])
		}
		f.store(f.scale, f.Parameter("scales"), 0)
	})
	f.Scope(func() {
		inverse, mask, zero, n := f.Vector(), f.Vector(), f.Vector(), f.Fill("n")
		f.FCVTZS(f.most, f.most)
		f.FCVTZS(f.least, f.least)
		f.FCVTZS(n, n)
		f.Op("VDUP V%d.B[0], V%d.B16", n, n)
		f.Zero(zero)
		f.rows(chosen, func(at neon.Register) {
			f.Op("FMOVS (%v), F%d", at, inverse)
			f.DUP(inverse, inverse, 0)
			f.Op("FMOVS %d(%v), F%d", tiny-chosen, at, mask)
			f.DUP(mask, mask, 0)
		}, func(x neon.Vector) {
			f.FMUL(x, x, inverse)
			f.FCVTNS(x, x)
			f.SMAX(neon.S4, x, x, f.least)
			f.SMIN(neon.S4, x, x, f.most)
		}, func(bytes neon.Vector) {
			f.ADD(neon.B16, bytes, bytes, n)
			f.BIT(bytes, zero, mask)
		})
	})
	f.ReturnBool("ok", true)
	f.Label("fail")
	f.ReturnBool("ok", false)
}

// limits takes the values of largest magnitude, the totals and the products. It
// fails if a value is not finite, or a weight is NaN or infinite.
func (f *symmetric) limits() {
	f.Scope(func() {
		largest, total, heaviest := f.zeros(), f.zeros(), f.zeros()
		f.each("limits", func(at neon.Register, offset int) {
			x, w := f.load(at, offset+values), f.load(at, offset+weights)
			f.store(f.do(f.FMUL, w, x), at, offset+products)
			f.to(total, f.FADD, w)
			f.to(heaviest, f.FMAX, w)
			f.extreme(f.peak, largest, x)
		})
		f.store(f.do(f.FCMGT, both(f.Constant(math.Float32bits(1e-15))), largest), f.work, tiny)
		f.to(largest, f.FMAX, heaviest)
		f.FMAX(largest[0], largest[0], largest[1])
		f.leaveUnless(largest[0], infinity, "fail")
		f.store(total, f.Parameter("totals"), 0)
	})
}

// try rounds the values with the scales that send the peaks to -n - step/10, and
// remembers those that are better than all before. The steps are in order, but for
// 0, which is the first one of all.
//
// But for an error of rounding, no quotient is farther from 0 than n + step/10: up to
// step 4, no integer is less than -n, and up to step -6, none is n either.
func (f *symmetric) try(steps []int) {
	type candidate struct{ inverse, xq, qq group }
	tenth := float32(0.1)
	var candidates []candidate
	f.Scope(func() {
		for _, step := range steps {
			c := candidate{f.group(), f.zeros(), f.zeros()}
			f.Scope(func() {
				levels := f.FillSum("n", tenth*float32(step))
				f.FNEG(levels, levels)
				for g := range groups {
					f.FDIV(c.inverse[g], levels, f.peak[g])
				}
			})
			candidates = append(candidates, c)
		}
		f.each(fmt.Sprintf("steps_from_%d", steps[0]+9), func(at neon.Register, offset int) {
			x, w, p := f.load(at, offset+values), f.load(at, offset+weights), f.load(at, offset+products)
			for i, step := range steps {
				c := candidates[i]
				for g := range groups {
					f.Scope(func() {
						level, t := f.Vector(), f.Vector()
						f.FMUL(level, c.inverse[g], x[g])
						f.FRINTN(level, level)
						if step >= -5 {
							f.FMIN(level, level, f.most)
						}
						if step > 4 {
							f.FMAX(level, level, f.least)
						}
						f.FMUL(t, p[g], level)
						f.FADD(c.xq[g], c.xq[g], t)
						f.FMUL(t, w[g], level)
						f.FMUL(t, t, level)
						f.FADD(c.qq[g], c.qq[g], t)
					})
				}
			}
		})
		for i, step := range steps {
			f.Scope(func() { f.choose(step, candidates[i].inverse, candidates[i].xq, candidates[i].qq) })
		}
	})
}

// choose makes what was found the best fit where it is better.
func (f *symmetric) choose(step int, inverse, xq, qq group) {
	zero := f.Vector()
	f.Zero(zero)
	for g := range groups {
		f.Scope(func() {
			scale, better, t := f.Vector(), f.Vector(), f.Vector()
			f.FDIV(scale, xq[g], qq[g])
			if step == 0 {
				f.FCMEQ(better, qq[g], zero)
				f.BIT(scale, zero, better)
				f.ORR(f.inverse[g], inverse[g], inverse[g])
				f.ORR(f.scale[g], scale, scale)
				f.FMUL(f.best[g], scale, xq[g])
				return
			}
			f.FMUL(better, xq[g], xq[g])
			f.FMUL(t, f.best[g], qq[g])
			f.FCMGT(better, better, t)
			f.FCMGT(t, qq[g], zero)
			f.AND(better, better, t)
			f.FMUL(t, scale, xq[g])
			f.BIT(f.inverse[g], inverse[g], better)
			f.BIT(f.scale[g], scale, better)
			f.BIT(f.best[g], t, better)
		})
	}
}

// roundSubBlocks generates roundSubBlocks of package quant.
func roundSubBlocks(file *neon.File) {
	f := file.Function("roundSubBlocksNEON", "q *uint8, x *float32, scales *float32, count int, n float32", "")
	q, x, scales, count := f.Parameter("q"), f.Parameter("x"), f.Parameter("scales"), f.Parameter("count")
	n, base, least, most := f.Fill("n"), f.Constant(rounder), f.Vector(), f.Vector()
	f.FSUB(least, base, n)
	f.FADD(most, base, n)
	f.Scope(func() { f.FSUB(most, most, f.Constant(one)) })
	f.FCVTZS(n, n)
	f.Op("VDUP V%d.B[0], V%d.B16", n, n)
	round := newRounding(f, base, least, most)
	f.Label("row")
	scale, v := f.Vector(), f.Vectors(4)
	f.Op("FMOVS.P 4(%v), F%d", scales, scale)
	f.Op("FCMPS $(0.0), F%d", scale)
	f.Op("BEQ next")
	f.DUP(scale, scale, 0)
	f.LoadPair(v[0], v[1], x, 0)
	f.LoadPair(v[2], v[3], x, 32)
	for _, v := range v {
		f.FDIV(v, v, scale)
		round(v)
	}
	narrow(f, v)
	f.ADD(neon.B16, v[0], v[0], n)
	f.Store(v[0], q, 0)
	f.Label("next")
	f.Op("ADD $64, %v", x)
	f.Op("ADD $16, %v", q)
	f.Op("SUBS $1, %v", count)
	f.Op("BNE row")
	f.Op("RET")
}

// weighValues generates weigh of package quant.
func weighValues(file *neon.File) {
	f := file.Function("weighValuesNEON", "w *float32, x *float32, importance *float32, count int, variance float32", "")
	to, x, importance, count := f.Parameter("w"), f.Parameter("x"), f.Parameter("importance"), f.Parameter("count")
	variance, root, w := f.Fill("variance"), f.Vectors(2), f.Vectors(2)
	f.Label("values")
	f.LoadPair(root[0], root[1], x, 0)
	f.LoadPair(w[0], w[1], importance, 0)
	for i, root := range root {
		f.FMUL(root, root, root)
		f.FADD(root, variance, root)
		f.FSQRT(root, root)
		f.FMUL(w[i], w[i], root)
	}
	f.StorePair(w[0], w[1], to, 0)
	for _, r := range []neon.Register{to, x, importance} {
		f.Op("ADD $32, %v", r)
	}
	f.Op("SUBS $8, %v", count)
	f.Op("BNE values")
	f.Op("RET")
}
