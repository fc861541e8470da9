package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// The types whose weights are points of a grid, with signs or a delta.

// gridRow is a row of such a type.
type gridRow struct {
	*row
	*neon.Grid
}

func (r *row) grid(dim int, values [16]int8) gridRow { return gridRow{r, r.NewGrid(r.w, dim, values)} }

// element puts an integer register into element 0 of a new vector.
func (r *row) element(bits neon.Register) neon.Vector {
	v := r.Vector()
	r.Op("FMOVS %v, F%d", bits, v)
	return v
}

// beginWords is for IQ2_XXS and IQ3_XXS: sub-blocks of 32 elements with the numbers
// of their points, and a word for signs and scale, stride bytes apart each.
func (g gridRow) beginWords(numbers, words, stride, fraction int) func() {
	return func() {
		total := g.zero()
		for s := range 8 {
			g.Scope(func() {
				word, scale := g.Register(), g.Register()
				g.Op("MOVWU %d(%v), %v", words+stride*s, g.w, word)
				g.Op("LSR $28, %v, %v", word, scale)
				g.Op("LSL $1, %v, %v", scale, scale)
				g.Op("ORR $1, %v, %v", scale, scale)
				signs, q := g.WordSigns(word), [2]neon.Vector{}
				for i := range q {
					q[i] = g.Lookup(g.ByteIndex(numbers + 8*s + 16/g.Dim*i))
					g.Negate(q[i], signs, 2*i)
				}
				g.addSubBlock(total, q[:], 32*s, g.element(scale), 0)
			})
		}
		g.add(total, fraction, g.Half(g.w, 0))
	}
}

func beginIQ2XXS(r *row) func() { return r.grid(8, neon.IQ2Values).beginWords(2, 6, 8, 3) }

func beginIQ3XXS(r *row) func() { return r.grid(4, neon.IQ3XXSValues).beginWords(2, 66, 4, 2) }

// oddScales returns twice the nibbles that load loads, plus 1, as integers of 32
// bits that fill n vectors.
func (r *row) oddScales(n int, load func(v neon.Vector)) []neon.Vector {
	scales := r.Vectors(n)
	r.Scope(func() {
		packed := r.NibblePairs(load)
		r.SHL(neon.B16, packed, packed, 1)
		r.ORR(packed, packed, r.Same(1))
		r.words(packed, scales)
	})
	return scales
}

func beginIQ2XS(r *row) func() {
	g := r.grid(8, neon.IQ2Values)
	return func() {
		total, scales := g.zero(), g.oddScales(4, func(v neon.Vector) { g.Op("FMOVD 66(%v), F%d", g.w, v) })
		for part := range 4 {
			g.Scope(func() {
				signs := g.TopSigns(g.w, 2+16*part)
				for i := range 4 {
					g.Scope(func() {
						q := g.Lookup(g.WordIndex(2 + 16*part + 4*i))
						g.Negate(q, signs, 2*i)
						g.addSubBlock(total, []neon.Vector{q}, 64*part+16*i, scales[part], i)
					})
				}
			})
		}
		g.add(total, 3, g.Half(g.w, 0))
	}
}

func beginIQ2S(r *row) func() {
	g := r.grid(8, neon.IQ2Values)
	return func() {
		total, scales := g.zero(), g.oddScales(4, func(v neon.Vector) { g.Op("FMOVD 74(%v), F%d", g.w, v) })
		for part := range 2 {
			g.Scope(func() {
				signs, high := g.load16(34+16*part), g.Register()
				g.Op("MOVWU %d(%v), %v", 66+4*part, g.w, high)
				for i := range 8 {
					g.Scope(func() {
						q := g.Lookup(g.WideIndex(2+16*part+2*i, high, 4*i, 2, 2))
						g.Negate(q, signs, 2*i)
						g.addSubBlock(total, []neon.Vector{q}, 128*part+16*i, scales[2*part+i/4], i%4)
					})
				}
			})
		}
		g.add(total, 3, g.Half(g.w, 0))
	}
}

func beginIQ3S(r *row) func() {
	g := r.grid(4, neon.IQ3SValues)
	return func() {
		total, scales := g.zero(), g.oddScales(2, func(v neon.Vector) { g.Op("FMOVS 106(%v), F%d", g.w, v) })
		for part := range 2 {
			g.Scope(func() {
				signs, high := g.load16(74+16*part), g.Register()
				g.Op("MOVWU %d(%v), %v", 66+4*part, g.w, high)
				for i := range 4 {
					g.Scope(func() {
						q := [2]neon.Vector{}
						for half := range q {
							q[half] = g.Lookup(g.WideIndex(2+32*part+8*i+4*half, high, 8*i+4*half, 1, 1))
							g.Negate(q[half], signs, 4*i+2*half)
						}
						g.addSubBlock(total, q[:], 128*part+32*i, scales[part], i)
					})
				}
			})
		}
		g.add(total, 0, g.Half(g.w, 0))
	}
}

func beginIQ1S(r *row) func() {
	g := r.grid(8, neon.IQ1Values)
	return func() {
		total := g.zero()
		for s := range 8 {
			g.Scope(func() {
				word := g.Register()
				g.Op("MOVH %d(%v), %v", 34+2*s, g.w, word)
				delta, q := g.DeltaIQ1S(word), [2]neon.Vector{}
				for i := range q {
					q[i] = g.Lookup(g.WideIndex(2+4*s+2*i, word, 6*i, 3, 3))
					g.ADD(neon.B16, q[i], q[i], delta)
				}
				g.addSubBlock(total, q[:], 32*s, g.element(g.OddBits(word, 12)), 0)
			})
		}
		g.add(total, 3, g.Half(g.w, 0))
	}
}

func beginIQ1M(r *row) func() {
	g := r.grid(8, neon.IQ1Values)
	return func() {
		total, words := g.zero(), g.Register()
		g.Op("MOVD 48(%v), %v", g.w, words)
		for s := range 16 {
			g.Scope(func() {
				upper := g.Register()
				g.Op("MOVBU %d(%v), %v", 32+s, g.w, upper)
				q := g.Lookup(g.WideIndex(2*s, upper, 0, 4, 3))
				g.ADD(neon.B16, q, q, g.DeltaIQ1M(upper))
				g.addSubBlock(total, []neon.Vector{q}, 16*s, g.element(g.OddBits(words, s/4*16+s%4*3)), 0)
			})
		}
		g.add(total, 3, g.ScaleIQ1M(words))
	}
}
