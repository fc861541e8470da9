package main

import (
	"math"

	"github.com/ggufkit/ggufkit/quant/_asm/neon"
)

// What a half of the work memory of fitByDescent has after the places, and its
// size.
const (
	descentTiny  = 16 * placeBytes
	descentBytes = descentTiny + 32
)

// descent is half of fitByDescent under construction: the steps of one sub-block
// depend on each other, so there is time for two of the vectors of lanes has, twice.
// The third group of a place is its integers, as floats.
type descent struct {
	lanes
	xq, qq group
}

// fitByDescent generates fitByDescent of package quant with one sub-block per lane.
// Lanes that have come to an end stay as they are in the passes of others, as what
// does not change anything once does not the next time.
func fitByDescent(file *neon.File) {
	f := file.Function("fitByDescentNEON", "q *uint8, x *float32, scales *float32, work *float32, n float32", "ok bool")
	work, size := f.Parameter("work"), f.Register()
	f.Op("MOVD $16, %v", size)
	second := f.Register()
	f.Op("ADD $%d, %v, %v", descentBytes, work, second)
	var halves [2]*descent
	for h, at := range []neon.Register{work, second} {
		halves[h] = &descent{lanes: lanes{Function: f, work: at, size: size}}
	}
	f.Scope(func() {
		from := f.Parameter("x")
		halves[0].transpose("first_half", from, values)
		halves[1].transpose("second_half", from, values)
	})
	zero := f.Vector()
	f.Zero(zero)
	halves[0].begin("first")
	halves[1].begin("second")

	f.Comment("Move one integer at a time.")
	f.Scope(func() { descend(f, halves, zero) })

	f.Comment("The results.")
	f.Scope(func() {
		n := f.Fill("n")
		f.FCVTZS(n, n)
		f.Op("VDUP V%d.B[0], V%d.B16", n, n)
		q, scales := f.Parameter("q"), f.Parameter("scales")
		for _, half := range halves {
			half.finish(q, scales, zero, n)
		}
	})
	f.ReturnBool("ok", true)
	f.Label("fail")
	f.ReturnBool("ok", false)
}

// begin rounds the values such that the peaks become -n. It fails if a value is not
// finite. As no quotient is large, nearestInt of package quant rounds as FRINTN
// does, and no integer is less than -n.
func (f *descent) begin(label string) {
	f.xq, f.qq = f.zeros(), f.zeros()
	f.Scope(func() {
		peak, largest := f.zeros(), f.zeros()
		f.each(label+"_peaks", func(at neon.Register, offset int) { f.extreme(peak, largest, f.load(at, offset+values)) })
		f.store(f.do(f.FCMGT, both(f.Constant(math.Float32bits(1e-15))), largest), f.work, descentTiny)
		f.FMAX(largest[0], largest[0], largest[1])
		f.leaveUnless(largest[0], infinity, "fail")

		n, most := f.Fill("n"), f.FillSum("n", -1)
		f.FNEG(n, n)
		inverse := f.do(f.FDIV, both(n), peak)
		f.each(label+"_levels", func(at neon.Register, offset int) {
			x := f.load(at, offset+values)
			level, w := f.do(f.FMUL, inverse, x), f.do(f.FMUL, x, x)
			f.to1(level, f.FRINTN)
			f.to(level, f.FMIN, both(most))
			f.store(level, at, offset+third)
			f.store(w, at, offset+weights)
			f.to(x, f.FMUL, w)
			f.to(x, f.FMUL, level)
			f.to(f.xq, f.FADD, x)
			f.to(w, f.FMUL, level)
			f.to(w, f.FMUL, level)
			f.to(f.qq, f.FADD, w)
		})
	})
}

// descend goes through the places until nothing changes, but at most five times.
func descend(f *neon.Function, halves [2]*descent, zero neon.Vector) {
	base, least, most, changed := f.Constant(rounder), f.Fill("n"), f.FillSum("n", -1), f.Vector()
	f.FSUB(least, base, least)
	f.FADD(most, most, base)
	round := newRounding(f, base, least, most)
	left := f.Register()
	f.Op("MOVD $5, %v", left)
	f.Label("pass")
	f.Zero(changed)
	f.Scope(func() {
		at, places := []neon.Register{f.Register(), f.Register()}, f.Register()
		for h, half := range halves {
			f.Op("MOVD %v, %v", half.work, at[h])
		}
		f.Op("MOVD $16, %v", places)
		f.Label("place")
		for h, half := range halves {
			f.Scope(func() { half.move(at[h], round, base, zero, changed) })
		}
		for _, at := range at {
			f.Op("ADD $%d, %v", placeBytes, at)
		}
		f.Op("SUBS $1, %v", places)
		f.Op("BNE place")
	})
	f.Scope(func() {
		some := f.Register()
		f.Op("VADDV V%d.S4, V%d", changed, changed)
		f.Op("FMOVS F%d, %v", changed, some)
		f.Op("CBZW %v, done", some)
	})
	f.Op("SUBS $1, %v", left)
	f.Op("BNE pass")
	f.Label("done")
}

// move moves the integers of a place to where the scales of all others want them,
// where that is better, and marks in changed where that is.
func (f *descent) move(at neon.Register, round func(v neon.Vector), base, zero, changed neon.Vector) {
	x, w, level := f.load(at, values), f.load(at, weights), f.load(at, third)
	for g := range groups {
		f.Scope(func() {
			xq, qq, x, w, level := f.xq[g], f.qq[g], x[g], w[g], level[g]
			wx, otherXQ, otherQQ, moved, better, t := f.Vector(), f.Vector(), f.Vector(), f.Vector(), f.Vector(), f.Vector()
			f.FMUL(wx, w, x)
			f.FMUL(t, wx, level)
			f.FSUB(otherXQ, xq, t)
			f.FCMGT(better, otherXQ, zero)
			f.FMUL(t, w, level)
			f.FMUL(t, t, level)
			f.FSUB(otherQQ, qq, t)
			f.FMUL(moved, x, otherQQ)
			f.FDIV(moved, moved, otherXQ)
			round(moved)
			f.FSUB(moved, moved, base)
			f.FCMEQ(t, moved, level)
			f.BIC(better, better, t)
			f.FMUL(t, wx, moved)
			f.FADD(otherXQ, otherXQ, t)
			f.FMUL(t, w, moved)
			f.FMUL(t, t, moved)
			f.FADD(otherQQ, otherQQ, t)
			f.FCMGT(t, otherQQ, zero)
			f.AND(better, better, t)
			f.FMUL(t, otherXQ, otherXQ)
			f.FMUL(t, t, qq)
			f.FMUL(wx, xq, xq)
			f.FMUL(wx, wx, otherQQ)
			f.FCMGT(t, t, wx)
			f.AND(better, better, t)
			f.BIT(xq, otherXQ, better)
			f.BIT(qq, otherQQ, better)
			f.BIT(level, moved, better)
			f.ORR(changed, changed, better)
		})
	}
	f.store(level, at, third)
}

// finish stores scales and integers, from 0 on. q and scales move on.
func (f *descent) finish(q, scales neon.Register, zero, n neon.Vector) {
	f.Scope(func() {
		tiny := f.load(f.work, descentTiny)
		positive := f.do(f.FCMGT, f.qq, both(zero))
		f.to(f.xq, f.FDIV, f.qq)
		for g := range groups {
			f.AND(f.xq[g], f.xq[g], positive[g])
			f.BIT(f.xq[g], zero, tiny[g])
		}
		f.store(f.xq, scales, 0)
		f.Op("ADD $32, %v", scales)
		for g := range groups {
			f.Scope(func() {
				// The bytes of four places each, those of a place side by side.
				places := f.Vectors(4)
				for i, to := range places {
					f.Scope(func() {
						v := f.Vectors(4)
						for j, v := range v {
							f.Load(v, f.work, (4*i+j)*placeBytes+third+16*g)
							f.FCVTZS(v, v)
						}
						narrow(f.Function, v)
						f.ORR(to, v[0], v[0])
					})
				}
				// Lanes 0 and 2, and 1 and 3, of eight places each, and then each lane
				// of all.
				even, odd := f.Vectors(2), f.Vectors(2)
				for i := range 2 {
					f.UZP1(neon.B16, even[i], places[2*i], places[2*i+1])
					f.UZP2(neon.B16, odd[i], places[2*i], places[2*i+1])
				}
				f.UZP1(neon.B16, places[0], even[0], even[1])
				f.UZP1(neon.B16, places[1], odd[0], odd[1])
				f.UZP2(neon.B16, places[2], even[0], even[1])
				f.UZP2(neon.B16, places[3], odd[0], odd[1])
				mask := f.Vector()
				for lane, bytes := range places {
					f.ADD(neon.B16, bytes, bytes, n)
					f.DUP(mask, tiny[g], lane)
					f.BIT(bytes, zero, mask)
					f.Store(bytes, q, 16*lane)
				}
				f.Op("ADD $64, %v", q)
			})
		}
	})
}
