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

// generateRowDot generates kernel.DotRows for each type, with SDOT and without.
func generateRowDot(file *neon.File) {
	for _, dotProd := range []bool{false, true} {
		suffix := "NEON"
		if dotProd {
			suffix = "DotProd"
		}
		for _, format := range []struct {
			name  string
			bytes int // of the blocks of a Vector8
			// body adds the products of a Vector8 at x and the blocks at w; constants
			// loads what it needs each time.
			constants func(f *neon.Function) []neon.Vector
			body      func(r *row, constants []neon.Vector)
		}{
			{"Q8_0", 8 * 34, func(*neon.Function) []neon.Vector { return nil }, dotQ80},
			{"Q4K", 144, constantsQ4K, dotQ4K},
			{"Q6K", 210, constantsQ6K, dotQ6K},
		} {
			f := file.Function("dot"+format.name+suffix, "dst *float32, rows int, w *byte, x *int8, vectors int", "")
			dst, rows := f.Parameter("dst"), f.Parameter("rows")
			r := &row{Function: f, w: f.Parameter("w"), dotProd: dotProd}
			r.sums = [2]neon.Vector{f.Vector(), f.Vector()}
			constants := format.constants(f)
			f.Label("row")
			f.Zero(r.sums[0])
			f.Zero(r.sums[1])
			f.Scope(func() {
				r.x = f.Parameter("x")
				left := f.Parameter("vectors")
				f.Label("vector")
				f.Scope(func() { format.body(r, constants) })
				f.Op("ADD $%d, %v", format.bytes, r.w)
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

// scale loads the scale of the Vector8 into element 0.
func (r *row) scale() neon.Vector {
	v := r.Vector()
	r.Op("FMOVS %d(%v), F%d", scaleAt, r.x, v)
	return v
}

func dotQ80(r *row, _ []neon.Vector) {
	scales := [2]neon.Vector{r.Vector(), r.Vector()}
	r.Scope(func() {
		halves, bits := r.Vector(), r.Register()
		for b := range 8 {
			r.Op("MOVHU %d(%v), %v", 34*b, r.w, bits)
			r.Op("VMOV %v, V%d.H[%d]", bits, halves, b)
		}
		r.FCVTL(scales[0], halves)
		r.FCVTL2(scales[1], halves)
		scale := r.scale()
		for _, v := range scales {
			r.FMULElement(v, v, scale, 0)
		}
	})
	for b := range 8 {
		r.Scope(func() {
			x, products := r.load(r.x, 32*b), r.Vector()
			r.Zero(products)
			for i, x := range x {
				w := r.Vector()
				r.Load(w, r.w, 34*b+2+16*i)
				r.dot(products, w, x)
			}
			r.SCVTF(products, products, 0)
			r.FMLAElement(r.sums[b%2], products, scales[b/4], b%4)
		})
	}
}

// constantsQ4K loads what unpacks the scales and minima.
func constantsQ4K(f *neon.Function) []neon.Vector {
	const none = 0xffffffff
	return []neon.Vector{
		// For a table of the first 16 bytes of a block and the same shifted by four.
		f.Bytes(0x0f0e0d0c_07060504, 0x1f1e1d1c_0b0a0908),
		f.Bytes(0x0f0f0f0f_3f3f3f3f, 0x0f0f0f0f_3f3f3f3f),
		// For one without the shifted bytes.
		f.Bytes(0x07060504_00000000|none, 0x0b0a0908_00000000|none),
		f.Constant(0xc0c0c0c0),
		f.Constant(0x0f0f0f0f),
	}
}

func dotQ4K(r *row, constants []neon.Vector) {
	low, lowMask, top, topMask, nibble := constants[0], constants[1], constants[2], constants[3], constants[4]
	factors, scales, minima := r.Vector(), [2]neon.Vector{r.Vector(), r.Vector()}, r.Vector()
	r.Scope(func() {
		// Six bits each of eight scales, and then of eight minima: see scaleMin of
		// package quant. Of the last four of both, the top two bits are elsewhere.
		head := [2]neon.Vector{r.Vector(), r.Vector()}
		packed, high := r.Vector(), r.Vector()
		r.Load(head[0], r.w, 0)
		r.USHR(neon.B16, head[1], head[0], 4)
		r.TBL2(packed, head, low)
		r.AND(packed, packed, lowMask)
		r.TBL(high, head[0], top)
		r.AND(high, high, topMask)
		r.USHR(neon.B16, high, high, 2)
		r.ORR(packed, packed, high)

		r.FCVTL(factors, head[0]) // of the scales and the minima, and two that are none
		r.FMULElement(factors, factors, r.scale(), 0)

		words, sums := r.Vector(), r.load(r.x, sumsAt)
		r.SXTL(neon.B16, words, packed)
		r.SXTL(neon.H8, scales[0], words)
		r.SXTL2(neon.H8, scales[1], words)
		r.SXTL2(neon.B16, words, packed)
		// Each minimum has two sums.
		r.ZIP1(neon.H8, packed, words, words)
		r.ZIP2(neon.H8, high, words, words)
		r.SMULL(neon.H8, minima, sums[0], packed)
		r.SMLAL2(neon.H8, minima, sums[0], packed)
		r.SMLAL(neon.H8, minima, sums[1], high)
		r.SMLAL2(neon.H8, minima, sums[1], high)
		r.SCVTF(minima, minima, 0)
	})
	total := r.Vector()
	r.Zero(total)
	for j := range 4 {
		r.Scope(func() {
			q := [2][2]neon.Vector{r.load(r.w, 16+32*j), {r.Vector(), r.Vector()}}
			for i := range 2 {
				r.USHR(neon.B16, q[1][i], q[0][i], 4)
				r.AND(q[0][i], q[0][i], nibble)
			}
			for i, q := range q {
				r.Scope(func() {
					s, products := 2*j+i, r.Vector()
					r.Zero(products)
					for i, x := range r.load(r.x, 32*s) {
						r.dot(products, q[i], x)
					}
					r.MLAElement(total, products, scales[s/4], s%4)
				})
			}
		})
	}
	r.SCVTF(total, total, 0)
	r.FMLAElement(r.sums[0], total, factors, 0)
	r.FMLSElement(r.sums[1], minima, factors, 1)
}

// constantsQ6K loads what takes 32 from six bits at the top of a byte, and their
// mask.
func constantsQ6K(f *neon.Function) []neon.Vector {
	return []neon.Vector{f.Constant(0xaaaaaaaa), f.Constant(0xfcfcfcfc)}
}

func dotQ6K(r *row, constants []neon.Vector) {
	// 32 less is, in the top six bits, the integer with its top bit inverted, which
	// is the higher one of each two at w+128.
	invert, mask := constants[0], constants[1]
	scales := r.Vectors(4)
	r.Scope(func() {
		packed, words := r.Vector(), r.Vector()
		r.Load(packed, r.w, 192)
		for i, widen := range []func(a neon.Arrangement, d, n neon.Vector){r.SXTL, r.SXTL2} {
			widen(neon.B16, words, packed)
			r.SXTL(neon.H8, scales[2*i], words)
			r.SXTL2(neon.H8, scales[2*i+1], words)
		}
	})
	total := r.Vector()
	r.Zero(total)
	for h := range 2 {
		r.Scope(func() {
			top := r.load(r.w, 128+32*h)
			for _, v := range top {
				r.EOR(v, v, invert)
			}
			low := [2][2]neon.Vector{r.load(r.w, 64*h), r.load(r.w, 64*h+32)}
			for part := range 4 {
				r.Scope(func() {
					for i, x := range r.load(r.x, 128*h+32*part) {
						r.Scope(func() {
							q, bits, products := r.Vector(), low[part%2][i], r.Vector()
							r.SHL(neon.B16, q, top[i], 6-2*part)
							if part < 2 {
								shifted := r.Vector()
								r.SHL(neon.B16, shifted, bits, 4)
								bits = shifted
							}
							r.SRI(neon.B16, q, bits, 2)
							r.AND(q, q, mask)
							r.Zero(products)
							r.dot(products, q, x)
							s := 8*h + 2*part + i
							r.MLAElement(total, products, scales[s/4], s%4)
						})
					}
				})
			}
		})
	}
	r.SCVTF(total, total, 2)
	r.Scope(func() {
		d, bits := r.Vector(), r.Register()
		r.Op("MOVHU 208(%v), %v", r.w, bits)
		r.Op("FMOVS %v, F%d", bits, d)
		r.Op("FCVTHS F%d, F%d", d, d)
		r.FMULElement(d, d, r.scale(), 0)
		r.FMLAElement(r.sums[0], total, d, 0)
	})
}
