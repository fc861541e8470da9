package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// The types with a grid. Their points are the levels of 8 or 4 elements.

// iq2Values, iq3XXSValues, iq3SValues and iq1Values are those of package quant, the
// last for delta 1/8, times 8.
var (
	iq2Values    = [16]int8{8, 25, 43}
	iq3XXSValues = [16]int8{4, 12, 20, 28, 36, 44, 52, 62}
	iq3SValues   = [16]int8{1, 3, 5, 7, 9, 11, 13, 15}
	iq1Values    = [16]int8{-7, 1, 9}
)

// grid is a block of a type with a grid.
type grid struct {
	*reader
	points neon.Register
	values neon.Vector
	dim    int
	// eight has the numbers of two bytes eight times, and single a bit in each
	// byte of eight.
	eight, single neon.Vector
}

func newGrid(r *reader, dim int, values [16]int8) *grid {
	return &grid{
		reader: r, points: r.Parameter("points"), values: levelTable(r.Function, values), dim: dim,
		eight: r.Bytes(0, 0x0101010101010101), single: r.Bytes(0x8040201008040201, 0x8040201008040201),
	}
}

// leaveNaN leaves the block, and those after it, if d is NaN, as the sign of a NaN
// would not be that of the element.
func (g *grid) leaveNaN(d neon.Vector) {
	g.Op("FCMPS F%d, F%d", d, d)
	g.Op("BVS end")
}

// lookup returns the values of 16 elements. index puts the number of a point into a
// register.
func (g *grid) lookup(index func(i int, to neon.Register)) neon.Vector {
	v := g.Vector()
	g.Scope(func() {
		number, points := g.Register(), g.Vectors(16/g.dim)
		for i, p := range points {
			index(i, number)
			if g.dim == 8 {
				g.Op("FMOVD (%v)(%v<<3), F%d", g.points, number, p)
			} else {
				g.Op("FMOVS (%v)(%v<<2), F%d", g.points, number, p)
			}
		}
		if g.dim == 4 {
			g.ZIP1(neon.S4, points[0], points[0], points[1])
			g.ZIP1(neon.S4, points[1], points[2], points[3])
		}
		g.ZIP1(neon.D2, v, points[0], points[1])
		g.TBL(v, g.values, v)
	})
	return v
}

// byteIndex is for lookup with numbers that are bytes, from offset on.
func (g *grid) byteIndex(offset int) func(i int, to neon.Register) {
	return func(i int, to neon.Register) { g.Op("MOVBU %d(%v), %v", offset+i, g.src, to) }
}

// wideIndex is byteIndex with more bits: those that width says from bit shift on,
// and further for every next number, of high.
func (g *grid) wideIndex(offset int, high neon.Register, shift, step, width int) func(i int, to neon.Register) {
	return func(i int, to neon.Register) {
		g.Scope(func() {
			upper := g.Register()
			g.Op("UBFX $%d, %v, $%d, %v", shift+step*i, high, width, upper)
			g.Op("MOVBU %d(%v), %v", offset+i, g.src, to)
			g.Op("ORR %v<<8, %v, %v", upper, to, to)
		})
	}
}

// negate changes the signs of 16 elements for which the bytes first and first+1 of
// signs have bits.
func (g *grid) negate(v, signs neon.Vector, first int) {
	g.Scope(func() {
		number, mask := g.Vector(), g.Vector()
		if first > 0 {
			g.Op("VMOVI $%d, V%d.B16", first, number)
			g.ADD(neon.B16, number, number, g.eight)
			g.TBL(mask, signs, number)
		} else {
			g.TBL(mask, signs, g.eight)
		}
		g.Op("VCMTST V%d.B16, V%d.B16, V%d.B16", g.single, mask, mask)
		g.EOR(v, v, mask)
		g.Op("VSUB V%d.B16, V%d.B16, V%d.B16", mask, v, v)
	})
}

// evenSigns adds an eighth bit to the seven in each byte, such that their number is
// even.
func (g *grid) evenSigns(signs neon.Vector) {
	g.Scope(func() {
		count := g.Vector()
		g.Op("VCNT V%d.B16, V%d.B16", signs, count)
		g.SHL(neon.B16, count, count, 7)
		g.ORR(signs, signs, count)
	})
}

// wordSigns returns the signs that the four times seven bits of word say, in bytes.
func (g *grid) wordSigns(word neon.Register) neon.Vector {
	signs := g.Vector()
	g.Scope(func() {
		bytes, t := g.Register(), g.Register()
		g.Op("AND $0x7f, %v, %v", word, bytes)
		for i := 1; i < 4; i++ {
			g.Op("AND $%#x, %v, %v", 0x7f<<(7*i), word, t)
			g.Op("ORR %v<<%d, %v, %v", t, i, bytes, bytes)
		}
		g.Op("FMOVS %v, F%d", bytes, signs)
	})
	g.evenSigns(signs)
	return signs
}

// wordScale returns the four highest bits of word, plus 1/2, times d and factor.
func (g *grid) wordScale(word neon.Register, d neon.Vector, factor float32) neon.Vector {
	scale := g.Vector()
	g.Scope(func() {
		bits, t := g.Register(), g.Vector()
		g.Op("LSR $28, %v, %v", word, bits)
		g.Op("UCVTFS %v, F%d", bits, scale)
		g.Number(t, 0.5)
		g.Op("FADDS F%d, F%d, F%d", t, scale, scale)
		g.Op("FMULS F%d, F%d, F%d", d, scale, scale)
		g.Number(t, factor)
		g.Op("FMULS F%d, F%d, F%d", t, scale, scale)
	})
	return scale
}

// readWords reads IQ2_XXS and IQ3_XXS: sub-blocks of 32 elements with the numbers of
// their points, and a word for signs and scale, stride bytes apart each.
func (g *grid) readWords(numbers, words, stride int, factor float32) {
	d := g.half(0)
	g.leaveNaN(d)
	for s := range 8 {
		g.Scope(func() {
			word := g.Register()
			g.Op("MOVWU %d(%v), %v", words+stride*s, g.src, word)
			signs, scale := g.wordSigns(word), g.wordScale(word, d, factor)
			for i := range 2 {
				g.Scope(func() {
					v := g.lookup(g.byteIndex(numbers + 8*s + 16/g.dim*i))
					g.negate(v, signs, 2*i)
					g.put(32*s+16*i, v, 0, true, g.times(scale, 0))
				})
			}
		})
	}
}

func readIQ2XXS(r *reader) { newGrid(r, 8, iq2Values).readWords(2, 6, 8, 0.25) }

func readIQ3XXS(r *reader) { newGrid(r, 4, iq3XXSValues).readWords(2, 66, 4, 0.5) }

// nibblePairs returns the low and the high four bits of the first eight bytes that
// load loads, by turns.
func (g *grid) nibblePairs(load func(v neon.Vector)) neon.Vector {
	v := g.Vector()
	load(v)
	g.Scope(func() {
		high, mask := g.Vector(), g.bytes(15)
		g.USHR(neon.B16, high, v, 4)
		g.AND(v, v, mask)
		g.ZIP1(neon.B16, v, v, high)
	})
	return v
}

// iq2Scales returns the 16 scales of IQ2_XS and IQ2_S.
func (g *grid) iq2Scales(offset int, d neon.Vector) []neon.Vector {
	scales := g.Vectors(4)
	g.Scope(func() {
		packed := g.nibblePairs(func(v neon.Vector) { g.Op("FMOVD %d(%v), F%d", offset, g.src, v) })
		half, quarter := g.Vector(), g.Vector()
		g.Number(half, 0.5)
		g.DUP(half, half, 0)
		g.Number(quarter, 0.25)
		for i, s := range scales {
			g.TBL(s, packed, g.spread[i])
			g.UCVTF(s, s, 24)
			g.FADD(s, s, half)
			g.FMULElement(s, s, d, 0)
			g.FMULElement(s, s, quarter, 0)
		}
	})
	return scales
}

func readIQ2XS(r *reader) {
	g := newGrid(r, 8, iq2Values)
	d := g.half(0)
	g.leaveNaN(d)
	scales := g.iq2Scales(66, d)
	for part := range 4 {
		g.Scope(func() {
			signs := g.load(2 + 16*part)
			g.USHR(neon.H8, signs, signs, 9)
			g.UZP1(neon.B16, signs, signs, signs)
			g.evenSigns(signs)
			for i := range 4 {
				g.Scope(func() {
					v := g.lookup(func(k int, to neon.Register) {
						g.Op("MOVHU %d(%v), %v", 2+16*part+4*i+2*k, g.src, to)
						g.Op("AND $511, %v, %v", to, to)
					})
					g.negate(v, signs, 2*i)
					g.put(64*part+16*i, v, 0, true, g.times(scales[part], i))
				})
			}
		})
	}
}

func readIQ2S(r *reader) {
	g := newGrid(r, 8, iq2Values)
	d := g.half(0)
	g.leaveNaN(d)
	scales := g.iq2Scales(74, d)
	for part := range 2 {
		g.Scope(func() {
			signs := g.load(34 + 16*part)
			high := g.Register()
			g.Op("MOVWU %d(%v), %v", 66+4*part, g.src, high)
			for i := range 8 {
				g.Scope(func() {
					v := g.lookup(g.wideIndex(2+16*part+2*i, high, 4*i, 2, 2))
					g.negate(v, signs, 2*i)
					g.put(128*part+16*i, v, 0, true, g.times(scales[2*part+i/4], i%4))
				})
			}
		})
	}
}

func readIQ3S(r *reader) {
	g := newGrid(r, 4, iq3SValues)
	d := g.half(0)
	g.leaveNaN(d)
	scales := g.Vectors(2)
	g.Scope(func() {
		packed := g.nibblePairs(func(v neon.Vector) { g.Op("FMOVS %d(%v), F%d", 106, g.src, v) })
		g.SHL(neon.B16, packed, packed, 1)
		g.ORR(packed, packed, g.bytes(1))
		for i, s := range scales {
			g.TBL(s, packed, g.spread[i])
			g.UCVTF(s, s, 24)
			g.FMULElement(s, s, d, 0)
		}
	})
	for part := range 2 {
		g.Scope(func() {
			signs := g.load(74 + 16*part)
			high := g.Register()
			g.Op("MOVWU %d(%v), %v", 66+4*part, g.src, high)
			for i := range 8 {
				g.Scope(func() {
					v := g.lookup(g.wideIndex(2+32*part+4*i, high, 4*i, 1, 1))
					g.negate(v, signs, 2*i)
					s := 4*part + i/2
					g.put(128*part+16*i, v, 0, true, g.times(scales[s/4], s%4))
				})
			}
		})
	}
}

// iq1Scale returns d times twice the three bits of word from shift on, plus 1.
func (g *grid) iq1Scale(word neon.Register, shift int, d neon.Vector) neon.Vector {
	scale := g.Vector()
	g.Scope(func() {
		bits := g.Register()
		g.Op("UBFX $%d, %v, $3, %v", shift, word, bits)
		g.Op("LSL $1, %v, %v", bits, bits)
		g.Op("ORR $1, %v, %v", bits, bits)
		g.Op("UCVTFS %v, F%d", bits, scale)
		g.Op("FMULS F%d, F%d, F%d", scale, d, scale)
	})
	return scale
}

func readIQ1S(r *reader) {
	g := newGrid(r, 8, iq1Values)
	d := g.half(0)
	for s := range 8 {
		g.Scope(func() {
			word, negative := g.Register(), g.Vector()
			g.Op("MOVH %d(%v), %v", 34+2*s, g.src, word)
			g.Scope(func() {
				// A quarter less where the sign of the word is set.
				t := g.Register()
				g.Op("ASR $15, %v, %v", word, t)
				g.Op("LSL $1, %v, %v", t, t)
				g.Op("VDUP %v, V%d.B16", t, negative)
			})
			scale := g.iq1Scale(word, 12, d)
			for i := range 2 {
				g.Scope(func() {
					v := g.lookup(g.wideIndex(2+4*s+2*i, word, 6*i, 3, 3))
					g.ADD(neon.B16, v, v, negative)
					g.put(32*s+16*i, v, 3, true, g.times(scale, 0))
				})
			}
		})
	}
}

func readIQ1M(r *reader) {
	g := newGrid(r, 8, iq1Values)
	words := g.Register()
	g.Op("MOVD 48(%v), %v", g.src, words)
	d := g.Vector()
	g.Scope(func() {
		// The parts of d are the highest four bits of the words.
		bits, t := g.Register(), g.Register()
		g.Op("UBFX $12, %v, $4, %v", words, bits)
		for i := 1; i < 4; i++ {
			g.Op("UBFX $%d, %v, $4, %v", 16*i+12, words, t)
			g.Op("ORR %v<<%d, %v, %v", t, 4*i, bits, bits)
		}
		g.Op("FMOVS %v, F%d", bits, d)
		g.Op("FCVTHS F%d, F%d", d, d)
	})
	for s := range 16 {
		g.Scope(func() {
			upper, negative := g.Register(), g.Bytes(0x0808080808080808, 0x8080808080808080)
			g.Op("MOVBU %d(%v), %v", 32+s, g.src, upper)
			g.Scope(func() {
				// A quarter less where the highest bit of a half byte is set.
				t := g.Vector()
				g.Op("VDUP %v, V%d.B16", upper, t)
				g.Op("VCMTST V%d.B16, V%d.B16, V%d.B16", negative, t, negative)
				g.SHL(neon.B16, negative, negative, 1)
			})
			scale := g.iq1Scale(words, s/4*16+s%4*3, d)
			v := g.lookup(g.wideIndex(2*s, upper, 0, 4, 3))
			g.ADD(neon.B16, v, v, negative)
			g.put(16*s, v, 3, true, g.times(scale, 0))
		})
	}
}
