package main

import (
	"math"

	"github.com/ggufkit/ggufkit/quant/_asm/neon"
)

// generateIQ4 generates the fit of scales to the levels of IQ4_NL and IQ4_XS.
func generateIQ4(file *neon.File) {
	fitIQ4(file)
	packIQ4(file)
}

// rounderIQ4 is nearestIQ4 of package quant, for 16 numbers at once that are below
// 2^13 in magnitude. It takes them times two, which makes the numbers in the middle
// of two levels, from which on the higher one is next, integers.
//
// That is what the differences that nearestIQ4 compares say too: next to the middle
// they are below 16 and multiples of the last bit of a number, so exact; farther
// away, rounding cannot change their order.
//
// Integers are divided into cells of 16, of which none has two middles: a table has
// the first level of each cell, and another one the place of the middle in it.
type rounderIQ4 struct {
	*neon.Function
	firsts, middles            [2]neon.Vector
	fifteen, sixteen, lastCell neon.Vector
}

func newRounderIQ4(f *neon.Function) *rounderIQ4 {
	const cells = 32
	var firsts, middles [cells]int8
	for cell := range cells {
		firsts[cell], middles[cell] = 0, 16
		for q := 1; q < len(neon.IQ4Levels); q++ {
			switch middle := int(neon.IQ4Levels[q-1]) + int(neon.IQ4Levels[q]) + 16*cells/2; {
			case middle/16 < cell:
				firsts[cell]++
			case middle/16 == cell && middles[cell] != 16:
				panic("two middles in a cell")
			case middle/16 == cell:
				middles[cell] = int8(middle % 16)
			}
		}
	}
	table := func(all [cells]int8) [2]neon.Vector {
		return [2]neon.Vector{f.Levels([16]int8(all[:16])), f.Levels([16]int8(all[16:]))}
	}
	r := &rounderIQ4{Function: f, firsts: table(firsts), middles: table(middles), fifteen: f.Vector(), sixteen: f.Vector(), lastCell: f.Vector()}
	f.Op("VMOVI $15, V%d.B16", r.fifteen)
	f.Op("VMOVI $16, V%d.B16", r.sixteen)
	f.Op("VMOVI $%d, V%d.B16", cells-1, r.lastCell)
	return r
}

// round makes integers of four vectors, in the bytes of the first.
func (r *rounderIQ4) round(v []neon.Vector) {
	for _, v := range v {
		r.FCVTMS(v, v)
	}
	r.UZP1(neon.H8, v[0], v[0], v[1])
	r.UZP1(neon.H8, v[2], v[2], v[3])
	place, cell := v[0], v[1]
	r.SSHR(neon.H8, v[1], v[0], 4)
	r.SSHR(neon.H8, v[3], v[2], 4)
	r.UZP1(neon.B16, place, v[0], v[2])
	r.AND(place, place, r.fifteen)
	// Cells count from -16. Those before and after have no middles either.
	r.SQXTN(cell, v[1])
	r.SQXTN2(cell, v[3])
	r.SQADD(neon.B16, cell, cell, r.sixteen)
	r.Zero(v[2])
	r.SMAX(neon.B16, cell, cell, v[2])
	r.SMIN(neon.B16, cell, cell, r.lastCell)
	r.TBL2(v[2], r.firsts, cell)
	r.TBL2(v[3], r.middles, cell)
	r.CMGE(neon.B16, place, place, v[3])
	r.Op("VSUB V%d.B16, V%d.B16, V%d.B16", place, v[2], place)
}

// iq4 is fitIQ4 under construction.
type iq4 struct {
	lanes
	rounder *rounderIQ4
	levels  neon.Vector
	spread  [4]neon.Vector
}

// What there is one group of.
var (
	iq4Peak  = slot(0)
	iq4Scale = slot(1)
	iq4Best  = slot(2)
	iq4Tiny  = slot(3)
)

// fitIQ4 generates fitIQ4 of package quant with one block per lane.
func fitIQ4(file *neon.File) {
	f := &iq4{lanes: lanes{Function: file.Function("fitIQ4NEON",
		"x *float32, importance *float32, variances *float32, scales *float32, work *float32", "ok bool")}}
	f.work, f.size = f.Parameter("work"), f.Register()
	f.Op("MOVD $32, %v", f.size)
	f.Scope(func() { f.transpose("values", f.Parameter("x"), values) })
	f.weigh()
	f.limits()

	f.rounder, f.levels, f.spread = newRounderIQ4(f.Function), f.Levels(neon.IQ4Levels), newSpread(f.Function)
	f.Comment("The scale that sends the peak to the lowest level.")
	f.Scope(func() {
		inverse, levels := f.load(f.work, iq4Peak), f.Vector()
		f.Number(levels, 127)
		f.DUP(levels, levels, 0)
		ones := f.Constant(one)
		for g := range groups {
			f.FDIV(inverse[g], inverse[g], levels)
			f.FDIV(inverse[g], ones, inverse[g])
		}
		f.try("first", inverse, true)
	})
	f.Comment("The scales around it.")
	f.Scope(func() {
		step := f.Register()
		f.Op("MOVD $-7, %v", step)
		f.Label("step")
		f.Scope(func() {
			inverse, levels := f.load(f.work, iq4Peak), f.Vector()
			f.Scope(func() {
				lowest := f.Vector()
				f.Op("SCVTFS %v, F%d", step, levels)
				f.Number(lowest, -127)
				f.Op("FADDS F%d, F%d, F%d", lowest, levels, levels)
			})
			f.DUP(levels, levels, 0)
			for g := range groups {
				f.FDIV(inverse[g], levels, inverse[g])
			}
			f.try("next", inverse, false)
		})
		f.Op("ADD $1, %v", step)
		f.Op("CMP $7, %v", step)
		f.Op("BLE step")
	})
	f.Scope(func() {
		scale, tiny := f.load(f.work, iq4Scale), f.load(f.work, iq4Tiny)
		f.to(scale, f.BIC, tiny)
		f.store(scale, f.Parameter("scales"), 0)
	})
	f.ReturnBool("ok", true)
	f.Label("fail")
	f.ReturnBool("ok", false)
}

// weigh makes the weights.
func (f *iq4) weigh() {
	f.Scope(func() {
		importance := f.Parameter("importance")
		f.Op("CBNZ %v, important", importance)
		f.each("squares", func(at neon.Register, offset int) {
			x := f.load(at, offset+values)
			f.to(x, f.FMUL, x)
			f.store(x, at, offset+weights)
		})
		f.Op("B weighed")
		f.Label("important")
		f.transpose("importances", importance, weights)
	})
	f.weighByImportance("roots")
	f.Label("weighed")
}

// limits takes the values of largest magnitude. It fails if a value is not finite,
// or a weight is NaN or infinite.
func (f *iq4) limits() {
	f.Scope(func() {
		peak, largest, heaviest := f.zeros(), f.zeros(), f.zeros()
		f.each("limits", func(at neon.Register, offset int) {
			f.to(heaviest, f.FMAX, f.load(at, offset+weights))
			f.extreme(peak, largest, f.load(at, offset+values))
		})
		f.store(peak, f.work, iq4Peak)
		f.store(f.do(f.FCMGT, both(f.Constant(math.Float32bits(1e-15))), largest), f.work, iq4Tiny)
		f.to(largest, f.FMAX, heaviest)
		f.FMAX(largest[0], largest[0], largest[1])
		f.leaveUnless(largest[0], infinity, "fail")
	})
}

// try rounds the values times inverse, which it doubles, and remembers the scale that
// goes with the levels if it is better than all before.
func (f *iq4) try(label string, inverse group, first bool) {
	f.to(inverse, f.FADD, inverse)
	xq, qq := f.zeros(), f.zeros()
	f.Scope(func() {
		at, left := f.Register(), f.Register()
		f.Op("MOVD %v, %v", f.work, at)
		f.Op("MOVD $16, %v", left)
		f.Label(label)
		f.Scope(func() {
			q := f.Vectors(4)
			for place := range 2 {
				f.Scope(func() {
					x := f.load(at, place*placeBytes+values)
					for g := range groups {
						f.FMUL(q[2*place+g], inverse[g], x[g])
					}
				})
			}
			f.rounder.round(q)
			f.TBL(q[0], f.levels, q[0])
			for i := 3; i >= 0; i-- {
				f.TBL(q[i], q[0], f.spread[i])
				f.SCVTF(q[i], q[i], 24)
			}
			for place := range 2 {
				f.Scope(func() {
					level := group{q[2*place], q[2*place+1]}
					x, wl := f.load(at, place*placeBytes+values), f.load(at, place*placeBytes+weights)
					f.to(wl, f.FMUL, level)
					f.to(x, f.FMUL, wl)
					f.to(xq, f.FADD, x)
					f.to(wl, f.FMUL, level)
					f.to(qq, f.FADD, wl)
				})
			}
		})
		f.Op("ADD $%d, %v", 2*placeBytes, at)
		f.Op("SUBS $1, %v", left)
		f.Op("BNE %s", label)
	})
	zero := both(inverse[0])
	f.Zero(zero[0])
	f.Scope(func() {
		better := f.do(f.FCMGT, qq, zero)
		if first {
			scale := f.do(f.FDIV, xq, qq)
			f.to(scale, f.AND, better)
			f.store(scale, f.work, iq4Scale)
			f.to(scale, f.FMUL, xq)
			f.store(scale, f.work, iq4Best)
			return
		}
		best, t := f.load(f.work, iq4Best), f.do(f.FMUL, xq, xq)
		f.to(best, f.FMUL, qq)
		f.to(t, f.FCMGT, best)
		f.to(better, f.AND, t)
		f.to(qq, func(d, n, m neon.Vector) { f.FDIV(d, m, n) }, xq)
		f.to(xq, f.FMUL, qq)
		f.replace(iq4Scale, qq, better)
		f.replace(iq4Best, xq, better)
	})
}

// packIQ4 generates packIQ4 of package quant. It does up to the first block with a
// quotient that is large or NaN, and returns how many.
func packIQ4(file *neon.File) {
	f := file.Function("packIQ4NEON", "dst *byte, stride int, x *float32, inverses *float32, blocks int", "done int")
	dst, stride, x, inverses := f.Parameter("dst"), f.Parameter("stride"), f.Parameter("x"), f.Parameter("inverses")
	blocks, done := f.Parameter("blocks"), f.Register()
	rounder, most := newRounderIQ4(f), f.Constant(math.Float32bits(1<<13))
	f.Op("MOVD ZR, %v", done)
	f.Label("block")
	inverse, largest, v := f.Vector(), f.Vector(), f.Vectors(8)
	f.Op("FMOVS.P 4(%v), F%d", inverses, inverse)
	f.Op("FADDS F%d, F%d, F%d", inverse, inverse, inverse)
	f.Zero(largest)
	for i := 0; i < 8; i += 2 {
		f.LoadPair(v[i], v[i+1], x, 16*i)
	}
	for _, v := range v {
		f.FMULElement(v, v, inverse, 0)
		f.Scope(func() {
			magnitude := f.Vector()
			f.FABS(magnitude, v)
			f.FMAX(largest, largest, magnitude)
		})
	}
	f.FMAXV(largest, largest)
	f.Op("FCMPS F%d, F%d", most, largest)
	f.Op("BPL end") // not less, or NaN
	rounder.round(v[:4])
	rounder.round(v[4:])
	f.SLI(neon.B16, v[0], v[4], 4)
	f.Store(v[0], dst, 0)
	f.Op("ADD %v, %v", stride, dst)
	f.Op("ADD $128, %v", x)
	f.Op("ADD $1, %v", done)
	f.Op("CMP %v, %v", blocks, done)
	f.Op("BNE block")
	f.Label("end")
	f.Return("done", done)
}
