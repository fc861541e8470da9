// Command ternary generates the searches of IQ1_S and IQ1_M. Run go generate in
// package quant/internal/kernel.
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
	t := newTables()
	for _, v := range []ISA{AVX2, AVX512} {
		places(v, t, 32, 1)
		places(v, t, 16, 2)
		cuts(v, t)
		pairCuts(v, t)
		nearest(v, t)
	}
	sums(32, 1)
	sums(16, 2)
	fit(t)
	Generate()
}

// tables are the constants of the file. What is the same in all lanes is there
// once.
type tables struct {
	table Mem
	size  int
	same  map[uint32]Mem

	evens, odds Mem         // 0, 2, 4, ... and 1, 3, 5, ...
	columns     map[int]Mem // by width, what puts transposed columns into order

	step   Mem // 15 times 0, then -1, then 15 times 0
	window Mem // 16 times 0, then 33 times a word of ones
	place  Mem // 0, 1, 2, ...
	digits Mem // 0, 2, 4, ... 14
	lists  Mem // for each of eight places, where a vector of its three errors is, by four bits
}

func newTables() *tables {
	t := &tables{table: GLOBL("tables", RODATA|NOPTR), same: make(map[uint32]Mem)}
	t.step = t.add(31, func(i int) uint32 { return uint32(-b2i(i == 15)) })
	t.window = t.add(49, func(i int) uint32 { return uint32(-b2i(i >= 16)) })
	t.place = t.add(16, func(i int) uint32 { return uint32(i) })
	t.evens = t.add(16, func(i int) uint32 { return uint32(2 * i) })
	t.odds = t.add(16, func(i int) uint32 { return uint32(2*i + 1) })
	t.columns = make(map[int]Mem)
	for _, width := range []int{8, 16} {
		rows := width / 4
		t.columns[width] = t.add(width, func(i int) uint32 { return uint32(i%rows*4 + i/rows) })
	}
	t.digits = t.add(8, func(i int) uint32 { return uint32(2 * i) })
	t.lists = t.add(8*16, func(i int) uint32 {
		place, bits := i/16, i%16
		return uint32(place + 8*(bits>>(place%2*2)&3))
	})
	for _, f := range []float64{9. / 8, 7. / 8, 81. / 64, 49. / 64, 5. / 4, 3. / 4, 1 - 0x1p-10, 1 - 0x1p-9, math.MaxFloat32} {
		t.float(f)
	}
	t.int(math.MaxInt32)
	t.int(0x7f7fffff)
	t.int(8)
	t.int(16)
	return t
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (t *tables) add(n int, bits func(i int) uint32) Mem {
	at := t.table.Offset(t.size)
	for i := range n {
		DATA(t.size, U32(bits(i)))
		t.size += 4
	}
	return at
}

// int returns where i is.
func (t *tables) int(i uint32) Mem {
	at, ok := t.same[i]
	if !ok {
		at = t.add(1, func(int) uint32 { return i })
		t.same[i] = at
	}
	return at
}

func (t *tables) float(f float64) Mem { return t.int(math.Float32bits(float32(f))) }

// broadcast fills a vector with the four bytes at m.
func broadcast(v ISA, m Mem) reg.VecVirtual {
	r := v.Vector()
	VBROADCASTSS(m, r)
	return r
}

func zero(v ISA) reg.VecVirtual {
	r := v.Vector()
	if v.Masks {
		VPXORD(r, r, r)
	} else {
		VPXOR(r, r, r)
	}
	return r
}

// larger returns the larger one of floats that are not negative, or else of what
// they are as integers.
func larger(v ISA, a, b Op) reg.VecVirtual {
	r := v.Vector()
	VPMAXSD(b, a, r)
	return r
}

// intGreater returns the mask of the lanes where the integers a are greater than b.
func intGreater(v ISA, a, b Op) Op {
	if v.Masks {
		k := K()
		VPCMPGTD(b, a, k)
		return k
	}
	m := v.Vector()
	VPCMPGTD(b, a, m)
	return m
}

// lanes returns a mask as bits.
func lanes(v ISA, mask Op) reg.GPVirtual {
	r := GP32()
	if v.Masks {
		KMOVW(mask, r)
	} else {
		VMOVMSKPS(mask, r)
	}
	return r
}

// notZero returns the bits of the integers that are not 0.
func notZero(v ISA, x reg.VecVirtual) reg.GPVirtual {
	if v.Masks {
		k := K()
		VPTESTMD(x, x, k)
		return lanes(v, k)
	}
	VPCMPEQD(zero(v), x, x)
	bits := lanes(v, x)
	XORL(U32(1<<v.Width-1), bits)
	return bits
}

// signs returns the sign bits of the lanes.
func signs(v ISA, x reg.VecVirtual) reg.GPVirtual {
	if v.Masks {
		k := K()
		VPMOVD2M(x, k)
		return lanes(v, k)
	}
	return lanes(v, x)
}

// reduce combines all lanes by op, and returns a vector that has the result in
// the lowest four.
func reduce(v ISA, op func(...Op), x reg.VecVirtual) reg.VecVirtual {
	if v.Masks {
		half := YMM()
		VEXTRACTF64X4(U8(1), x, half)
		op(x.AsY(), half, half)
		x = half
	}
	quarter, swapped := XMM(), XMM()
	if v.Masks {
		VEXTRACTF32X4(U8(1), x.AsY(), quarter)
	} else {
		VEXTRACTF128(U8(1), x.AsY(), quarter)
	}
	op(x.AsX(), quarter, quarter)
	for _, order := range []uint64{0x4e, 0xb1} {
		VPSHUFD(U8(order), quarter, swapped)
		op(swapped, quarter, quarter)
	}
	return quarter
}

func at(base reg.Register, bytes int) Mem { return Mem{Base: base, Disp: bytes} }

// alignedWork loads a parameter and rounds it up to a multiple of 64 bytes.
func alignedWork() reg.Register {
	r := Load(Param("work"), GP64())
	ADDQ(U8(63), r)
	ANDQ(I8(-64), r)
	return r
}

func indexed(base, index reg.Register) Mem { return Mem{Base: base, Index: index, Scale: 1} }

// places generates the order of n values. A row of pairs, as many as the values have
// parts, gets x*w and w, and 0 for the other part.
//
// The place of a value in the order is the number of those less than it, of the
// same ones only those before it. Floats are compared as integers that have their
// order; those of the lanes after a value are made greater by one before they are
// compared with it.
func places(v ISA, t *tables, n, parts int) {
	Start(fmt.Sprintf("ternaryPlaces%d", n), "func(x, importance, w, sums, work *float32, rank *uint8, variance, least float32) (done int)",
		fmt.Sprintf("weighs %d values, finds their places in their order, and puts x*w and w into the rows of sums from the second on, with %d columns "+
			"for each. It returns 0, and only w is there, if a value is not finite, if none has a magnitude of least, or if there is a sign in w. "+
			"importance may be nil. work has room for %d floats.", n, parts, 3*n+16), v)
	x, importance, w := Load(Param("x"), GP64()), Load(Param("importance"), GP64()), Load(Param("w"), GP64())
	sums := Load(Param("sums"), GP64())
	work, rank := alignedWork(), Load(Param("rank"), GP64())
	bytes := 4 * v.Width
	products := 4 * n // in work

	count := n / v.Width
	TESTQ(importance, importance)
	JE(LabelRef("squares"))
	variance := v.Broadcast("variance", 48)
	for p := range count {
		value := v.Load(at(x, p*bytes))
		value = v.Add(v.Mul(value, value), variance)
		VSQRTPS(value, value)
		VMOVUPS(v.Mul(value, at(importance, p*bytes)), at(w, p*bytes))
	}
	JMP(LabelRef("weighed"))
	Label("squares")
	for p := range count {
		value := v.Load(at(x, p*bytes))
		VMOVUPS(v.Mul(value, value), at(w, p*bytes))
	}
	Label("weighed")

	done := GP64()
	XORQ(done, done)
	var keys, ranks []reg.VecVirtual
	noSign := broadcast(v, t.int(math.MaxInt32))
	null := zero(v)
	ones := v.Vector()
	if v.Masks {
		VPTERNLOGD(U8(0xff), ones, ones, ones)
	} else {
		VPCMPEQD(ones, ones, ones)
	}
	peak, sign := zero(v), zero(v)
	for p := range count {
		value, weight := v.Load(at(x, p*bytes)), v.Load(at(w, p*bytes))
		product, pairs := v.Mul(weight, value), v.Vector()
		VUNPCKLPS(weight, product, pairs)
		VMOVUPS(pairs, at(work, products+2*p*bytes))
		VUNPCKHPS(weight, product, product)
		VMOVUPS(product, at(work, products+(2*p+1)*bytes))
		VORPS(weight, sign, sign)
		magnitude := v.Vector()
		VANDPS(value, noSign, magnitude)
		VPMAXSD(magnitude, peak, peak)
		key := v.Add(value, null) // -0 becomes 0
		flip := v.Vector()
		VPSRAD(U8(31), key, flip)
		VPSRLD(U8(1), flip, flip)
		VXORPS(flip, key, key)
		VMOVUPS(key, at(work, p*bytes))
		VPSUBD(ones, key, key)
		keys, ranks = append(keys, key), append(ranks, zero(v))
	}
	special := intGreater(v, peak, broadcast(v, t.int(0x7f7fffff)))
	least := broadcast(v, NewParamAddr("least", 52))
	VPSUBD(least, peak, peak) // Negative where it is less.
	refuse, small := signs(v, sign), signs(v, peak)
	ORL(lanes(v, special), refuse)
	XORL(U32(1<<v.Width-1), small)
	DECL(small) // Negative if all are.
	SHRL(U8(31), small)
	ORL(small, refuse)
	JNE(LabelRef("end"))

	for j := range n {
		key := broadcast(v, at(work, 4*j))
		p := j / v.Width
		VPADDD(t.step.Offset(4*(15-j%v.Width)), keys[p], keys[p])
		for p := range count {
			less := intGreater(v, keys[p], key)
			if v.Masks {
				VPSUBD(ones, ranks[p], less, ranks[p])
			} else {
				VPSUBD(less, ranks[p], ranks[p])
			}
		}
	}
	if v.Masks {
		for p, r := range ranks {
			VPMOVDB(r, at(rank, 16*p))
		}
	} else {
		for p := 0; p < count; p += 2 {
			r := ranks[p]
			VPACKSSDW(ranks[p+1], r, r)
			VPERMQ(U8(0xd8), r, r)
			high := XMM()
			VEXTRACTI128(U8(1), r, high)
			VPACKUSWB(high, r.AsX(), high)
			VMOVUPS(high, at(rank, 8*p))
		}
	}

	// Pairs of x*w and w go to their places.
	place := GP64()
	pairBytes := 8 * parts
	for i := range n {
		MOVBQZX(at(rank, i), place)
		// Vectors have the first two pairs of each of their quarters, or the last two.
		pair := at(work, products+2*bytes*(i/v.Width)+i%4/2*bytes+i%v.Width/4*16+i%2*8)
		if parts == 1 {
			both := GP64()
			MOVQ(pair, both)
			MOVQ(both, Mem{Base: sums, Index: place, Scale: 8, Disp: pairBytes})
			continue
		}
		both := XMM()
		VPMOVZXDQ(pair, both)
		if i >= n/2 {
			VPSLLQ(U8(32), both, both)
		}
		ADDQ(place, place)
		VMOVUPS(both, Mem{Base: sums, Index: place, Scale: 8, Disp: pairBytes})
	}
	INCQ(done)
	Label("end")
	Store(done, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// sums generates the sums over the first n rows of one or two pairs each. There is
// only one version of it, as sums are in order. It is apart from places, since the
// CPU guesses what a load must wait for, and guesses wrong for what has just been
// put to places.
func sums(n, parts int) {
	Start(fmt.Sprintf("ternarySums%d", n), "func(sums *float32)",
		fmt.Sprintf("makes %d rows of sums, from the second one on, the sums over all up to them, and the first one 0.", n+1), AVX2)
	sums := Load(Param("sums"), GP64())
	load, store := func(m Mem, x reg.VecVirtual) { VMOVUPS(m, x) }, func(x reg.VecVirtual, m Mem) { VMOVUPS(x, m) }
	if parts == 1 {
		load, store = func(m Mem, x reg.VecVirtual) { VMOVSD(m, x) }, func(x reg.VecVirtual, m Mem) { VMOVSD(x, m) }
	}
	total := XMM()
	VXORPS(total, total, total)
	store(total, at(sums, 0))
	for j := range n {
		m, next := at(sums, 8*parts*(j+1)), XMM()
		load(m, next)
		VADDPS(next, total, total)
		store(total, m)
	}
	RET()
}

const lessOrEqual = 0x12 // predicate of comparisons

// candidates generates what cuts and pairCuts have in common: with ratio, which
// makes the ratios of the second cuts in the lanes, from block*Width + 1 on, and
// of the first cut at 4*i in the arrays of work, it makes all of them, in work from
// ratios on, and sets the bits of cuts for those that are almost the largest.
func candidates(v ISA, t *tables, n int, work reg.Register, ratios int, cuts reg.Register,
	prepare func(block int) (ratio func(i reg.Register) reg.VecVirtual)) {
	bytes := 4 * v.Width
	largest := zero(v)
	to := GP64()
	LEAQ(at(work, ratios), to)
	i, window := GP64(), GP64()
	for block := range n / v.Width {
		Comment(fmt.Sprintf("Second cuts from %d on.", block*v.Width+1))
		ratio := prepare(block)
		// Lanes before the first cut do not count.
		LEAQ(t.window.Offset(4*(17+block*v.Width)), window)
		XORQ(i, i)
		label := fmt.Sprintf("ratio%d", block)
		Label(label)
		r := ratio(i)
		VANDPS(at(window, 0), r, r)
		VPMAXSD(r, largest, largest)
		VMOVUPS(r, at(to, 0))
		SUBQ(U8(4), window)
		ADDQ(U8(bytes), to)
		ADDQ(U8(4), i)
		CMPQ(i, U32(4*((block+1)*v.Width+1)))
		JLT(LabelRef(label))
	}

	Comment("The bits of those that are almost as large as the largest.")
	most := reduce(v, VPMAXSD, largest)
	Store(most, ReturnIndex(0))
	threshold := v.Vector()
	VBROADCASTSS(most, threshold)
	if v.Masks {
		VMULPS(broadcast(v, t.float(1-0x1p-10)), threshold, threshold)
	} else {
		VMULPS(broadcast(v, t.float(1-0x1p-9)), threshold, threshold)
	}
	from := ratios
	for block := range n / v.Width {
		for i := range (block+1)*v.Width + 1 {
			m := at(work, from)
			from += bytes
			row := at(cuts, 4*i+block*v.Width/8)
			if v.Masks {
				k := K()
				VCMPPS(U8(lessOrEqual), m, threshold, k)
				KMOVW(k, row)
			} else {
				mask := v.Vector()
				VCMPPS(U8(lessOrEqual), m, threshold, mask)
				MOVB(lanes(v, mask).As8(), row)
			}
		}
	}
	rows, some := GP64(), GP8()
	TESTL(U32(math.MaxUint32), at(cuts, 4*n))
	SETNE(some)
	MOVBQZX(some, rows)
	for i := n - v.Width; i >= 0; i -= v.Width {
		SHLQ(U8(v.Width), rows)
		ORQ(notZero(v, v.Load(at(cuts, 4*i))).As64(), rows)
	}
	Store(rows, ReturnIndex(1))
	VZEROUPPER()
	RET()
}

// square returns about xq^2/qq.
func square(v ISA, xq, qq reg.VecVirtual) reg.VecVirtual {
	inverse := v.Vector()
	if v.Masks {
		VRCP14PS(qq, inverse)
	} else {
		VRCPPS(qq, inverse)
	}
	return v.Mul(v.Mul(xq, xq), inverse)
}

// cuts generates the search for the cuts of IQ1_S that may be the best ones.
//
// With S and W the sums over all, and X1, X2, W1 and W2 those up to the cuts, as
// the values of levels are 1 apart:
//
//	xq = S*v2 - X1 - X2
//	qq = W*v2^2 + W1*(v0^2 - v1^2) - W2*(v2^2 - v1^2)
//
// where 9/8, 81/64, 3/4 and 5/4 are the numbers for one delta, and 7/8, 49/64,
// 5/4 and 3/4 for the other.
func cuts(v ISA, t *tables) {
	const n = 32
	Start("ternaryCuts", "func(sums, work *float32, cuts *uint32) (largest float32, rows uint64)",
		"sets the bit of a second cut, from 1 on, in that of cuts that is the first cut's, where the ratio that the best one has the largest of is not "+
			"much less than the largest, which it returns. Bits of rows say which of cuts are not 0. work has room for 912 floats.", v)
	sums, work, to := Load(Param("sums"), GP64()), alignedWork(), Load(Param("cuts"), GP64())
	bytes := 4 * v.Width
	const (
		first  = 60 // in work, where 3/4 of W1 are
		second = first + 4*48
		ratios = 2 * 4 * 48
	)
	MOVL(U32(0), at(work, first))
	MOVL(U32(0), at(work, second))
	candidates(v, t, n, work, ratios, to, func(block int) func(i reg.Register) reg.VecVirtual {
		x2, w2 := columns2(v, t, sums, 8+2*block*bytes)
		threeQuarters, fiveQuarters := v.Mul(w2, broadcast(v, t.float(3./4))), v.Mul(w2, broadcast(v, t.float(5./4)))
		VMOVUPS(threeQuarters, at(work, first+4+block*bytes))
		VMOVUPS(fiveQuarters, at(work, second+4+block*bytes))
		totalX, totalW := broadcast(v, at(sums, 8*n)), broadcast(v, at(sums, 8*n+4))
		xq := [2]reg.VecVirtual{
			v.Sub(v.Mul(totalX, broadcast(v, t.float(9./8))), x2),
			v.Sub(v.Mul(totalX, broadcast(v, t.float(7./8))), x2),
		}
		qq := [2]reg.VecVirtual{
			v.Sub(v.Mul(totalW, broadcast(v, t.float(81./64))), fiveQuarters),
			v.Sub(v.Mul(totalW, broadcast(v, t.float(49./64))), threeQuarters),
		}
		return func(i reg.Register) reg.VecVirtual {
			x1 := broadcast(v, Mem{Base: sums, Index: i, Scale: 2})
			w1 := indexed(work, i)
			r := square(v, v.Sub(xq[0], x1), v.Add(qq[0], broadcast(v, w1.Offset(first))))
			return larger(v, r, square(v, v.Sub(xq[1], x1), v.Add(qq[1], broadcast(v, w1.Offset(second)))))
		}
	})
}

// columns2 returns the columns of as many rows of two as there are lanes.
func columns2(v ISA, t *tables, base reg.Register, from int) (a, b reg.VecVirtual) {
	top, bottom := v.Load(at(base, from)), v.Load(at(base, from+4*v.Width))
	if v.Masks {
		a, b = v.Load(t.evens), v.Load(t.odds)
		VPERMI2PS(bottom, top, a)
		VPERMI2PS(bottom, top, b)
		return a, b
	}
	a, b = v.Vector(), v.Vector()
	VSHUFPS(U8(0x88), bottom, top, a)
	VSHUFPS(U8(0xdd), bottom, top, b)
	VPERMPD(U8(0xd8), a, a)
	VPERMPD(U8(0xd8), b, b)
	return a, b
}

// pairCuts generates the search for the cuts of IQ1_M that may be the best ones:
// that of cuts for each pair of deltas of the two halves, of which x and w have
// the sums.
func pairCuts(v ISA, t *tables) {
	const n = 16
	Start("ternaryPairCuts", "func(sums, work *float32, cuts *uint32) (largest float32, rows uint64)",
		"sets the bit of a second cut, from 1 on, in that of cuts that is the first cut's, where the ratio that the best one has the largest of is not "+
			"much less than the largest, which it returns. Bits of rows say which of cuts are not 0. work has room for 448 floats.", v)
	sums, work, to := Load(Param("sums"), GP64()), alignedWork(), Load(Param("cuts"), GP64())
	bytes := 4 * v.Width
	const (
		first  = 60     // in work, where X1 are
		array  = 4 * 32 // bytes to what each of the pairs has for W1
		ratios = 5 * array
	)
	for i := range 5 {
		MOVL(U32(0), at(work, first+i*array))
	}
	candidates(v, t, n, work, ratios, to, func(block int) func(i reg.Register) reg.VecVirtual {
		columns := columns4(v, t, sums, 16+4*block*bytes)
		x2 := v.Add(columns[0], columns[1])
		VMOVUPS(x2, at(work, first+4+block*bytes))
		var xs, ws, w1 [2][2]reg.VecVirtual // by half and delta
		for half := range xs {
			totalX, totalW := broadcast(v, at(sums, 16*n+4*half)), broadcast(v, at(sums, 16*n+8+4*half))
			for delta, f := range []float64{3. / 4, 5. / 4} {
				w1[half][delta] = v.Mul(broadcast(v, t.float(f)), columns[2+half])
			}
			for delta, greatest := range []float64{9. / 8, 7. / 8} {
				xs[half][delta] = v.Mul(totalX, broadcast(v, t.float(greatest)))
				ws[half][delta] = v.Sub(v.Mul(totalW, broadcast(v, t.float(greatest*greatest))), w1[half][1-delta])
			}
		}
		var xq, qq [4]reg.VecVirtual
		for pair := range xq {
			a, b := pair>>1, pair&1
			VMOVUPS(v.Add(w1[0][a], w1[1][b]), at(work, first+4+(pair+1)*array+block*bytes))
			xq[pair] = v.Sub(v.Add(xs[0][a], xs[1][b]), x2)
			qq[pair] = v.Add(ws[0][a], ws[1][b])
		}
		return func(i reg.Register) reg.VecVirtual {
			m := indexed(work, i).Offset(first)
			x1 := broadcast(v, m)
			var most reg.VecVirtual
			for pair := range xq {
				r := square(v, v.Sub(xq[pair], x1), v.Add(qq[pair], broadcast(v, m.Offset((pair+1)*array))))
				if pair > 0 {
					r = larger(v, most, r)
				}
				most = r
			}
			return most
		}
	})
}

// columns4 returns the columns of as many rows of four as there are lanes.
func columns4(v ISA, t *tables, base reg.Register, from int) [4]reg.VecVirtual {
	var rows [4]reg.VecVirtual
	for i := range rows {
		rows[i] = v.Load(at(base, from+4*v.Width*i))
	}
	order := v.Load(t.columns[v.Width])
	var columns [4]reg.VecVirtual
	for i, unpack := range []func(...Op){VUNPCKLPS, VUNPCKHPS} {
		top, bottom := v.Vector(), v.Vector()
		unpack(rows[1], rows[0], top)
		unpack(rows[3], rows[2], bottom)
		for j, unpack := range []func(...Op){VUNPCKLPD, VUNPCKHPD} {
			column := v.Vector()
			unpack(bottom, top, column)
			VPERMPS(column, order, column)
			columns[2*i+j] = column
		}
	}
	return columns
}

// nearest generates the choice of the point nearest to eight values: that of the
// least sum of w*d^2, in order, d being the value of the level minus x.
//
// The terms of a place are a table, from which each lane takes one for the two bits of
// its point's level. AVX-512 looks at four bits, as tables have sixteen entries,
// and so at the first two places at once.
func nearest(v ISA, t *tables) {
	Start("ternaryNearest", "func(points *uint16, vectors int, x, w, values *float32) (place int)",
		fmt.Sprintf("returns which of the points, %d for each of vectors, is nearest to eight values x, weighted by w: the first of several. The levels "+
			"of a point are two bits each, from the lowest up, which stand for three values.", v.Width), v)
	points, vectors := Load(Param("points"), GP64()), Load(Param("vectors"), GP64())
	x, w, values := Load(Param("x"), GP64()), Load(Param("w"), GP64()), Load(Param("values"), GP64())

	errors := func(x, w, value reg.VecVirtual) reg.VecVirtual {
		d := v.Sub(value, x)
		return v.Mul(v.Mul(w, d), d)
	}
	look := func(table, levels reg.VecVirtual) reg.VecVirtual {
		term := v.Vector()
		if v.Masks {
			VPERMPS(table, levels, term)
		} else {
			VPERMILPS(levels, table, term)
		}
		return term
	}
	var terms []reg.VecVirtual
	perShift, shift := 1, uint64(2)
	if v.Masks {
		perShift, shift = 2, 4
		xs, ws := v.Vector(), v.Vector()
		VBROADCASTF32X8(at(x, 0), xs)
		VBROADCASTF32X8(at(w, 0), ws)
		first, second := broadcast(v, at(values, 0)), YMM()
		VBROADCASTSS(at(values, 4), second)
		VINSERTF64X4(U8(1), second, first, first)
		low, high := errors(xs, ws, first), errors(xs, ws, broadcast(v, at(values, 8)))
		for place := range 8 {
			term := v.Load(t.lists.Offset(place * 64))
			VPERMI2PS(high, low, term)
			terms = append(terms, term)
		}
		terms = append([]reg.VecVirtual{v.Add(terms[0], terms[1])}, terms[2:]...)
	} else {
		xs, ws := v.Load(at(x, 0)), v.Load(at(w, 0))
		var e [3]reg.VecVirtual
		for level := range e {
			e[level] = errors(xs, ws, broadcast(v, at(values, 4*level)))
		}
		var low, high []reg.VecVirtual // places 0 to 3 and 4 to 7
		for _, unpack := range []func(...Op){VUNPCKLPS, VUNPCKHPS} {
			two, last := v.Vector(), v.Vector()
			unpack(e[1], e[0], two)
			unpack(e[2], e[2], last)
			for _, unpack := range []func(...Op){VUNPCKLPD, VUNPCKHPD} {
				both, a, b := v.Vector(), v.Vector(), v.Vector()
				unpack(last, two, both)
				VPERM2F128(U8(0x00), both, both, a)
				VPERM2F128(U8(0x11), both, both, b)
				low, high = append(low, a), append(high, b)
			}
		}
		terms = append(low, high...)
	}

	least, best := broadcast(v, t.float(math.MaxFloat32)), zero(v)
	place := v.Load(t.place)
	width := broadcast(v, t.int(uint32(v.Width)))
	Label("points")
	{
		levels := v.Vector()
		VPMOVZXWD(at(points, 0), levels)
		sum := look(terms[0], levels)
		for i, table := range terms[1:] {
			if i%perShift == 0 {
				VPSRLD(U8(shift), levels, levels)
			}
			VADDPS(look(table, levels), sum, sum)
		}
		VMOVUPS(v.Choose(v.Compare(Less, sum, least), place, best), best)
		VMINPS(sum, least, least)
		VPADDD(width, place, place)
	}
	ADDQ(U8(2*v.Width), points)
	DECQ(vectors)
	JNE(LabelRef("points"))

	Comment("The first of the least ones.")
	all := v.Vector()
	VBROADCASTSS(reduce(v, VMINPS, least), all)
	place = v.Choose(v.Compare(Equal, least, all), best, broadcast(v, t.int(math.MaxInt32)))
	index := GP32()
	VMOVD(reduce(v, VPMINSD, place), index)
	Store(index.As64(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// fit generates the sums a scale comes from. There is only one version of it:
// points are eight values, the sums of which are in order.
func fit(t *tables) {
	v := AVX2
	Start("ternaryFit", "func(points *uint16, which *uint8, values, x, w *float32, groups int) (xq, qq float32)",
		"returns the sums of w*x*v and w*v^2, v being what the levels of the point of each group of eight mean: those of its four values that which "+
			"tells. Levels are two bits each, from the lowest up.", v)
	points, which, values := Load(Param("points"), GP64()), Load(Param("which"), GP64()), Load(Param("values"), GP64())
	x, w, groups := Load(Param("x"), GP64()), Load(Param("w"), GP64()), Load(Param("groups"), GP64())
	terms := AllocLocal(64)
	xq, qq := XMM(), XMM()
	VXORPS(xq, xq, xq)
	VXORPS(qq, qq, qq)
	digits := v.Load(t.digits)
	Label("group")
	levels, value := v.Vector(), v.Vector()
	VPBROADCASTW(at(points, 0), levels)
	VPSRLVD(digits, levels, levels)
	offset := GP64()
	MOVBQZX(at(which, 0), offset)
	SHLQ(U8(4), offset)
	VBROADCASTF128(indexed(values, offset), value)
	VPERMILPS(levels, value, value)
	weighted := v.Mul(value, at(w, 0))
	VMOVUPS(v.Mul(weighted, at(x, 0)), terms)
	VMOVUPS(v.Mul(weighted, value), terms.Offset(32))
	for i := range 8 {
		VADDSS(terms.Offset(4*i), xq, xq)
		VADDSS(terms.Offset(32+4*i), qq, qq)
	}
	ADDQ(U8(2), points)
	INCQ(which)
	ADDQ(U8(32), x)
	ADDQ(U8(32), w)
	DECQ(groups)
	JNE(LabelRef("group"))
	Store(xq, ReturnIndex(0))
	Store(qq, ReturnIndex(1))
	VZEROUPPER()
	RET()
}
