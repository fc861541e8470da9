// Command grid generates the searches for points of a grid. Run go generate in
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
	c := newConstants()
	split(c)
	fitPeaks(c)
	spread(c)
	for _, s := range []shape{{dim: 8, levels: 3, bits: 2}, {dim: 4, levels: 8, bits: 3}} {
		round(AVX2, c, s, candidates)
		round(AVX512, c, s, candidates)
		round(AVX512, c, s, rest)
		round(AVX2, c, s, again)
		round(AVX512, c, s, again)
	}
	Generate()
}

// shape is what groups of elements are rounded to.
type shape struct{ dim, levels, bits int }

// constants are those of package vector, and some for grids.
type constants struct {
	Constants
	half, two, rounderHigh, sign, near, low8, middle, before Mem
	number, certain, far, close                              Mem         // see closestMove and best
	odd                                                      map[int]Mem // by bits: level l, or its low bits, is 2*l + 1
	codeBias                                                 Mem
	// By dim: which element, of a half, has a place in the vector of terms, and which
	// place is the first of each element. By bits: those of a level.
	element   map[int][2]Mem
	first     map[int][]Mem
	levelMask map[int]Mem
}

func newConstants() constants {
	c := constants{Constants: NewConstants(), odd: make(map[int]Mem)}
	table := GLOBL("gridConstants", RODATA|NOPTR)
	next := 0
	add := func(bits func(lane int) uint32) Mem {
		at := table.Offset(next)
		for lane := range 16 {
			DATA(next, U32(bits(lane)))
			next += 4
		}
		return at
	}
	same := func(bits uint32) Mem { return add(func(int) uint32 { return bits }) }
	float := func(f float64) Mem { return same(math.Float32bits(float32(f))) }
	c.half, c.two = float(0.5), float(2)
	c.rounderHigh = float(3<<22 + 7)
	c.sign = same(1 << 31)

	c.near = float(0x1p-18)
	c.low8, c.middle = same(255), same(1<<22)
	c.number, c.certain, c.far, c.close = same(1<<numberBits-1), float(0x1p-19), float(0x1p120), float(1-0x1p-18)
	c.before = add(func(lane int) uint32 { return uint32(lane-1) & 15 })
	rounder := math.Float32bits(3 << 22)
	c.codeBias = same(-(rounder + rounder<<3 + rounder<<6 + rounder<<9))
	for _, bits := range []int{2, 3} {
		c.odd[bits] = add(func(lane int) uint32 { return math.Float32bits(float32(2*(lane%(1<<bits)) + 1)) })
	}
	c.element, c.first, c.levelMask = make(map[int][2]Mem), make(map[int][]Mem), make(map[int]Mem)
	for _, dim := range []int{4, 8} {
		places := 32 / dim
		c.element[dim] = [2]Mem{
			add(func(lane int) uint32 { return uint32(lane / places) }),
			add(func(lane int) uint32 { return uint32(dim/2 + lane/places) }),
		}
		for i := range dim / 2 {
			c.first[dim] = append(c.first[dim], same(uint32(i*places)))
		}
	}
	for _, bits := range []int{2, 3} {
		c.levelMask[bits] = same(1<<bits - 1)
	}
	return c
}

// The arrays of GridWork.values and GridWork.lanes follow each other.
const (
	mArray    = 0
	wArray    = 1024
	rootArray = 2048
	wmArray   = 3072
	rootSums  = 4096 // of values: at the first of eight elements, the sum of their roots
)

// Parts of GridWork.work, in bytes. Every group has terms for up to 32 levels of
// its elements.
const (
	termBytes  = 32 * 64 * 8
	codesAt    = termBytes
	itemsAt    = codesAt + 8*64
	changesAt  = itemsAt + 8*(8*16+1)
	nearAt     = changesAt + 16
	levelsAt   = nearAt + 40 // which is a multiple of 64
	termShift  = 7           // from the number of a lane to the terms of its group
	noLevel    = 3           // the place of a level that the first of eight elements does not have
	unroll     = 4           // neighbours at a time: GridStep of package kernel
	entryShift = 23
	movesBit   = 22
	numberBits = 5 // of a neighbour in a list of moves, which has at most 16
)

// purpose says what is in the lanes.
type purpose int

const (
	candidates purpose = iota // a sub-block with different scales
	rest                      // four sub-blocks with one scale, the same with the next, and so on
	again                     // sub-blocks
)

// round generates the rounding of sub-blocks to points of a grid, with a scale in
// each lane.
//
// It goes through the groups several times, as a branch that is predicted wrong
// costs less where little follows: first it rounds all elements. Then it collects
// the combinations that are no points, and for each of them looks for the closest
// neighbour in the lanes that have it. At last it sums up.
func round(v ISA, c constants, s shape, p purpose) {
	var name, doc, scales string
	switch p {
	case candidates:
		name, doc = "gridCandidates", fmt.Sprintf("rounds the groups of a sub-block with %d candidates.", v.Width)
		scales = "peak float32, numerators *float32"
	case rest:
		name, doc = "gridRest", "rounds the groups of four sub-blocks with four candidates. values has eight sub-blocks side by side. In lanes without a "+
			"bit in mask, it does not look for neighbours."
		scales = "peaks, numerators *float32, mask uint32"
	case again:
		name, doc = "gridAgain", "rounds the groups of eight sub-blocks side by side that are marked as moved."
		scales = "scales *float32"
	}
	// Where few lanes have the same combination, lanes are neighbours for each.
	single := v.Masks && p != candidates
	if single {
		scales += ", plain *float32"
		doc += " plain has the sub-blocks one after another."
	}
	hasMoves := s.levels == 3 && p != again
	lists := "lists *uint16"
	if single || hasMoves {
		lists += ", packed *uint16"
	}
	if hasMoves {
		lists += ", moves *uint16"
	}
	result := ""
	if p == candidates && v.Masks {
		result = " (best int)"
		doc += " It returns the best one, or -1 if that takes a closer look."
	}
	Start(fmt.Sprint(name, s.levels), "func(values *float32, groups int, "+scales+", starts, all *uint32, "+lists+", points *uint8, work *float32, "+
		"chosen *uint32, sums *float32)"+result,
		doc+" See GridWork.", v)
	work, chosen := Load(Param("work"), GP64()), Load(Param("chosen"), GP64())
	bytes := 4 * v.Width
	stride := 4
	inMemory := func(r reg.VecVirtual) reg.Register { return r } // the part of a register that is
	memoryBytes := bytes
	if p == again {
		memoryBytes = 4 * AVX2.Width
		if v.Masks {
			inMemory = func(r reg.VecVirtual) reg.Register { return r.AsY() }
		}
	}
	load := func(m Mem) reg.VecVirtual {
		r := v.Vector()
		VMOVUPS(m, inMemory(r))
		return r
	}
	if p != candidates {
		stride = 4 * AVX2.Width
	}

	inverse, scale := v.Vector(), v.Vector()
	if p == again {
		scale = load(Mem{Base: Load(Param("scales"), GP64())})
		inverse = v.Div(v.Load(c.One), scale)
	} else {
		var peaks reg.VecVirtual
		if p == candidates {
			peaks = v.Broadcast("peak", 16)
		} else {
			peaks = v.Vector()
			VBROADCASTF32X4(Mem{Base: Load(Param("peaks"), GP64())}, peaks)
		}
		inverse = v.Div(v.Load(Mem{Base: Load(Param("numerators"), GP64())}), peaks)
		scale = v.Div(v.Load(c.One), inverse)
	}
	worth := make([]Op, s.levels) // times the scale
	if single {
		VMOVUPS(scale, Mem{Base: work, Disp: levelsAt})
		worth = nil
	}
	for l := range worth {
		odd := v.Vector()
		VBROADCASTSS(c.odd[3].Offset(4*l), odd)
		product := v.Mul(scale, odd)
		worth[l] = product
		if s.levels == 8 && !v.Masks {
			m := Mem{Base: work, Disp: levelsAt + l*bytes}
			VMOVUPS(product, m)
			worth[l] = m
		}
	}
	half := v.Mul(inverse, v.Load(c.half)) // exact: levels change where half*m is an integer
	// value loads element i of an array of the group at group.
	value := func(group reg.GPVirtual, array, i int) reg.VecVirtual {
		m := Mem{Base: group, Disp: array + i*stride}
		r := v.Vector()
		switch p {
		case candidates:
			VBROADCASTSS(m, r)
		case rest:
			VBROADCASTF32X4(m, r)
		case again:
			VMOVUPS(m, inMemory(r))
		}
		return r
	}
	eachGroup := func(label string, next func(), body func(group reg.GPVirtual)) {
		group, left := GP64(), GP64()
		Load(Param("values"), group)
		Load(Param("groups"), left)
		Label(label)
		body(group)
		ADDQ(U32(uint32(s.dim*stride)), group)
		next()
		DECQ(left)
		JNE(LabelRef(label))
	}

	Comment("Round all elements.")
	zero := GP64()
	XORQ(zero, zero)
	for i := range 4 {
		MOVQ(zero, Mem{Base: work, Disp: changesAt + 8*i})
	}
	terms, codes, bits, rounded := GP64(), GP64(), GP64(), GP64()
	MOVQ(work, terms)
	LEAQ(Mem{Base: work, Disp: codesAt}, codes)
	LEAQ(Mem{Base: work, Disp: changesAt}, bits)
	MOVQ(chosen, rounded)
	eachGroup("round", func() {
		ADDQ(U32(32*bytes), terms)
		ADDQ(U8(bytes), codes)
		ADDQ(U8(v.Width/8), bits)
		ADDQ(U8(memoryBytes), rounded)
	}, func(group reg.GPVirtual) {
		code, near := v.Vector(), v.Load(c.One)
		if s.levels == 8 {
			VMOVUPS(c.codeBias, code)
		} else {
			VXORPS(code, code, code)
		}
		for i := range s.dim {
			m := value(group, mArray, i)
			y := v.Mul(half, m)
			addLevel(v, c, s, code, y, i)
			nearest(v, c, near, y)
			if single {
				continue
			}
			root := value(group, rootArray, i)
			for l, worth := range worth {
				d := v.Sub(m, worth)
				VMOVUPS(v.Mul(v.Mul(root, d), d), Mem{Base: terms, Disp: (i<<s.bits + l) * bytes})
			}
		}
		if hasMoves && !single {
			VMOVUPS(v.Load(c.Infinity), Mem{Base: terms, Disp: noLevel * bytes})
		}
		VMOVUPS(code, Mem{Base: codes})
		// What is looked for in one lane may be taken in others, so one stands for all.
		anyNear := maskOf(v, v.Compare(Less, near, v.Load(c.near)))
		NEGL(anyNear)
		SBBL(anyNear, anyNear)
		storeMask(v, anyNear, Mem{Base: bits, Disp: nearAt - changesAt})
		changes := GP32()
		switch p {
		case candidates:
			VMOVUPS(code, Mem{Base: rounded})
			before := v.Load(c.before)
			VPERMD(code, before, before)
			changes = maskOf(v, equal(v, code, before))
			NOTL(changes)
			ORL(U8(1), changes)
		case rest:
			VMOVUPS(code, Mem{Base: rounded})
			Load(Param("mask"), changes)
		case again:
			before := load(Mem{Base: rounded})
			marked := Op(before)
			if v.Masks {
				marked = K()
				VPMOVD2M(before, marked)
			}
			changes = maskOf(v, marked)
			VORPS(c.sign, code, code)
			VMOVUPS(inMemory(v.Choose(marked, code, before)), Mem{Base: rounded})
		}
		storeMask(v, changes, Mem{Base: bits})
	})

	Comment("Collect what is no point.")
	item := GP64()
	LEAQ(Mem{Base: work, Disp: itemsAt}, item)
	for word := range v.Width / 8 {
		starts, all := Load(Param("starts"), GP64()), Load(Param("all"), GP64())
		left, near := GP64(), GP64()
		MOVQ(Mem{Base: work, Disp: changesAt + 8*word}, left)
		MOVQ(Mem{Base: work, Disp: nearAt + 8*word}, near)
		done := fmt.Sprintf("collected%d", word)
		TESTQ(left, left)
		JEQ(LabelRef(done))
		collect := fmt.Sprintf("collect%d", word)
		Label(collect)
		lane, rest, code, lists := GP64(), GP64(), GP64(), GP64()
		BSFQ(left, lane)
		LEAQ(Mem{Base: left, Disp: -1}, rest)
		MOVL(Mem{Base: work, Index: lane, Scale: 4, Disp: codesAt + 256*word}, code.As32())
		MOVQ(starts, lists)
		BTQ(lane, near)
		CMOVQCS(all, lists)
		MOVL(Mem{Base: lists, Index: code, Scale: 4}, code.As32())
		if word > 0 {
			ADDL(U8(64*word), lane.As32())
		}
		MOVL(code.As32(), Mem{Base: item})
		MOVL(lane.As32(), Mem{Base: item, Disp: 4})
		next := GP64()
		LEAQ(Mem{Base: item, Disp: 8}, next)
		CMPL(code.As32(), U32(1<<entryShift))
		CMOVQCC(next, item)
		ANDQ(rest, left)
		JNE(LabelRef(collect))
		Label(done)
	}

	Comment("Find the closest neighbours.")
	end := item
	item = GP64()
	LEAQ(Mem{Base: work, Disp: itemsAt}, item)
	CMPQ(item, end)
	JEQ(LabelRef("found"))
	if single {
		closest(c, s, p, item, end, work, chosen)
	} else {
		closestInLanes(v, c, s, p, item, end, work, chosen, v.Mul(scale, scale))
	}
	Label("found")

	Comment("Sum up.")
	odd := v.Load(c.odd[s.bits])
	xq, qq := v.Vector(), v.Vector()
	VXORPS(xq, xq, xq)
	VXORPS(qq, qq, qq)
	chosen = Load(Param("chosen"), GP64())
	eachGroup("sum", func() { ADDQ(U8(memoryBytes), chosen) }, func(group reg.GPVirtual) {
		best := load(Mem{Base: chosen})
		for i := range s.dim {
			at, level := best, v.Vector()
			if i > 0 {
				at = v.Vector()
				VPSRLD(U8(s.bits*i), best, at)
			}
			VPERMPS(odd, at, level)
			VADDPS(v.Mul(value(group, wmArray, i), level), xq, xq)
			VADDPS(v.Mul(v.Mul(value(group, wArray, i), level), level), qq, qq)
		}
	})
	sums := Load(Param("sums"), GP64())
	VMOVUPS(inMemory(xq), Mem{Base: sums})
	VMOVUPS(inMemory(qq), Mem{Base: sums, Disp: memoryBytes})
	if p != again {
		positive := v.Compare(Greater, qq, v.Load(c.Zero))
		VMOVUPS(v.Mul(v.Div(xq, qq), xq), Mem{Base: sums, Disp: worthAt * bytes})
		VMOVUPS(v.Choose(positive, v.Mul(xq, xq), v.Load(c.MinusInfinity)), Mem{Base: sums, Disp: squareAt * bytes})
	}
	if result != "" {
		best(c, xq, qq, sums)
	}
	VZEROUPPER()
	RET()
}

// Vectors of sums after the first two.
const (
	worthAt  = 2
	squareAt = 3
)

// best generates the choice among 16 candidates. Others that are worth nearly as much
// as the best one may be taken or not by a rounding error, unless they have the same
// sums: then either none after the first one is taken, or each of them.
func best(c constants, xq, qq reg.VecVirtual, sums reg.Register) {
	v := AVX512
	square := v.Load(Mem{Base: sums, Disp: squareAt * 64})
	worth := v.Choose(v.Compare(Greater, square, v.Load(c.MinusInfinity)), v.Load(Mem{Base: sums, Disp: worthAt * 64}), v.Load(c.MinusInfinity))
	most := ZMM()
	VBROADCASTSS(reduce(VMAXPS, worth), most)
	const notLess = 0x1d
	near := v.Compare(notLess, worth, v.Mul(most, v.Load(c.close))).(reg.Register)
	bits, first := GP32(), GP64()
	KMOVW(near, bits)
	BSFL(bits, first.As32())
	JEQ(LabelRef("unsure"))

	at, same := ZMM(), near
	VPBROADCASTD(first.As32(), at)
	for _, x := range []reg.VecVirtual{xq, qq} {
		y, equal := ZMM(), K()
		VPERMD(x, at, y)
		VPCMPEQD(x, y, same, equal)
		same = equal
	}
	others := GP32()
	KMOVW(same, others)
	CMPL(others, bits)
	JNE(LabelRef("unsure"))

	Comment("Nothing overflows, and nothing is too small.")
	const least, greatest = (127 - 100) << 23, (127 + 100) << 23
	size := GP32()
	sum := func(i int) Mem { return Mem{Base: sums, Index: first, Scale: 4, Disp: i * 64} }
	MOVL(sum(squareAt), size)
	SUBL(U32(least), size)
	CMPL(size, U32(greatest-least))
	JHI(LabelRef("unsure"))

	last, again := GP64(), XMM()
	BSRL(bits, last.As32())
	VMOVSS(sum(worthAt), again)
	VMULSS(sum(1), again, again)
	VUCOMISS(sum(squareAt), again)
	CMOVQCS(last, first)
	Store(first, ReturnIndex(0))
	VZEROUPPER()
	RET()
	Label("unsure")
	MOVQ(I32(-1), first)
	Store(first, ReturnIndex(0))
}

// reduce returns what op makes of the lanes of x.
func reduce(op func(...Op), x reg.VecVirtual) reg.Register {
	low, high := ZMM(), ZMM()
	VEXTRACTF64X4(U8(1), x, high.AsY())
	op(high.AsY(), x.AsY(), low.AsY())
	VEXTRACTF32X4(U8(1), low.AsY(), high.AsX())
	op(high.AsX(), low.AsX(), low.AsX())
	VSHUFPS(U8(0x4e), low.AsX(), low.AsX(), high.AsX())
	op(high.AsX(), low.AsX(), low.AsX())
	VSHUFPS(U8(0xb1), low.AsX(), low.AsX(), high.AsX())
	op(high.AsX(), low.AsX(), low.AsX())
	return low.AsX()
}

// loadItem loads what was collected of a combination: the list, the number of
// neighbours, and the number of the lane, from the first one of the first group on.
func loadItem(item reg.GPVirtual) (list, count, lane reg.GPVirtual) {
	list, count, lane = GP64(), GP32(), GP64()
	MOVL(Mem{Base: item}, count)
	MOVL(Mem{Base: item, Disp: 4}, lane.As32())
	MOVL(count, list.As32())
	SHRL(U8(entryShift), count)
	ANDL(U32(1<<movesBit-1), list.As32())
	return list, count, lane
}

// closestInLanes looks at the neighbours one by one, in all lanes of the group
// that have the combination.
func closestInLanes(v ISA, c constants, s shape, p purpose, item, end reg.GPVirtual, work, chosen reg.Register, squareScale reg.VecVirtual) {
	hasMoves := s.levels == 3 && p == candidates
	Label("item")
	if hasMoves {
		TESTL(U32(1<<movesBit), Mem{Base: item})
		JNE(LabelRef("moves"))
		Label("list")
	}
	lists, points := Load(Param("lists"), GP64()), Load(Param("points"), GP64())
	list, count, lane := loadItem(item)
	LEAQ(Mem{Base: lists, Index: list, Scale: 2}, list)
	code := v.Vector()
	VPBROADCASTD(Mem{Base: work, Index: lane, Scale: 4, Disp: codesAt}, code)
	ANDL(I32(-v.Width), lane.As32())
	mask := equal(v, v.Load(Mem{Base: work, Index: lane, Scale: 4, Disp: codesAt}), code)
	least := v.Choose(mask, v.Load(c.Infinity), v.Load(c.MinusInfinity))
	best := v.Load(Mem{Base: chosen, Index: lane, Scale: 4})
	terms := GP64()
	MOVQ(lane, terms)
	SHLQ(U8(termShift), terms)
	ADDQ(work, terms)

	Label("neighbour")
	for n := range unroll {
		point, a, offsets := GP64(), GP64(), GP64()
		MOVWLZX(Mem{Base: list, Disp: 2 * n}, point.As32())
		MOVQ(Mem{Base: points, Index: point, Scale: 1}, offsets)
		e := v.Vector()
		for i := range s.dim {
			MOVBLZX(offsets.As8(), a.As32())
			if i+1 < s.dim {
				SHRQ(U8(8), offsets)
			}
			term := Mem{Base: terms, Index: a, Scale: uint8(v.Width / 2)}
			if i == 0 {
				VMOVUPS(term, e)
			} else {
				VADDPS(term, e, e)
			}
		}
		better := v.Compare(Less, e, least)
		levels := Mem{Base: points, Index: point, Scale: 1, Disp: 8}
		VMINPS(least, e, least)
		if v.Masks {
			VPBROADCASTD(levels, better, best)
		} else {
			l := v.Vector()
			VPBROADCASTD(levels, l)
			VBLENDVPS(better, l, best, best)
		}
	}
	ADDQ(U8(2*unroll), list)
	SUBL(U8(unroll), count)
	JGT(LabelRef("neighbour"))
	at := Mem{Base: chosen, Index: lane, Scale: 4}
	if p == again {
		// Lanes with the same code may not be to be rounded again.
		before := v.Load(at)
		VBLENDVPS(before, best, before, best)
	}
	VMOVUPS(best, at)
	Label("next")
	ADDQ(U8(8), item)
	CMPQ(item, end)
	JNE(LabelRef("item"))
	if hasMoves {
		JMP(LabelRef("found"))
		Label("moves")
		closestMove(v, c, item, work, chosen, squareScale)
		JMP(LabelRef("next"))
	}
}

// closestMove looks for the closest of neighbours each of which has one level moved
// by one. The distances of neighbours differ by what that changes: the term of the
// level moved to less that of the level moved from, not counting rounding errors. If
// another neighbour is as close but for these, it goes to list.
//
// A distance is the sum of eight terms of the form root*d^2, rounded seven times. As
// there is no m below 0 or greater than what the largest numerator makes of it, |d|
// is at most the scale, and the terms without a move are together at most the
// square of the scale times the sum of the roots. So distances are rounded by at
// most 7*2^-24 times that and the change; c.certain is twice what two of them take.
func closestMove(v ISA, c constants, item reg.GPVirtual, work, chosen reg.Register, squareScale reg.VecVirtual) {
	moves, packed, values := Load(Param("moves"), GP64()), Load(Param("packed"), GP64()), Load(Param("values"), GP64())
	list, count, lane := loadItem(item)
	LEAQ(Mem{Base: moves, Index: list, Scale: 2}, moves)
	LEAQ(Mem{Base: packed, Index: list, Scale: 2}, packed)
	code := v.Vector()
	VPBROADCASTD(Mem{Base: work, Index: lane, Scale: 4, Disp: codesAt}, code)
	ANDL(I32(-v.Width), lane.As32())
	mask := equal(v, v.Load(Mem{Base: work, Index: lane, Scale: 4, Disp: codesAt}), code)
	terms := GP64()
	MOVQ(lane, terms)
	SHLQ(U8(termShift), terms)
	ADDQ(work, terms)

	// The lowest bits of a change are replaced by the number of the neighbour.
	// Changes are not negative, so they are ordered as integers.
	broadcast := func(m Mem) reg.VecVirtual {
		r := v.Vector()
		VPBROADCASTD(m, r)
		return r
	}
	numberMask, step := v.Load(c.number), broadcast(c.Lanes.Offset(4*unroll))
	var numbers [unroll]reg.VecVirtual
	for n := range numbers {
		numbers[n] = broadcast(c.Lanes.Offset(4 * n))
	}
	least, second := v.Load(c.Infinity), v.Load(c.Infinity)
	Label("move")
	for n, number := range numbers {
		from, to := GP64(), GP64()
		MOVWLZX(Mem{Base: moves, Disp: 2 * n}, from.As32())
		MOVBLZX(from.As8(), to.As32())
		SHRL(U8(8), from.As32())
		e := v.Load(Mem{Base: terms, Index: to, Scale: uint8(v.Width / 2)})
		VSUBPS(Mem{Base: terms, Index: from, Scale: uint8(v.Width / 2)}, e, e)
		if v.Masks {
			VPTERNLOGD(U8(0xba), number, numberMask, e) // e&^numberMask | number
		} else {
			VPANDN(e, numberMask, e)
			VPOR(number, e, e)
		}
		VPADDD(step, number, number)
		greater := v.Vector()
		VPMAXUD(e, least, greater)
		VPMINUD(greater, second, second)
		VPMINUD(e, least, least)
	}
	ADDQ(U8(2*unroll), moves)
	SUBL(U8(unroll), count)
	JGT(LabelRef("move"))

	low, high, sum := v.Vector(), v.Vector(), v.Vector()
	VANDNPS(second, numberMask, low)
	VORPS(least, numberMask, high)
	VBROADCASTSS(Mem{Base: values, Index: lane, Scale: uint8(32 / v.Width), Disp: rootSums}, sum)
	bound := v.Mul(v.Add(v.Mul(sum, squareScale), low), v.Load(c.certain))
	certain := v.Compare(Greater, v.Sub(low, high), bound)
	number, best := v.Vector(), v.Vector()
	VANDPS(least, numberMask, number)
	if v.Masks {
		unsure := K()
		KANDNW(mask, certain, unsure) // mask &^ certain
		KORTESTW(unsure, unsure)
		JNE(LabelRef("list"))
		VPMOVZXWD(Mem{Base: packed}, best)
		VPERMD(best, number, best)
	} else {
		unsure := v.Vector()
		VPANDN(mask, certain, unsure)
		VPTEST(unsure, unsure)
		JNE(LabelRef("list"))
		second := v.Vector()
		VPMOVZXWD(Mem{Base: packed}, best)
		VPMOVZXWD(Mem{Base: packed, Disp: 16}, second)
		VPERMD(best, number, best)
		VPERMD(second, number, second)
		VPSLLD(U8(31-3), number, number)
		VBLENDVPS(number, second, best, best)
	}
	VORPS(c.sign, best, best)
	at := Mem{Base: chosen, Index: lane, Scale: 4}
	VMOVUPS(v.Choose(mask, best, v.Load(at)), at)
}

// closest looks at 16 neighbours at a time for one combination in one lane. The
// terms of half of the elements fill a vector, in which the levels of a neighbour
// select.
func closest(c constants, s shape, p purpose, item, end reg.GPVirtual, work, chosen reg.Register) {
	v := AVX512
	plain, packed := Load(Param("plain"), GP64()), Load(Param("packed"), GP64())
	hasMoves := s.levels == 3 && p == rest
	subBlock := GP64() // bytes
	IMUL3Q(U32(uint32(4*s.dim)), Load(Param("groups"), GP64()), subBlock)
	elements := [2]reg.VecVirtual{v.Load(c.element[s.dim][0]), v.Load(c.element[s.dim][1])}
	odd, levelMask, lanes, infinity := v.Load(c.odd[s.bits]), v.Load(c.levelMask[s.bits]), v.Load(c.Lanes), v.Load(c.Infinity)
	places := make([]reg.VecVirtual, s.dim/2)
	for i := range places {
		places[i] = v.Load(c.first[s.dim][i])
	}
	Label("item")
	list, count, lane := loadItem(item)
	move := reg.Register(nil)
	if hasMoves {
		move = Load(Param("moves"), GP64())
		LEAQ(Mem{Base: move, Index: list, Scale: 2}, move)
	}
	LEAQ(Mem{Base: packed, Index: list, Scale: 2}, list)
	group, at, in := GP64(), GP64(), GP64()
	MOVQ(lane, group)
	SHRQ(U8(4), group)
	ANDL(U8(15), lane.As32())
	MOVQ(lane, at)
	if p == rest {
		ANDQ(U8(3), at)
	}
	IMULQ(subBlock, at)
	ADDQ(plain, at)
	MOVQ(group, in)
	SHLQ(U8(map[int]int{4: 4, 8: 5}[s.dim]), in)
	ADDQ(in, at)

	m, root := ZMM(), ZMM()
	if s.dim == 8 {
		VMOVUPS(Mem{Base: at, Disp: mArray}, m.AsY())
		VMOVUPS(Mem{Base: at, Disp: rootArray}, root.AsY())
	} else {
		VMOVUPS(Mem{Base: at, Disp: mArray}, m.AsX())
		VMOVUPS(Mem{Base: at, Disp: rootArray}, root.AsX())
	}
	scale := ZMM()
	VBROADCASTSS(Mem{Base: work, Index: lane, Scale: 4, Disp: levelsAt}, scale)
	worth := v.Mul(odd, scale)
	var terms [2]reg.VecVirtual
	for half := range terms {
		element := elements[half]
		mOf, rootOf := ZMM(), ZMM()
		VPERMPS(m, element, mOf)
		VPERMPS(root, element, rootOf)
		d := v.Sub(mOf, worth)
		terms[half] = v.Mul(v.Mul(rootOf, d), d)
	}

	least, bits := XMM(), GP32()
	count16 := func() Op {
		number, k := ZMM(), K()
		VPBROADCASTD(count, number)
		VPCMPGTD(lanes, number, k)
		return k
	}
	if hasMoves {
		// See closestMove.
		TESTL(U32(1<<movesBit), Mem{Base: item})
		JEQ(LabelRef("list"))
		to, from := ZMM(), ZMM()
		VPMOVZXWD(Mem{Base: move}, from)
		VPSRLD(U8(3), from, to)
		VPSRLD(U8(8+3), from, from)
		VPERMI2PS(terms[1], terms[0], to)
		VPERMI2PS(terms[1], terms[0], from)
		change := v.Choose(count16(), v.Sub(to, from), v.Load(c.far))
		low, sum := ZMM(), ZMM()
		VBROADCASTSS(reduce(VMINPS, change), low)
		VBROADCASTSS(Mem{Base: at, Disp: rootSums}, sum)
		bound := v.Mul(v.Add(v.Mul(v.Mul(scale, scale), sum), change), v.Load(c.certain))
		const notGreater = 0x12
		near, others := maskOf(v, v.Compare(notGreater, v.Sub(change, low), bound)), GP32()
		LEAL(Mem{Base: near.As64(), Disp: -1}, others)
		TESTL(others, near)
		JNE(LabelRef("list"))
		BSFL(near, near)
		MOVWLZX(Mem{Base: list, Index: near.As64(), Scale: 2}, bits)
		JMP(LabelRef("closest"))
		Label("list")
	}
	VMOVAPS(infinity.AsX(), least)
	Label("neighbours")
	levels, e := ZMM(), ZMM()
	VPMOVZXWD(Mem{Base: list}, levels)
	for i := range s.dim {
		selected, term := ZMM(), ZMM()
		if i == 0 {
			VMOVDQU32(levels, selected)
		} else {
			VPSRLD(U8(s.bits*i), levels, selected)
		}
		half := s.dim / 2
		VPTERNLOGD(U8(0xea), places[i%half], levelMask, selected) // selected&levelMask | places
		VPERMPS(terms[i/half], selected, term)
		if i == 0 {
			e = term
		} else {
			VADDPS(term, e, e)
		}
	}
	e = v.Choose(count16(), e, infinity)
	low, all := reduce(VMINPS, e), ZMM()
	VUCOMISS(least, low)
	JCC(LabelRef("others"))
	VMOVAPS(low, least)
	VBROADCASTSS(low, all)
	first := maskOf(v, v.Compare(Equal, e, all))
	BSFL(first, first)
	MOVWLZX(Mem{Base: list, Index: first, Scale: 2}, bits)
	Label("others")
	ADDQ(U8(32), list)
	SUBL(U8(16), count)
	JGT(LabelRef("neighbours"))
	Label("closest")
	ORL(U32(1<<31), bits)
	SHLQ(U8(map[purpose]int{rest: 6, again: 5}[p]), group)
	ADDQ(chosen, group)
	MOVL(bits, Mem{Base: group, Index: lane, Scale: 4})
	ADDQ(U8(8), item)
	CMPQ(item, end)
	JNE(LabelRef("item"))
}

// storeMask stores a bit for each lane.
func storeMask(v ISA, bits reg.GPVirtual, m Mem) {
	if v.Width == 16 {
		MOVW(bits.As16(), m)
	} else {
		MOVB(bits.As8(), m)
	}
}

// addLevel adds to code the level that y, half of an element over its scale, is
// rounded to.
func addLevel(v ISA, c constants, s shape, code, y reg.VecVirtual, i int) {
	if s.levels == 8 {
		r := v.Add(v.Sub(y, v.Load(c.half)), v.Load(c.Rounder))
		VMAXPS(c.Rounder, r, r)
		VMINPS(c.rounderHigh, r, r)
		if i > 0 {
			VPSLLD(U8(s.bits*i), r, r)
		}
		VPADDD(r, code, code)
		return
	}
	// Halves are rounded to even: to level 0 at 1, to level 2 at 2.
	const notLess = 0x1d
	first, second := v.Compare(Greater, y, v.Load(c.One)), v.Compare(notLess, y, v.Load(c.two))
	if v.Masks {
		one := v.Vector()
		bit := c.Lanes.Offset(4) // the integer 1
		VPBROADCASTD(bit, one)
		if i > 0 {
			VPSLLD(U8(s.bits*i), one, one)
		}
		VPADDD(one, code, first, code)
		VPADDD(one, code, second, code)
		return
	}
	sum := v.Vector() // of minus 1 each
	VPADDD(first, second, sum)
	if i > 0 {
		VPSLLD(U8(s.bits*i), sum, sum)
	}
	VPSUBD(sum, code, code)
}

// nearest makes near the distance of y to an integer, if that is less.
func nearest(v ISA, c constants, near, y reg.VecVirtual) {
	d := v.Vector()
	if v.Masks {
		VREDUCEPS(U8(0), y, d)
		VRANGEPS(U8(0b1010), d, near, near) // the lesser magnitude
		return
	}
	VROUNDPS(U8(8), y, d)
	VSUBPS(d, y, d)
	VANDPS(c.Absolute, d, d)
	VMINPS(d, near, near)
}

// equal returns the mask of the lanes where the integers are equal.
func equal(v ISA, a, b reg.VecVirtual) Op {
	if v.Masks {
		k := K()
		VPCMPEQD(a, b, k)
		return k
	}
	m := v.Vector()
	VPCMPEQD(a, b, m)
	return m
}

// maskOf returns a mask as the bits of an integer.
func maskOf(v ISA, mask Op) reg.GPVirtual {
	bits := GP32()
	if v.Masks {
		KMOVW(mask, bits)
	} else {
		VMOVMSKPS(mask, bits)
	}
	return bits
}

// across makes every lane that which op makes of all lanes.
func across(op func(...Op), x reg.VecVirtual) {
	t := YMM()
	VPERM2F128(U8(1), x, x, t)
	op(t, x, x)
	VSHUFPS(U8(0x4e), x, x, t)
	op(t, x, x)
	VSHUFPS(U8(0xb1), x, x, t)
	op(t, x, x)
}

// split generates what goes before a search, for all values of a super-block.
func split(c constants) {
	v := AVX2
	Start("gridSplit", "func(x, importance *float32, variance, base float32, size, even int, values *float32, signs *uint8, peaks, lows *float32) (bits "+
		"uint32)",
		"fills the arrays of values, signs, and for each sub-block of size values the greatest and the least magnitude. It returns the "+
			"greatest magnitude of values and weights as the bits of a float, or more if a weight is negative.", v)
	x, importance := Load(Param("x"), GP64()), Load(Param("importance"), GP64())
	values, signs := Load(Param("values"), GP64()), Load(Param("signs"), GP64())
	peaks, lows := Load(Param("peaks"), GP64()), Load(Param("lows"), GP64())
	even, size := Load(Param("even"), GP64()), Load(Param("size"), GP64())
	variance, base := v.Broadcast("variance", 16), v.Broadcast("base", 20)
	most := v.Vector()
	VXORPS(most, most, most)
	i, left := GP64(), GP64()
	XORQ(i, i)

	Label("subBlock")
	MOVQ(size, left)
	peak, low := v.Load(c.MinusInfinity), v.Load(c.Infinity)
	Label("group")
	m := v.Load(Mem{Base: x, Index: i, Scale: 4})
	square := v.Mul(m, m)
	w := v.Vector()
	TESTQ(importance, importance)
	JEQ(LabelRef("plain"))
	VADDPS(square, variance, square)
	VSQRTPS(square, square)
	VMULPS(Mem{Base: importance, Index: i, Scale: 4}, square, w)
	JMP(LabelRef("weighted"))
	Label("plain")
	VADDPS(square, base, w)
	Label("weighted")
	VPMAXUD(w, most, most)
	magnitude := v.Vector()
	VANDPS(c.Absolute, m, magnitude)
	VPMAXUD(magnitude, most, most)
	negative := v.Compare(Less, m, v.Load(c.Zero)).(reg.VecVirtual)
	bits := GP32()
	VMOVMSKPS(negative, bits)

	TESTQ(even, even)
	JEQ(LabelRef("any"))
	{
		odd, first, flip := GP32(), GP32(), GP32()
		least := v.Mul(v.Mul(w, m), m)
		e := v.Vector()
		VMOVAPS(least, e)
		across(VMINPS, least)
		VCMPPS(U8(Equal), least, e, e)
		VMOVMSKPS(e, first)
		BSFL(first, first)
		POPCNTL(bits, odd)
		ANDL(U8(1), odd)
		MOVL(odd, flip)
		// avo has no shift by CL of a virtual register.
		MOVL(first, reg.ECX)
		SHLL(reg.CL, flip)
		XORL(flip, bits)
		at, sign := v.Vector(), v.Vector()
		lane, top := XMM(), XMM()
		VMOVD(first, lane)
		VPBROADCASTD(lane, at)
		VPCMPEQD(c.Lanes, at, at)
		SHLL(U8(31), odd)
		VMOVD(odd, top)
		VPBROADCASTD(top, sign)
		VPAND(sign, at, at)
		VPAND(c.sign, negative, negative)
		VPXOR(at, negative, negative)
	}
	Label("any")
	VPAND(c.sign, negative, negative)
	VXORPS(negative, m, m)
	MOVB(bits.As8(), Mem{Base: signs})
	INCQ(signs)
	VMAXPS(m, peak, peak)
	VMINPS(m, low, low)
	at := func(array int) Mem { return Mem{Base: values, Index: i, Scale: 4, Disp: array} }
	VMOVUPS(m, at(mArray))
	VMOVUPS(w, at(wArray))
	VMULPS(m, w, m)
	VMOVUPS(m, at(wmArray))
	VSQRTPS(w, w)
	VMOVUPS(w, at(rootArray))
	across(VADDPS, w)
	VMOVSS(w.AsX(), at(rootSums))
	ADDQ(U8(8), i)
	SUBQ(U8(8), left)
	JNE(LabelRef("group"))
	across(VMAXPS, peak)
	across(VMINPS, low)
	VMOVSS(peak.AsX(), Mem{Base: peaks})
	VMOVSS(low.AsX(), Mem{Base: lows})
	ADDQ(U8(4), peaks)
	ADDQ(U8(4), lows)
	CMPQ(i, U32(256))
	JNE(LabelRef("subBlock"))
	across(VPMAXUD, most)
	VMOVD(most.AsX(), bits)
	Store(bits, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// spread generates the gathering of eight sub-blocks into lanes.
func spread(c constants) {
	v := AVX2
	Start("gridSpread", "func(values *float32, size int, lanes *float32)",
		"puts eight sub-blocks of size values each into a lane of the four arrays.", v)
	values, size, lanes := Load(Param("values"), GP64()), Load(Param("size"), GP64()), Load(Param("lanes"), GP64())
	index := v.Vector()
	VPBROADCASTD(NewParamAddr("size", 8), index)
	VPMULLD(c.Lanes, index, index)
	weights := GP64()
	LEAQ(Mem{Base: values, Disp: wArray}, weights)
	Label("next")
	m, w := v.Gather(values, index), v.Gather(weights, index)
	VMOVUPS(m, Mem{Base: lanes, Disp: mArray})
	VMOVUPS(w, Mem{Base: lanes, Disp: wArray})
	VMULPS(w, m, m)
	VMOVUPS(m, Mem{Base: lanes, Disp: wmArray})
	VSQRTPS(w, w)
	VMOVUPS(w, Mem{Base: lanes, Disp: rootArray})
	ADDQ(U8(4), values)
	ADDQ(U8(4), weights)
	ADDQ(U8(32), lanes)
	DECQ(size)
	JNE(LabelRef("next"))
	VZEROUPPER()
	RET()
}

// fitPeaks generates fitPositive of package quant for eight sub-blocks of 32
// values, each in a lane.
func fitPeaks(c constants) {
	v := AVX2
	const size, bytes = 32, 32
	Start("gridFitPeaks", "func(lanes, numerators, peaks, work, scales *float32)",
		"fits the scales of eight sub-blocks of 32 values. The first of nine numerators is the largest level, the others are what over the peak is a "+
			"candidate. work has room for 32 vectors.", v)
	lanes, numerators := Load(Param("lanes"), GP64()), Load(Param("numerators"), GP64())
	work := Load(Param("work"), GP64())
	peak := v.Load(Mem{Base: Load(Param("peaks"), GP64())})
	broadcast := func(m Mem) reg.VecVirtual {
		r := v.Vector()
		VBROADCASTSS(m, r)
		return r
	}
	n := broadcast(Mem{Base: numerators})
	limit := v.Vector()
	VCVTPS2DQ(n, limit)
	i := GP64()
	each := func(label string, body func()) {
		XORQ(i, i)
		Label(label)
		body()
		ADDQ(U8(bytes), i)
		CMPQ(i, U32(size*bytes))
		JLT(LabelRef(label))
	}
	at := func(array int) Mem { return Mem{Base: lanes, Index: i, Scale: 1, Disp: array} }
	levels := Mem{Base: work, Index: i, Scale: 1}
	integer := func(f reg.VecVirtual) reg.VecVirtual { // nearestInt
		x := v.Add(f, v.Load(c.Rounder))
		VPAND(c.Mantissa, x, x)
		VPSUBD(c.middle, x, x)
		return x
	}
	float := func(x reg.VecVirtual) reg.VecVirtual {
		f := v.Vector()
		VCVTDQ2PS(x, f)
		return f
	}
	fitError := func(label string, inverse, scale reg.VecVirtual, limits func(x reg.VecVirtual)) reg.VecVirtual {
		sum := v.Vector()
		VXORPS(sum, sum, sum)
		each(label, func() {
			m := v.Load(at(mArray))
			x := integer(v.Mul(inverse, m))
			limits(x)
			d := v.Sub(m, v.Mul(scale, float(x)))
			VADDPS(v.Mul(v.Mul(d, at(wArray)), d), sum, sum)
		})
		return sum
	}

	Comment("The best of nine scales.")
	inverse := v.Div(n, peak)
	best := fitError("first", inverse, v.Div(v.Load(c.One), inverse), func(x reg.VecVirtual) { VPAND(c.low8, x, x) })
	left := GP64()
	MOVQ(U32(8), left)
	Label("candidate")
	{
		ADDQ(U8(4), numerators)
		candidate := v.Div(broadcast(Mem{Base: numerators}), peak)
		e := fitError("other", candidate, v.Div(v.Load(c.One), candidate), func(x reg.VecVirtual) { VPMINSD(limit, x, x) })
		better := v.Compare(Less, e, best)
		VBLENDVPS(better, e, best, best)
		VBLENDVPS(better, candidate, inverse, inverse)
	}
	DECQ(left)
	JNE(LabelRef("candidate"))

	Comment("Its integers and sums.")
	xq, qq := v.Vector(), v.Vector()
	VXORPS(xq, xq, xq)
	VXORPS(qq, qq, qq)
	each("sums", func() {
		m := v.Load(at(mArray))
		x := integer(v.Mul(inverse, m))
		VPMINSD(limit, x, x)
		l := float(x)
		VPAND(c.low8, x, x)
		VMOVUPS(x, levels)
		VADDPS(v.Mul(l, at(wmArray)), xq, xq)
		VADDPS(v.Mul(v.Mul(l, at(wArray)), l), qq, qq)
	})

	Comment("The descent.")
	MOVQ(U32(5), left)
	Label("descend")
	changed := v.Vector()
	VXORPS(changed, changed, changed)
	each("move", func() {
		zero := v.Load(c.Zero)
		x := v.Load(levels)
		l := float(x)
		w, wm := v.Load(at(wArray)), v.Load(at(wmArray))
		otherXQ := v.Sub(xq, v.Mul(wm, l))
		otherQQ := v.Sub(qq, v.Mul(v.Mul(w, l), l))
		moves := v.Vector()
		VANDPS(v.Compare(Greater, otherXQ, zero), v.Compare(Greater, otherQQ, zero), moves)
		y := integer(v.Div(v.Mul(otherQQ, at(mArray)), otherXQ))
		VPMINSD(limit, y, y)
		same := v.Vector()
		VPCMPEQD(x, y, same)
		VPANDN(moves, same, moves)
		moved := float(y)
		VADDPS(v.Mul(wm, moved), otherXQ, otherXQ)
		VADDPS(v.Mul(v.Mul(w, moved), moved), otherQQ, otherQQ)
		VANDPS(v.Compare(Greater, otherQQ, zero), moves, moves)
		a, b := v.Mul(v.Mul(otherXQ, otherXQ), qq), v.Mul(v.Mul(xq, xq), otherQQ)
		VANDPS(v.Compare(Greater, a, b), moves, moves)
		VPAND(c.low8, y, y)
		VBLENDVPS(moves, y, x, x)
		VMOVUPS(x, levels)
		VBLENDVPS(moves, otherXQ, xq, xq)
		VBLENDVPS(moves, otherQQ, qq, qq)
		VORPS(moves, changed, changed)
	})
	lanesChanged := GP32()
	VMOVMSKPS(changed, lanesChanged)
	TESTL(lanesChanged, lanesChanged)
	JEQ(LabelRef("fitted"))
	DECQ(left)
	JNE(LabelRef("descend"))
	Label("fitted")
	positive := v.Compare(Greater, qq, v.Load(c.Zero)).(reg.VecVirtual)
	VDIVPS(qq, xq, xq)
	VANDPS(positive, xq, xq)
	VMOVUPS(xq, Mem{Base: Load(Param("scales"), GP64())})
	VZEROUPPER()
	RET()
}
