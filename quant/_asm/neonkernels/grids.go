package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// The types with a grid. Their points are the levels of 8 or 4 elements.

// grid is a block of a type with a grid.
type grid struct {
	*reader
	*neon.Grid
}

func newGrid(r *reader, dim int, values [16]int8) *grid {
	return &grid{r, r.NewGrid(r.src, dim, values)}
}

// leaveNaN leaves the block, and those after it, if d is NaN, as the sign of a NaN
// would not be that of the element.
func (g *grid) leaveNaN(d neon.Vector) {
	g.Op("FCMPS F%d, F%d", d, d)
	g.Op("BVS end")
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
			signs, scale := g.WordSigns(word), g.wordScale(word, d, factor)
			for i := range 2 {
				g.Scope(func() {
					v := g.Lookup(g.ByteIndex(numbers + 8*s + 16/g.Dim*i))
					g.Negate(v, signs, 2*i)
					g.put(32*s+16*i, v, 0, true, g.times(scale, 0))
				})
			}
		})
	}
}

func readIQ2XXS(r *reader) { newGrid(r, 8, neon.IQ2Values).readWords(2, 6, 8, 0.25) }

func readIQ3XXS(r *reader) { newGrid(r, 4, neon.IQ3XXSValues).readWords(2, 66, 4, 0.5) }

// iq2Scales returns the 16 scales of IQ2_XS and IQ2_S.
func (g *grid) iq2Scales(offset int, d neon.Vector) []neon.Vector {
	scales := g.Vectors(4)
	g.Scope(func() {
		packed := g.NibblePairs(func(v neon.Vector) { g.Op("FMOVD %d(%v), F%d", offset, g.src, v) })
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
	g := newGrid(r, 8, neon.IQ2Values)
	d := g.half(0)
	g.leaveNaN(d)
	scales := g.iq2Scales(66, d)
	for part := range 4 {
		g.Scope(func() {
			signs := g.TopSigns(g.src, 2+16*part)
			for i := range 4 {
				g.Scope(func() {
					v := g.Lookup(g.WordIndex(2 + 16*part + 4*i))
					g.Negate(v, signs, 2*i)
					g.put(64*part+16*i, v, 0, true, g.times(scales[part], i))
				})
			}
		})
	}
}

func readIQ2S(r *reader) {
	g := newGrid(r, 8, neon.IQ2Values)
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
					v := g.Lookup(g.WideIndex(2+16*part+2*i, high, 4*i, 2, 2))
					g.Negate(v, signs, 2*i)
					g.put(128*part+16*i, v, 0, true, g.times(scales[2*part+i/4], i%4))
				})
			}
		})
	}
}

func readIQ3S(r *reader) {
	g := newGrid(r, 4, neon.IQ3SValues)
	d := g.half(0)
	g.leaveNaN(d)
	scales := g.Vectors(2)
	g.Scope(func() {
		packed := g.NibblePairs(func(v neon.Vector) { g.Op("FMOVS %d(%v), F%d", 106, g.src, v) })
		g.SHL(neon.B16, packed, packed, 1)
		g.ORR(packed, packed, g.Same(1))
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
					v := g.Lookup(g.WideIndex(2+32*part+4*i, high, 4*i, 1, 1))
					g.Negate(v, signs, 2*i)
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
		g.Op("UCVTFS %v, F%d", g.OddBits(word, shift), scale)
		g.Op("FMULS F%d, F%d, F%d", scale, d, scale)
	})
	return scale
}

func readIQ1S(r *reader) {
	g := newGrid(r, 8, neon.IQ1Values)
	d := g.half(0)
	for s := range 8 {
		g.Scope(func() {
			word := g.Register()
			g.Op("MOVH %d(%v), %v", 34+2*s, g.src, word)
			delta := g.DeltaIQ1S(word)
			scale := g.iq1Scale(word, 12, d)
			for i := range 2 {
				g.Scope(func() {
					v := g.Lookup(g.WideIndex(2+4*s+2*i, word, 6*i, 3, 3))
					g.ADD(neon.B16, v, v, delta)
					g.put(32*s+16*i, v, 3, true, g.times(scale, 0))
				})
			}
		})
	}
}

func readIQ1M(r *reader) {
	g := newGrid(r, 8, neon.IQ1Values)
	words := g.Register()
	g.Op("MOVD 48(%v), %v", g.src, words)
	d := g.ScaleIQ1M(words)
	for s := range 16 {
		g.Scope(func() {
			upper := g.Register()
			g.Op("MOVBU %d(%v), %v", 32+s, g.src, upper)
			delta := g.DeltaIQ1M(upper)
			scale := g.iq1Scale(words, s/4*16+s%4*3, d)
			v := g.Lookup(g.WideIndex(2*s, upper, 0, 4, 3))
			g.ADD(neon.B16, v, v, delta)
			g.put(16*s, v, 3, true, g.times(scale, 0))
		})
	}
}
