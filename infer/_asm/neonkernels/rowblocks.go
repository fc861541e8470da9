package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// blocks is a type of blocks of 32 weights, which are integers times a scale, plus a
// minimum if there is one.
type blocks struct {
	bytes   int
	power   bool // the scale is that of MXFP4, not a half
	minimum bool // behind the scale
	at      int  // of the integers
	// unpack emits what comes before all rows and returns what emits the integers at
	// an offset of the block.
	unpack func(r *row) func(offset int) []neon.Vector
}

func (t blocks) begin(r *row) func() {
	unpack := t.unpack(r)
	return func() {
		scale := r.scale()
		if t.minimum {
			r.Scope(func() { t.addMinima(r, scale) })
		}
		scales := t.halves(r, 0, scale)
		for b := range 8 {
			r.Scope(func() {
				products := r.zero()
				r.dotAt(products, unpack(t.bytes*b+t.at), 32*b)
				r.SCVTF(products, products, 0)
				r.FMLAElement(r.sums[b%2], products, scales[b/4], b%4)
			})
		}
	}
}

// halves returns what is at an offset of eight blocks, times element 0 of scale.
func (t blocks) halves(r *row, offset int, scale neon.Vector) [2]neon.Vector {
	v := [2]neon.Vector{r.Vector(), r.Vector()}
	r.Scope(func() {
		if t.power {
			for b := range 8 {
				r.Scope(func() { r.Op("VMOV %v, V%d.S[%d]", r.PowerMXFP4(r.w, t.bytes*b), v[b/4], b%4) })
			}
			return
		}
		halves, bits := r.Vector(), r.Register()
		for b := range 8 {
			r.Op("MOVHU %d(%v), %v", t.bytes*b+offset, r.w, bits)
			r.Op("VMOV %v, V%d.H[%d]", bits, halves, b)
		}
		r.FCVTL(v[0], halves)
		r.FCVTL2(v[1], halves)
	})
	for _, v := range v {
		r.FMULElement(v, v, scale, 0)
	}
	return v
}

// addMinima adds minima times the sums of the Vector8, of which a block has two.
func (t blocks) addMinima(r *row, scale neon.Vector) {
	minima := t.halves(r, 2, scale)
	for i, s := range r.load(r.x, sumsAt) {
		sums := r.zero()
		r.SADALP(neon.H8, sums, s)
		r.SCVTF(sums, sums, 0)
		r.FMLA(r.sums[i], sums, minima[i])
	}
}

// beginBytes is for integers that are bytes.
func beginBytes(r *row) func(int) []neon.Vector {
	return func(offset int) []neon.Vector {
		return []neon.Vector{r.load16(offset), r.load16(offset + 16)}
	}
}

// beginNibbles is for integers of four bits.
func beginNibbles(r *row) func(int) []neon.Vector {
	mask := r.Same(15)
	return func(offset int) []neon.Vector { return r.nibbles(r.load16(offset), mask) }
}

// beginLevels is for numbers of levels, in four bits.
func beginLevels(levels [16]int8) func(r *row) func(int) []neon.Vector {
	return func(r *row) func(int) []neon.Vector {
		table, nibbles := r.Levels(levels), beginNibbles(r)
		return func(offset int) []neon.Vector {
			q := nibbles(offset)
			for _, q := range q {
				r.TBL(q, table, q)
			}
			return q
		}
	}
}

// offsetLevels are integers of four bits less offset.
func offsetLevels(offset int) (levels [16]int8) {
	for i := range levels {
		levels[i] = int8(i - offset)
	}
	return levels
}

// beginFives is for integers of five bits, less 16 if they are signed. Bits 4 are
// before the others.
func beginFives(signed bool) func(r *row) func(int) []neon.Vector {
	return func(r *row) func(int) []neon.Vector {
		nibbles := beginNibbles(r)
		single := r.Bytes(0x8040201008040201, 0x8040201008040201)
		bytes := [2]neon.Vector{r.Bytes(0, 0x0101010101010101), r.Bytes(0x0202020202020202, 0x0303030303030303)}
		fifth := r.Same(0x10)
		if signed {
			fifth = r.Same(0xf0) // 16 less is this where bit 4 is not set
		}
		return func(offset int) []neon.Vector {
			q := nibbles(offset + 4)
			r.Scope(func() {
				packed := r.Vector()
				r.Op("FMOVS %d(%v), F%d", offset, r.w, packed)
				for i, q := range q {
					r.Scope(func() {
						set := r.Vector()
						r.TBL(set, packed, bytes[i])
						r.Op("VCMTST V%d.B16, V%d.B16, V%d.B16", single, set, set)
						if signed {
							r.BIC(set, fifth, set)
						} else {
							r.AND(set, fifth, set)
						}
						r.ORR(q, q, set)
					})
				}
			})
			return q
		}
	}
}
