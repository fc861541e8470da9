package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// Offsets in kernel.Vector8.
const (
	sumsAt   = 256
	scaleAt  = 288
	vectorAt = 320 // of the next one
)

// row is the product of a row and a vector under construction.
type row struct {
	*neon.Function
	w, x    neon.Register
	sums    [2]neon.Vector // of floats; all their elements make the product
	dotProd bool
}

// rowTypes are those of kernel.DotRows. begin emits what comes before all rows and
// returns what emits the products of a Vector8 at x and the blocks at w.
var rowTypes = []struct {
	name  string
	bytes int // of the blocks of a Vector8
	begin func(r *row) (body func())
}{
	{"Q4_0", 8 * 18, blocks{bytes: 18, at: 2, unpack: beginLevels(offsetLevels(8))}.begin},
	{"Q4_1", 8 * 20, blocks{bytes: 20, at: 4, minimum: true, unpack: beginNibbles}.begin},
	{"Q5_0", 8 * 22, blocks{bytes: 22, at: 2, unpack: beginFives(true)}.begin},
	{"Q5_1", 8 * 24, blocks{bytes: 24, at: 4, minimum: true, unpack: beginFives(false)}.begin},
	{"Q8_0", 8 * 34, blocks{bytes: 34, at: 2, unpack: beginBytes}.begin},
	{"Q2_K", 84, beginQ2K},
	{"Q3_K", 110, beginQ3K},
	{"Q4_K", 144, beginQ4K},
	{"Q5_K", 176, beginQ5K},
	{"Q6_K", 210, beginQ6K},
	{"IQ1_S", 50, beginIQ1S},
	{"IQ1_M", 56, beginIQ1M},
	{"IQ2_XXS", 66, beginIQ2XXS},
	{"IQ2_XS", 74, beginIQ2XS},
	{"IQ2_S", 82, beginIQ2S},
	{"IQ3_XXS", 98, beginIQ3XXS},
	{"IQ3_S", 110, beginIQ3S},
	{"IQ4_NL", 8 * 18, blocks{bytes: 18, at: 2, unpack: beginLevels(neon.IQ4Levels)}.begin},
	{"IQ4_XS", 136, beginIQ4XS},
	{"TQ1_0", 54, beginTQ10},
	{"TQ2_0", 66, beginTQ20},
	{"MXFP4", 8 * 17, blocks{bytes: 17, at: 1, power: true, unpack: beginLevels(neon.FP4Levels)}.begin},
}

// generateRowDot generates kernel.DotRows for each type, with SDOT and without.
func generateRowDot(file *neon.File) {
	for _, dotProd := range []bool{false, true} {
		suffix := "NEON"
		if dotProd {
			suffix = "DotProd"
		}
		for _, t := range rowTypes {
			f := file.Function("dot"+t.name+suffix, "dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8", "")
			dst, rows := f.Parameter("dst"), f.Parameter("rows")
			r := &row{Function: f, w: f.Parameter("w"), dotProd: dotProd}
			r.sums = [2]neon.Vector{f.Vector(), f.Vector()}
			body := t.begin(r)
			f.Label("row")
			f.Zero(r.sums[0])
			f.Zero(r.sums[1])
			f.Scope(func() {
				r.x = f.Parameter("x")
				left := f.Parameter("vectors")
				f.Label("vector")
				f.Scope(body)
				f.Op("ADD $%d, %v", t.bytes, r.w)
				f.Op("ADD $%d, %v", vectorAt, r.x)
				f.Op("SUBS $1, %v", left)
				f.Op("BNE vector")
			})
			sum := r.sums[0]
			f.FADD(sum, sum, r.sums[1])
			f.FADDP(sum, sum, sum)
			f.FADDP(sum, sum, sum)
			f.Op("FMOVS.P F%d, 4(%v)", sum, dst)
			f.Op("SUBS $1, %v", rows)
			f.Op("BNE row")
			f.Op("RET")
		}
	}
}

// load loads two vectors.
func (r *row) load(base neon.Register, offset int) [2]neon.Vector {
	v := [2]neon.Vector{r.Vector(), r.Vector()}
	r.LoadPair(v[0], v[1], base, offset)
	return v
}

// load16 loads a vector of the block.
func (r *row) load16(offset int) neon.Vector {
	v := r.Vector()
	r.Load(v, r.w, offset)
	return v
}

// zero returns a vector of zeros.
func (r *row) zero() neon.Vector { return zeros(r.Function, 1)[0] }

// dot adds to the integers of sum the products of 16 bytes each. Two of them fit in
// 16 bits, as none of a Vector8 is -128 where its scale is a number.
func (r *row) dot(sum, q, x neon.Vector) {
	if r.dotProd {
		r.SDOT(sum, q, x)
		return
	}
	r.Scope(func() {
		products := r.Vector()
		r.SMULL(neon.B16, products, q, x)
		r.SMLAL2(neon.B16, products, q, x)
		r.SADALP(neon.H8, sum, products)
	})
}

// values loads n vectors of elements, one or two, from position on.
func (r *row) values(position, n int) []neon.Vector {
	if n == 2 {
		v := r.load(r.x, position)
		return v[:]
	}
	v := r.Vector()
	r.Load(v, r.x, position)
	return []neon.Vector{v}
}

// dotAt adds to the integers of sum the products of the vectors of q with the
// elements from position on.
func (r *row) dotAt(sum neon.Vector, q []neon.Vector, position int) {
	r.Scope(func() {
		for i, x := range r.values(position, len(q)) {
			r.dot(sum, q[i], x)
		}
	})
}

// addSubBlock adds to total a scale, element i of scales, times what dotAt adds.
func (r *row) addSubBlock(total neon.Vector, q []neon.Vector, position int, scales neon.Vector, i int) {
	r.Scope(func() {
		products := r.zero()
		r.dotAt(products, q, position)
		r.MLAElement(total, products, scales, i)
	})
}

// scale loads the scale of the Vector8 into element 0.
func (r *row) scale() neon.Vector {
	v := r.Vector()
	r.Op("FMOVS %d(%v), F%d", scaleAt, r.x, v)
	return v
}

// add adds the integers of total, which have so many bits below the point, times
// the scale in element 0 of d and that of the Vector8.
func (r *row) add(total neon.Vector, fraction int, d neon.Vector) {
	r.SCVTF(total, total, fraction)
	r.Scope(func() {
		factor := r.Vector()
		r.FMULElement(factor, d, r.scale(), 0)
		r.FMLAElement(r.sums[0], total, factor, 0)
	})
}

// words makes integers of 32 bits of as many signed bytes of packed as fill to.
func (r *row) words(packed neon.Vector, to []neon.Vector) {
	r.Scope(func() {
		half := r.Vector()
		for i, v := range to {
			switch i {
			case 0:
				r.SXTL(neon.B16, half, packed)
			case 2:
				r.SXTL2(neon.B16, half, packed)
			}
			if i%2 == 0 {
				r.SXTL(neon.H8, v, half)
			} else {
				r.SXTL2(neon.H8, v, half)
			}
		}
	})
}

// nibbles returns the low four bits of 16 bytes, in the same vector, and the high
// ones.
func (r *row) nibbles(low, mask neon.Vector) []neon.Vector {
	high := r.Vector()
	r.USHR(neon.B16, high, low, 4)
	r.AND(low, low, mask)
	return []neon.Vector{low, high}
}
