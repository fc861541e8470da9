// Command symmetric generates the fits of scales around zero, and what goes with
// them. Run go generate in package quant/internal/kernel.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/ggufkit/ggufkit/quant/_asm/vector"
)

func main() {
	ConstraintExpr("amd64,!purego")
	c := newConstants()
	for _, v := range []ISA{AVX2, AVX512} {
		fitSymmetric(v, c)
		fitByDescent(v, c)
		fitScales(v, c)
		roundSubBlocks(v, c)
		weigh(v)
	}
	packQ6K()
	packQ3K()
	Generate()
}

// constants adds to those of all kernels.
type constants struct {
	Constants
	// largestFinite and negligible are of magnitudes.
	largestFinite, negligible Mem
	// packed is what makes bytes of four sums of rounder and integer.
	packed Mem
	// tenths has float32(0.1)*float32(step) for the steps -9 to 9.
	tenths Mem
}

func newConstants() constants {
	c := constants{Constants: NewConstants()}
	table := GLOBL("symmetric", RODATA|NOPTR)
	next := 0
	add := func(n int, bits uint32) Mem {
		at := table.Offset(next)
		for range n {
			DATA(next, U32(bits))
			next += 4
		}
		return at
	}
	c.largestFinite = add(16, math.Float32bits(math.MaxFloat32))
	c.negligible = add(16, math.Float32bits(1e-15))
	// Shifted by 0, 8, 16 and 24 bits, the bits of four rounders leave this.
	var rounders uint32
	for b := range 4 {
		rounders += math.Float32bits(3<<22) << (8 * b)
	}
	c.packed = add(16, -rounders)
	c.tenths = table.Offset(next)
	tenth := float32(0.1)
	for step := -9; step <= 9; step++ {
		product := tenth * float32(step) // rounded
		add(1, math.Float32bits(product))
	}
	return c
}

// set puts value into the lanes of mask.
func set(v ISA, mask, value Op, into reg.VecVirtual) {
	if v.Masks {
		VBLENDMPS(value, into, mask, into)
	} else {
		VBLENDVPS(mask, value, into, into)
	}
}

// choose is v.Choose, which avo lets live from the start of the function: it
// takes the result of a masked instruction to be an operand as well.
func choose(v ISA, mask, yes, no Op) reg.VecVirtual {
	if !v.Masks {
		return v.Choose(mask, yes, no)
	}
	r := v.Load(no)
	set(v, mask, yes, r)
	return r
}

// greater returns the mask of the lanes where integer a is greater than b.
func greater(v ISA, a, b Op) Op {
	if v.Masks {
		k := K()
		VPCMPGTD(b, a, k)
		return k
	}
	m := v.Vector()
	VPCMPGTD(b, a, m)
	return m
}

// also returns the lanes of mask where predicate holds for a and b.
func also(v ISA, mask Op, predicate uint8, a, b Op) Op {
	if v.Masks {
		k := K()
		VCMPPS(U8(predicate), b, a, mask, k)
		return k
	}
	m := v.Compare(predicate, a, b)
	VANDPS(mask, m, m)
	return m
}

// test sets the flags to equal if mask has no lanes.
func test(v ISA, mask Op) {
	if v.Masks {
		KORTESTW(mask, mask)
		return
	}
	bits := GP32()
	VMOVMSKPS(mask, bits)
	TESTL(bits, bits)
}

// parameter fills a vector with a parameter.
func parameter(v ISA, name string) reg.VecVirtual {
	x, r := XMM(), v.Vector()
	Load(Param(name), x)
	VBROADCASTSS(x, r)
	return r
}

// bytes returns the size of a vector.
func bytes(v ISA) int { return 4 * v.Width }

// roundToEven rounds to integers, which keep the sign of what they were.
func roundToEven(v ISA, f reg.VecVirtual) {
	if v.Masks {
		VRNDSCALEPS(U8(8), f, f)
	} else {
		VROUNDPS(U8(8), f, f)
	}
}

// rows are the addresses of rows that are a stride apart, in a register, as
// many as lanes.
type rows struct {
	fours           []reg.GPVirtual // rows 0, 4, 8 and 12
	stride, stride3 reg.GPVirtual
}

func newRows(v ISA, start reg.Register, stride reg.GPVirtual) rows {
	r := rows{stride: stride, stride3: GP64()}
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, r.stride3)
	return r.from(v, start)
}

// from returns rows that are as far apart, from start on.
func (r rows) from(v ISA, start reg.Register) rows {
	r.fours = nil
	for base := start; len(r.fours) < v.Width/4; base = r.fours[len(r.fours)-1] {
		next := GP64()
		if len(r.fours) == 0 {
			MOVQ(base, next)
		} else {
			LEAQ(Mem{Base: base, Index: r.stride, Scale: 4}, next)
		}
		r.fours = append(r.fours, next)
	}
	return r
}

func (r rows) at(row int) Mem {
	m := Mem{Base: r.fours[row/4]}
	switch row % 4 {
	case 1, 2:
		m.Index, m.Scale = r.stride, uint8(row%4)
	case 3:
		m.Index, m.Scale = r.stride3, 1
	}
	return m
}

func (r rows) advance(bytes uint8) {
	for _, p := range r.fours {
		ADDQ(U8(bytes), p)
	}
}

// apart returns the addresses of rows with a constant stride.
func apart(base reg.Register, disp, stride int) func(row int) Mem {
	return func(row int) Mem { return Mem{Base: base, Disp: disp + row*stride} }
}

// transpose4 exchanges rows and columns of the 4x4 matrices in the 128-bit
// parts of r.
func transpose4(v ISA, r [4]reg.VecVirtual) [4]reg.VecVirtual {
	shuffle := func(op func(...Op), a, b reg.VecVirtual) reg.VecVirtual {
		into := v.Vector()
		op(b, a, into)
		return into
	}
	a, b := shuffle(VUNPCKLPS, r[0], r[1]), shuffle(VUNPCKLPS, r[2], r[3])
	c, d := shuffle(VUNPCKHPS, r[0], r[1]), shuffle(VUNPCKHPS, r[2], r[3])
	return [4]reg.VecVirtual{
		shuffle(VUNPCKLPD, a, b), shuffle(VUNPCKHPD, a, b),
		shuffle(VUNPCKLPD, c, d), shuffle(VUNPCKHPD, c, d),
	}
}

// columns loads the first four floats of every row, one row in each lane.
func columns(v ISA, at func(row int) Mem) [4]reg.VecVirtual {
	var r [4]reg.VecVirtual
	for i := range r {
		r[i] = v.Vector()
		if v.Masks {
			VBROADCASTF32X4(at(i), r[i])
			for part := 1; part < 4; part++ {
				VINSERTF32X4(U8(part), at(4*part+i), r[i], r[i])
			}
		} else {
			VBROADCASTF128(at(i), r[i])
			VINSERTF128(U8(1), at(4+i), r[i], r[i])
		}
	}
	return transpose4(v, r)
}

// storeRows stores 16 bytes to every row, which its lane has in columns.
func storeRows(v ISA, columns [4]reg.VecVirtual, at func(row int) Mem) {
	for i, r := range transpose4(v, columns) {
		VMOVUPS(r.AsX(), at(i))
		for part := 1; part < v.Width/4; part++ {
			if v.Masks {
				VEXTRACTF32X4(U8(part), r, at(4*part+i))
			} else {
				VEXTRACTF128(U8(part), r, at(4*part+i))
			}
		}
	}
}

// storeBytes stores 16 integers to every row. Each returns those of a column,
// added to rounder, as floats.
func storeBytes(v ISA, c constants, each func(column int) reg.VecVirtual, at func(row int) Mem) {
	var words [4]reg.VecVirtual
	for w := range words {
		sum := each(4 * w)
		for b := 1; b < 4; b++ {
			next := each(4*w + b)
			VPSLLD(U8(8*b), next, next)
			VPADDD(next, sum, sum)
		}
		VPADDD(c.packed, sum, sum)
		words[w] = sum
	}
	storeRows(v, words, at)
}

// extremes finds extreme of package quant.
type extremes struct{ largest, peak reg.VecVirtual }

func newExtremes(v ISA, c constants) extremes { return extremes{v.Load(c.Zero), v.Load(c.Zero)} }

// add takes the next value of every lane. Magnitudes are ordered as their bits
// are.
func (e extremes) add(v ISA, c constants, value reg.VecVirtual) {
	magnitude := v.Vector()
	VANDPS(c.Absolute, value, magnitude)
	set(v, greater(v, magnitude, e.largest), value, e.peak)
	VPMAXSD(magnitude, e.largest, e.largest)
}

// negate changes the sign of r.
func negate(c constants, r reg.VecVirtual) { VXORPS(c.MinusZero, r, r) }

// slots gives room for vectors after the columns.
func slots(v ISA, base reg.Register, disp int) func() Mem {
	return func() Mem {
		m := Mem{Base: base, Disp: disp}
		disp += bytes(v)
		return m
	}
}

// local reserves room for n vectors on the stack, from a cache line's start on.
// The function must not be NOSPLIT for that.
func local(v ISA, n int) reg.GPVirtual {
	Attributes(0)
	r := GP64()
	LEAQ(AllocLocal(n*bytes(v)+64), r)
	ADDQ(U8(63), r)
	ANDQ(I8(-64), r)
	return r
}

// finish returns whether the function has done its work.
func finish(done bool) {
	var value uint64
	if done {
		value = 1
	}
	r := GP8()
	MOVB(U8(value), r)
	Store(r, Return("ok"))
	VZEROUPPER()
	RET()
}

// fitSymmetric generates fitSymmetric of package quant with one sub-block per
// lane.
//
// As no |inverse*x| is above n + 1, it rounds without nearestInt's wrapping, and
// limits only what the candidate scale can take beyond the limit.
func fitSymmetric(v ISA, c constants) {
	Start("fitSymmetric", "func(q *uint8, x, w *float32, size int, scales, totals *float32, n float32) (ok bool)",
		fmt.Sprintf("fits %d sub-blocks of size values, 16 or 32, with the weights w, or those of x^2 if w is nil, the sums of which it stores in totals. "+
			"It returns false, with nothing stored, if a value or a weight is not finite.", v.Width), v)
	size := Load(Param("size"), GP64()).(reg.GPVirtual)
	base := local(v, 3*32+8)
	end := GP64()
	IMUL3Q(U32(uint32(3*bytes(v))), size, end)
	i := GP64()
	const value, product, weight = 0, 1, 2
	column := func(offset, what int) Mem {
		return Mem{Base: base, Index: i, Scale: 1, Disp: (3*offset + what) * bytes(v)}
	}
	each := func(label string, columns int, body func()) {
		XORQ(i, i)
		Label(label)
		body()
		ADDQ(U32(uint32(3*columns*bytes(v))), i)
		CMPQ(i, end)
		JLT(LabelRef(label))
	}

	Comment("Put the sub-blocks into lanes.")
	stride := GP64()
	MOVQ(size, stride)
	SHLQ(U8(2), stride)
	x := newRows(v, Load(Param("x"), GP64()), stride)
	extreme, heaviest, sum := newExtremes(v, c), v.Load(c.Zero), v.Load(c.Zero)
	each("columns", 4, func() {
		for k, r := range columns(v, x.at) {
			VMOVUPS(r, column(k, value))
			extreme.add(v, c, r)
		}
		x.advance(16)
	})
	weigh := func(k int, w reg.VecVirtual) {
		VADDPS(w, sum, sum)
		VMOVUPS(w, column(k, weight))
		VMULPS(column(k, value), w, w)
		VMOVUPS(w, column(k, product))
	}
	w := Load(Param("w"), GP64())
	TESTQ(w, w)
	JE(LabelRef("unweighted"))
	weights := x.from(v, w)
	each("weights", 4, func() {
		for k, r := range columns(v, weights.at) {
			magnitude := v.Vector()
			VANDPS(c.Absolute, r, magnitude)
			VPMAXSD(magnitude, heaviest, heaviest)
			weigh(k, r)
		}
		weights.advance(16)
	})
	JMP(LabelRef("weighed"))
	Label("unweighted")
	each("squares", 4, func() {
		for k := range 4 {
			r := v.Load(column(k, value))
			VMULPS(r, r, r)
			weigh(k, r)
		}
	})
	Label("weighed")
	VPMAXSD(extreme.largest, heaviest, heaviest)
	test(v, greater(v, heaviest, v.Load(c.largestFinite)))
	JNE(LabelRef("special"))
	totals := Load(Param("totals"), GP64())
	VMOVUPS(sum, Mem{Base: totals})

	state := GP64()
	LEAQ(Mem{Base: base, Index: end, Scale: 1}, state)
	slot := slots(v, state, 0)
	negativePeak, inverse, scale, best, levels, low, high, limit := slot(), slot(), slot(), slot(), slot(), slot(), slot(), slot()
	n := parameter(v, "n")
	VMOVUPS(n, levels)
	negate(c, extreme.peak)
	VMOVUPS(extreme.peak, negativePeak)
	lowest := v.Sub(v.Load(c.Zero), n)
	VMOVUPS(lowest, low)
	highest := v.Sub(n, v.Load(c.One))
	VMOVUPS(highest, high)
	Comment("What rounds to 0 at the end, in lanes that have a scale.")
	rounder := v.Load(c.Rounder)
	tiny := v.Compare(Less, extreme.largest, v.Load(c.negligible))
	VMOVUPS(choose(v, tiny, rounder, v.Add(v.Add(rounder, n), highest)), limit)

	// pass tries the scales of steps in one go through the values.
	pass := func(label string, steps []int) {
		type fit struct {
			step            int
			inverse, xq, qq reg.VecVirtual
		}
		var fits []fit
		peak := v.Load(negativePeak)
		for _, step := range steps {
			tenth := v.Vector()
			VBROADCASTSS(c.tenths.Offset(4*(step+9)), tenth)
			fits = append(fits, fit{step, v.Div(v.Add(tenth, levels), peak), v.Load(c.Zero), v.Load(c.Zero)})
		}
		high := v.Load(high)
		const columns = 4
		each(label, columns, func() {
			for k := range columns {
				values := v.Load(column(k, value))
				var product, weight Op = column(k, product), column(k, weight)
				if v.Masks {
					product, weight = v.Load(product), v.Load(weight)
				}
				for _, f := range fits {
					level := v.Mul(values, f.inverse)
					roundToEven(v, level)
					// From n - 0.5 up, the value opposite to the peak may be n.
					if f.step >= -5 {
						VMINPS(high, level, level)
					}
					// From n + 0.5 up, the peak may be -n - 1.
					if f.step >= 5 {
						VMAXPS(low, level, level)
					}
					VADDPS(v.Mul(level, product), f.xq, f.xq)
					weighted := v.Mul(level, weight)
					VMULPS(level, weighted, weighted)
					VADDPS(weighted, f.qq, f.qq)
				}
			}
		})
		for _, f := range fits {
			newScale := v.Div(f.xq, f.qq)
			if f.step == 0 {
				newScale = choose(v, v.Compare(Equal, f.qq, v.Load(c.Zero)), v.Load(c.Zero), newScale)
				VMOVUPS(newScale, scale)
				VMOVUPS(v.Mul(newScale, f.xq), best)
				VMOVUPS(f.inverse, inverse)
				continue
			}
			b := v.Load(best)
			better := also(v, v.Compare(Greater, f.qq, c.Zero), Greater, v.Mul(f.xq, f.xq), v.Mul(b, f.qq))
			VMOVUPS(choose(v, better, v.Mul(newScale, f.xq), b), best)
			VMOVUPS(choose(v, better, newScale, v.Load(scale)), scale)
			VMOVUPS(choose(v, better, f.inverse, v.Load(inverse)), inverse)
		}
	}
	steps := []int{0}
	for step := -9; step <= 9; step++ {
		if step != 0 {
			steps = append(steps, step)
		}
	}
	atOnce := 3 // as many as registers suffice for
	if v.Masks {
		atOnce = 4
	}
	for len(steps) > 0 {
		tried := steps[:min(atOnce, len(steps))]
		Comment(fmt.Sprintf("Steps %d.", tried))
		pass(fmt.Sprintf("from_%d", len(steps)), tried)
		steps = steps[len(tried):]
	}

	Comment("The integers of the best scale.")
	out := newRows(v, Load(Param("q"), GP64()), Load(Param("size"), GP64()).(reg.GPVirtual))
	chosen, most := v.Load(inverse), v.Load(limit)
	least := v.Load(c.Rounder)
	offset := v.Add(least, levels)
	each("levels", 16, func() {
		storeBytes(v, c, func(k int) reg.VecVirtual {
			level := v.Add(v.Mul(chosen, column(k, value)), offset)
			VPMAXSD(least, level, level)
			VPMINSD(most, level, level)
			return level
		}, out.at)
		out.advance(16)
	})
	tiny = v.Compare(Equal, most, least)
	scales := Load(Param("scales"), GP64())
	VMOVUPS(choose(v, tiny, v.Load(c.Zero), v.Load(scale)), Mem{Base: scales})
	finish(true)

	Label("special")
	finish(false)
}

// fitByDescent generates fitByDescent of package quant with one sub-block per
// lane. Lanes that have come to an end stay as they are in the passes of others,
// as what does not change anything once does not the next time. It does several
// vectors of sub-blocks together, as every step of one depends on the step before.
func fitByDescent(v ISA, c constants) {
	const vectors = 4
	Start("fitByDescent", "func(q *uint8, x, scales *float32, unfinished *uint16, passes int, n float32) (ok bool)",
		fmt.Sprintf("fits %d vectors of %d sub-blocks of 16 values. It sets the bits of unfinished, an integer for each vector, for the sub-blocks that "+
			"the last of the passes changed. It is not ok, with nothing stored, if a value is not finite.", vectors, v.Width), v)
	base := local(v, vectors*(16*4+3)+2)
	const value, weight, product, level = 0, 1, 2, 3
	groupBytes := (16*4 + 3) * bytes(v)
	i := GP64()
	column := func(base reg.Register, offset, what int) Mem {
		return Mem{Base: base, Index: i, Scale: 1, Disp: (4*offset + what) * bytes(v)}
	}
	each := func(label string, body func()) {
		XORQ(i, i)
		Label(label)
		body()
		ADDQ(U32(uint32(4*bytes(v))), i)
		CMPQ(i, U32(uint32(16*4*bytes(v))))
		JLT(LabelRef(label))
	}
	// state returns where a vector of sub-blocks has its sums and its limit.
	state := func(base reg.Register, group int) (xq, qq, limit Mem) {
		slot := slots(v, base, group*groupBytes+16*4*bytes(v))
		return slot(), slot(), slot()
	}
	groups := func(label string, body func(base reg.Register)) {
		at, left := GP64(), GP64()
		MOVQ(base, at)
		MOVQ(U32(uint32(vectors)), left)
		Label(label)
		body(at)
		ADDQ(U32(uint32(groupBytes)), at)
		SUBQ(U8(1), left)
		JNE(LabelRef(label))
	}

	Comment("Put the sub-blocks into lanes and round them.")
	x := Load(Param("x"), GP64())
	groups("groups", func(base reg.Register) {
		XORQ(i, i)
		extreme := newExtremes(v, c)
		for chunk := range 4 {
			for k, r := range columns(v, apart(x, 16*chunk, 64)) {
				VMOVUPS(r, column(base, 4*chunk+k, value))
				extreme.add(v, c, r)
			}
		}
		test(v, greater(v, extreme.largest, v.Load(c.largestFinite)))
		JNE(LabelRef("special"))
		n := parameter(v, "n")
		highest := v.Sub(n, v.Load(c.One))
		tiny := v.Compare(Less, extreme.largest, v.Load(c.negligible))
		xqSlot, qqSlot, limit := state(base, 0)
		rounder := v.Load(c.Rounder)
		VMOVUPS(choose(v, tiny, rounder, v.Add(v.Add(rounder, n), highest)), limit)
		negate(c, extreme.peak)
		inverse := v.Div(n, extreme.peak)
		xq, qq := v.Load(c.Zero), v.Load(c.Zero)
		each("levels", func() {
			x := v.Load(column(base, 0, value))
			l := v.Mul(inverse, x)
			roundToEven(v, l)
			VMINPS(highest, l, l)
			VMOVUPS(l, column(base, 0, level))
			w := v.Mul(x, x)
			VMOVUPS(w, column(base, 0, weight))
			wx := v.Mul(w, x)
			VMOVUPS(wx, column(base, 0, product))
			VADDPS(v.Mul(wx, l), xq, xq)
			VADDPS(v.Mul(v.Mul(w, l), l), qq, qq)
		})
		VMOVUPS(xq, xqSlot)
		VMOVUPS(qq, qqSlot)
		ADDQ(U32(uint32(64*v.Width)), x)
	})

	Comment("Move one integer at a time.")
	n := parameter(v, "n")
	limits := slots(v, base, vectors*groupBytes)
	var none, rounder, mantissa, exponent, low, high Op = c.Zero, c.Rounder, c.Mantissa, c.Exponent, limits(), limits()
	VMOVUPS(v.Sub(v.Load(rounder), n), low)
	VMOVUPS(v.Sub(v.Add(n, rounder), v.Load(c.One)), high)
	if v.Masks {
		none, rounder, mantissa, exponent, low, high = v.Load(none), v.Load(rounder), v.Load(mantissa), v.Load(exponent), v.Load(low), v.Load(high)
	}
	var xq, qq [vectors]reg.VecVirtual
	var changes [vectors]reg.GPVirtual
	for g := range vectors {
		xqSlot, qqSlot, _ := state(base, g)
		xq[g], qq[g], changes[g] = v.Load(xqSlot), v.Load(qqSlot), GP32()
	}
	left := Load(Param("passes"), GP64())
	Label("pass")
	for _, c := range changes {
		XORL(c, c)
	}
	each("values", func() {
		for g := range vectors {
			column := func(what int) Mem {
				m := column(base, 0, what)
				m.Disp += g * groupBytes
				return m
			}
			l := v.Load(column(level))
			weighted := v.Mul(l, column(weight))
			VMULPS(l, weighted, weighted)
			otherQQ := v.Sub(qq[g], weighted)
			otherXQ := v.Sub(xq[g], v.Mul(l, column(product)))
			better := v.Compare(Greater, otherXQ, none)
			moved := v.Div(v.Mul(otherQQ, column(value)), otherXQ)
			VADDPS(rounder, moved, moved)
			if v.Masks {
				VPTERNLOGD(U8(0xea), exponent, mantissa, moved) // moved&mantissa | exponent
			} else {
				VPAND(mantissa, moved, moved)
				VPOR(exponent, moved, moved)
			}
			VPMAXSD(low, moved, moved)
			VPMINSD(high, moved, moved)
			VSUBPS(rounder, moved, moved)
			better = also(v, better, notEqual, moved, l)
			VADDPS(v.Mul(moved, column(product)), otherXQ, otherXQ)
			weighted = v.Mul(moved, column(weight))
			VMULPS(moved, weighted, weighted)
			VADDPS(weighted, otherQQ, otherQQ)
			better = also(v, better, Greater, otherQQ, none)
			after := v.Mul(v.Mul(otherXQ, otherXQ), qq[g])
			before := v.Mul(v.Mul(xq[g], xq[g]), otherQQ)
			better = also(v, better, Greater, after, before)
			VMOVUPS(choose(v, better, moved, l), column(level))
			set(v, better, otherXQ, xq[g])
			set(v, better, otherQQ, qq[g])
			lanes := GP32()
			if v.Masks {
				KMOVW(better, lanes)
			} else {
				VMOVMSKPS(better, lanes)
			}
			ORL(lanes, changes[g])
		}
	})
	unfinished, changed := Load(Param("unfinished"), GP64()), GP32()
	XORL(changed, changed)
	for g, c := range changes {
		MOVW(c.As16(), Mem{Base: unfinished, Disp: 2 * g})
		ORL(c, changed)
	}
	TESTL(changed, changed)
	JE(LabelRef("done"))
	SUBQ(U8(1), left)
	JNE(LabelRef("pass"))
	Label("done")
	for g := range vectors {
		xqSlot, qqSlot, _ := state(base, g)
		VMOVUPS(xq[g], xqSlot)
		VMOVUPS(qq[g], qqSlot)
	}

	Comment("Store what was found.")
	q, scales := Load(Param("q"), GP64()), Load(Param("scales"), GP64())
	groups("store", func(base reg.Register) {
		XORQ(i, i)
		xqSlot, qqSlot, limit := state(base, 0)
		least := v.Load(c.Rounder)
		most := v.Load(limit)
		offset := v.Add(least, parameter(v, "n"))
		storeBytes(v, c, func(k int) reg.VecVirtual {
			l := v.Add(offset, column(base, k, level))
			VPMAXSD(least, l, l)
			VPMINSD(most, l, l)
			return l
		}, apart(q, 0, 16))
		qq := v.Load(qqSlot)
		scale := choose(v, v.Compare(Greater, qq, v.Load(c.Zero)), v.Div(v.Load(xqSlot), qq), v.Load(c.Zero))
		VMOVUPS(choose(v, v.Compare(Equal, most, least), v.Load(c.Zero), scale), Mem{Base: scales})
		ADDQ(U32(uint32(16*v.Width)), q)
		ADDQ(U32(uint32(bytes(v))), scales)
	})
	finish(true)

	Label("special")
	finish(false)
}

// Predicates of Compare that are true for NaN.
const (
	unordered = 0x03
	notEqual  = 0x04
)

// fitScales generates fitScales of package quant with one super-block per
// lane.
func fitScales(v ISA, c constants) {
	Start("fitScales", "func(levels *uint8, scales, d *float32, n float32) (ok bool)",
		fmt.Sprintf("fits the 16 scales of %d super-blocks. It returns false, with nothing stored, if a scale is not finite, or the largest of a "+
			"super-block next to 0.", v.Width), v)
	base := local(v, 16)
	scales := Load(Param("scales"), GP64())
	column := func(k int) Mem { return Mem{Base: base, Disp: k * bytes(v)} }
	extreme := newExtremes(v, c)
	for chunk := range 4 {
		for k, r := range columns(v, apart(scales, 16*chunk, 64)) {
			VMOVUPS(r, column(4*chunk+k))
			extreme.add(v, c, r)
		}
	}
	test(v, greater(v, extreme.largest, v.Load(c.largestFinite)))
	JNE(LabelRef("special"))
	test(v, also(v, v.Compare(Less, extreme.largest, c.negligible), Greater, extreme.largest, c.Zero))
	JNE(LabelRef("special"))

	n := parameter(v, "n")
	negate(c, extreme.peak)
	inverse := v.Div(n, extreme.peak)
	none := v.Compare(Equal, extreme.largest, v.Load(c.Zero))
	d := Load(Param("d"), GP64())
	VMOVUPS(choose(v, none, v.Load(c.Zero), v.Div(v.Load(c.One), inverse)), Mem{Base: d})
	least := v.Load(c.Rounder)
	offset := v.Add(least, n)
	most := choose(v, none, least, v.Sub(v.Add(offset, n), v.Load(c.One)))
	levels := Load(Param("levels"), GP64())
	storeBytes(v, c, func(k int) reg.VecVirtual {
		level := v.Add(v.Mul(inverse, column(k)), offset)
		VPMAXSD(least, level, level)
		VPMINSD(most, level, level)
		return level
	}, apart(levels, 0, 16))
	finish(true)

	Label("special")
	finish(false)
}

// roundSubBlocks generates roundSubBlocks of package quant.
func roundSubBlocks(v ISA, c constants) {
	Start("roundSubBlocks", "func(q *uint8, x, scales *float32, count int, n float32)",
		"rounds count sub-blocks of 16 values, but for those that have a scale of 0.", v)
	q, x, scales, left := Load(Param("q"), GP64()), Load(Param("x"), GP64()), Load(Param("scales"), GP64()), Load(Param("count"), GP64())
	rounder, mantissa, exponent := v.Load(c.Rounder), v.Load(c.Mantissa), v.Load(c.Exponent)
	n := parameter(v, "n")
	low := v.Sub(rounder, n)
	high := v.Sub(v.Add(rounder, n), v.Load(c.One))
	Label("round")
	bits := GP32()
	MOVL(Mem{Base: scales}, bits)
	ADDL(bits, bits) // without the sign
	JE(LabelRef("next"))
	scale := v.Vector()
	VBROADCASTSS(Mem{Base: scales}, scale)
	var levels []reg.VecVirtual
	for part := range 16 / v.Width {
		level := v.Div(v.Load(Mem{Base: x, Disp: part * bytes(v)}), scale)
		VADDPS(rounder, level, level)
		if v.Masks {
			VPTERNLOGD(U8(0xea), exponent, mantissa, level) // level&mantissa | exponent
		} else {
			VPAND(mantissa, level, level)
			VPOR(exponent, level, level)
		}
		VPMAXSD(low, level, level)
		VPMINSD(high, level, level)
		VPSUBD(low, level, level)
		levels = append(levels, level)
	}
	if v.Masks {
		VPMOVDB(levels[0], Mem{Base: q})
	} else {
		words, upper := v.Vector(), XMM()
		VPACKSSDW(levels[1], levels[0], words)
		VPERMQ(U8(0xd8), words, words) // the parts of 128 bits interleave
		VEXTRACTI128(U8(1), words, upper)
		VPACKUSWB(upper, words.AsX(), upper)
		VMOVDQU(upper, Mem{Base: q})
	}
	Label("next")
	ADDQ(U8(16), q)
	ADDQ(U8(64), x)
	ADDQ(U8(4), scales)
	SUBQ(U8(1), left)
	JNE(LabelRef("round"))
	VZEROUPPER()
	RET()
}

// weigh generates weigh of package quant.
func weigh(v ISA) {
	Start("weighValues", "func(w, x, importance *float32, count int, variance float32) (ok bool)",
		fmt.Sprintf("weighs count values, a multiple of %d. It is not ok if a weight is NaN.", v.Width), v)
	w, x, importance, end := Load(Param("w"), GP64()), Load(Param("x"), GP64()), Load(Param("importance"), GP64()), Load(Param("count"), GP64())
	variance := parameter(v, "variance")
	SHLQ(U8(2), end)
	i := GP64()
	XORQ(i, i)
	at := func(base reg.Register) Mem { return Mem{Base: base, Index: i, Scale: 1} }
	Label("weigh")
	r := v.Load(at(x))
	VMULPS(r, r, r)
	VADDPS(r, variance, r)
	VSQRTPS(r, r)
	VMULPS(at(importance), r, r)
	VMOVUPS(r, at(w))
	test(v, v.Compare(unordered, r, r))
	JNE(LabelRef("special"))
	ADDQ(U8(bytes(v)), i)
	CMPQ(i, end)
	JLT(LabelRef("weigh"))
	finish(true)

	Label("special")
	finish(false)
}

// pack generates a function that packs the integers of super-blocks of 256 into
// blocks of size bytes.
func pack(name string, size uint32, masks func(), body func(block, q reg.Register)) {
	Start(name, "func(block, q *uint8, count int)", "packs the integers of count super-blocks.", AVX2)
	block, q, left := Load(Param("block"), GP64()), Load(Param("q"), GP64()), Load(Param("count"), GP64())
	masks()
	Label("pack")
	body(block, q)
	ADDQ(U32(size), block)
	ADDQ(U32(256), q)
	SUBQ(U8(1), left)
	JNE(LabelRef("pack"))
	VZEROUPPER()
	RET()
}

// everyByte returns a vector with v in every byte.
func everyByte(v uint8) reg.VecVirtual {
	r, x, word := YMM(), XMM(), GP32()
	MOVL(U32(uint32(v)*0x01010101), word)
	VMOVD(word, x)
	VPBROADCASTD(x, r)
	return r
}

// shifted returns the bits of mask of bytes that are shifted to the left, or to
// the right if by is negative. mask has no bits that come from other bytes.
func shifted(from Mem, by int, mask Op) reg.VecVirtual {
	r := YMM()
	switch {
	case by == 0:
		VPAND(from, mask, r)
		return r
	case by > 0:
		VMOVDQU(from, r)
		VPSLLW(U8(by), r, r)
	default:
		VMOVDQU(from, r)
		VPSRLW(U8(-by), r, r)
	}
	VPAND(mask, r, r)
	return r
}

// packPairs stores the two bits at shift of each of the four vectors in 128
// integers.
func packPairs(to Mem, from Mem, shift int, masks [4]reg.VecVirtual) {
	pairs := shifted(from, -shift, masks[0])
	for part := 1; part < 4; part++ {
		VPOR(shifted(from.Offset(32*part), 2*part-shift, masks[part]), pairs, pairs)
	}
	VMOVDQU(pairs, to)
}

func pairMasks() (masks [4]reg.VecVirtual) {
	for part := range masks {
		masks[part] = everyByte(3 << (2 * part))
	}
	return masks
}

// packQ6K generates packQ6K of package quant.
func packQ6K() {
	var low, high reg.VecVirtual
	var masks [4]reg.VecVirtual
	pack("packQ6K", 210, func() {
		low, high, masks = everyByte(0x0f), everyByte(0xf0), pairMasks()
	}, func(block, q reg.Register) {
		for half := range 2 {
			from := Mem{Base: q, Disp: 128 * half}
			for part := range 2 {
				pairs := shifted(from.Offset(32*part), 0, low)
				VPOR(shifted(from.Offset(32*part+64), 4, high), pairs, pairs)
				VMOVDQU(pairs, Mem{Base: block, Disp: 64*half + 32*part})
			}
			packPairs(Mem{Base: block, Disp: 128 + 32*half}, from, 4, masks)
		}
	})
}

// packQ3K generates packQ3K of package quant.
func packQ3K() {
	var ones [8]reg.VecVirtual
	var masks [4]reg.VecVirtual
	pack("packQ3K", 110, func() {
		for i := range ones {
			ones[i] = everyByte(1 << i)
		}
		masks = pairMasks()
	}, func(block, q reg.Register) {
		high := shifted(Mem{Base: q}, -2, ones[0])
		for part := 1; part < 8; part++ {
			VPOR(shifted(Mem{Base: q, Disp: 32 * part}, part-2, ones[part]), high, high)
		}
		VMOVDQU(high, Mem{Base: block})
		for half := range 2 {
			packPairs(Mem{Base: block, Disp: 32 + 32*half}, Mem{Base: q, Disp: 128 * half}, 0, masks)
		}
	})
}
