package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// generateRead generates the functions that read blocks, which follow each other
// in src, with the points of the grid that the type has, if it has one, and return
// how many they left.
func generateRead(file *neon.File) {
	for _, format := range []struct {
		name          string
		bytes, values int // of a block, or of what there are several single values of
		read          func(r *reader)
	}{
		{"F16", 32, 16, readF16},
		{"BF16", 32, 16, readBF16},
		{"Q4_0", 18, 32, readQ40},
		{"Q4_1", 20, 32, readQ41},
		{"Q5_0", 22, 32, readQ50},
		{"Q5_1", 24, 32, readQ51},
		{"Q8_0", 34, 32, readQ80},
		{"Q2_K", 84, 256, readQ2K},
		{"Q3_K", 110, 256, readQ3K},
		{"Q4_K", 144, 256, readQ4K},
		{"Q5_K", 176, 256, readQ5K},
		{"Q6_K", 210, 256, readQ6K},
		{"IQ1_S", 50, 256, readIQ1S},
		{"IQ1_M", 56, 256, readIQ1M},
		{"IQ2_XXS", 66, 256, readIQ2XXS},
		{"IQ2_XS", 74, 256, readIQ2XS},
		{"IQ2_S", 82, 256, readIQ2S},
		{"IQ3_XXS", 98, 256, readIQ3XXS},
		{"IQ3_S", 110, 256, readIQ3S},
		{"IQ4_NL", 18, 32, readIQ4NL},
		{"IQ4_XS", 136, 256, readIQ4XS},
		{"MXFP4", 17, 32, readMXFP4},
	} {
		f := file.Function("read"+format.name+"NEON", "dst *float32, src *byte, blocks int, points *uint8", "left int")
		r := &reader{Function: f, dst: f.Parameter("dst"), src: f.Parameter("src")}
		left := f.Parameter("blocks")
		r.spread = newSpread(f)
		f.Label("block")
		f.Scope(func() { format.read(r) })
		f.Op("ADD $%d, %v", 4*format.values, r.dst)
		f.Op("ADD $%d, %v", format.bytes, r.src)
		f.Op("SUBS $1, %v", left)
		f.Op("BNE block")
		f.Label("end")
		f.Return("left", left)
	}
}

// reader reads a block.
type reader struct {
	*neon.Function
	dst, src neon.Register
	spread   [4]neon.Vector
}

// newSpread returns the numbers for TBL that move four bytes each to the tops of
// integers of 32 bits.
func newSpread(f *neon.Function) (spread [4]neon.Vector) {
	for i := range spread {
		at := uint64(4 * i)
		spread[i] = f.Bytes((at+1)<<56|at<<24|0x00ffffff_00ffffff, (at+3)<<56|(at+2)<<24|0x00ffffff_00ffffff)
	}
	return spread
}

// half loads the binary16 number at offset into element 0.
func (r *reader) half(offset int) neon.Vector { return r.Half(r.src, offset) }

// load loads 16 bytes.
func (r *reader) load(offset int) neon.Vector {
	v := r.Vector()
	r.Load(v, r.src, offset)
	return v
}

// put stores the 16 bytes of q, which have the given number of bits below the
// point, as the values from position on, after each vector went through then.
func (r *reader) put(position int, q neon.Vector, fraction int, signed bool, then func(x neon.Vector)) {
	r.Scope(func() {
		x := r.Vectors(4)
		for i, x := range x {
			r.TBL(x, q, r.spread[i])
			if signed {
				r.SCVTF(x, x, 24+fraction)
			} else {
				r.UCVTF(x, x, 24+fraction)
			}
			then(x)
		}
		r.StorePair(x[0], x[1], r.dst, 4*position)
		r.StorePair(x[2], x[3], r.dst, 4*position+32)
	})
}

func readF16(r *reader) {
	for i := 0; i < 16; i += 8 {
		r.Scope(func() {
			x, low, high := r.load(2*i), r.Vector(), r.Vector()
			r.FCVTL(low, x)
			r.FCVTL2(high, x)
			r.StorePair(low, high, r.dst, 4*i)
		})
	}
}

func readBF16(r *reader) {
	for i := 0; i < 16; i += 8 {
		r.Scope(func() {
			x, low, high, zero := r.load(2*i), r.Vector(), r.Vector(), r.Vector()
			r.Zero(zero)
			r.ZIP1(neon.H8, low, zero, x)
			r.ZIP2(neon.H8, high, zero, x)
			r.StorePair(low, high, r.dst, 4*i)
		})
	}
}

// times returns what multiplies with element i of d.
func (r *reader) times(d neon.Vector, i int) func(x neon.Vector) {
	return func(x neon.Vector) { r.FMULElement(x, x, d, i) }
}

func readQ80(r *reader) {
	d := r.half(0)
	r.put(0, r.load(2), 0, true, r.times(d, 0))
	r.put(16, r.load(18), 0, true, r.times(d, 0))
}

// nibbles loads 32 integers of four bits, and puts them at the top of their bytes.
func (r *reader) nibbles(offset int) (low, high neon.Vector) {
	low, high = r.load(offset), r.Same(0xf0)
	r.AND(high, low, high)
	r.SHL(neon.B16, low, low, 4)
	return low, high
}

func readQ40(r *reader) {
	// 8 less is, at the top, the integer with its top bit inverted.
	d, invert := r.half(0), r.Same(0x80)
	low, high := r.nibbles(2)
	r.EOR(low, low, invert)
	r.EOR(high, high, invert)
	r.put(0, low, 4, true, r.times(d, 0))
	r.put(16, high, 4, true, r.times(d, 0))
}

// scaleAndMinimum returns what multiplies with d and adds m, which the block begins
// with. It leaves the block, and those after it, if one is NaN: which one of two a
// sum is depends on their order.
func (r *reader) scaleAndMinimum() func(x neon.Vector) {
	d, m := r.half(0), r.half(2)
	r.Op("FCMPS F%d, F%d", m, d)
	r.Op("BVS end")
	r.DUP(m, m, 0)
	return func(x neon.Vector) {
		r.FMULElement(x, x, d, 0)
		r.FADD(x, x, m)
	}
}

func readQ41(r *reader) {
	then := r.scaleAndMinimum()
	low, high := r.nibbles(4)
	r.put(0, low, 4, false, then)
	r.put(16, high, 4, false, then)
}

// fives loads 32 integers of five bits, and puts them at the top of their bytes: bit
// 4 from the four bytes at offset, inverted if invert is set, and the others from
// the 16 bytes that follow.
func (r *reader) fives(offset int, invert bool) (low, high neon.Vector) {
	low, high = r.Vector(), r.Vector()
	r.Scope(func() {
		packed, single, mask := r.Vector(), r.Bytes(0x8040201008040201, 0x8040201008040201), r.Same(0xf8)
		r.Op("FMOVS %d(%v), F%d", offset, r.src, packed)
		nibbles := [2]neon.Vector{}
		nibbles[0], nibbles[1] = r.nibbles(offset + 4)
		for i, v := range []neon.Vector{low, high} {
			r.Scope(func() {
				at := uint64(2*i) * 0x0101010101010101
				r.TBL(v, packed, r.Bytes(at, at+0x0101010101010101))
				if invert {
					zero := r.Vector()
					r.Zero(zero)
					r.AND(v, v, single)
					r.Op("VCMEQ V%d.B16, V%d.B16, V%d.B16", zero, v, v)
				} else {
					r.Op("VCMTST V%d.B16, V%d.B16, V%d.B16", single, v, v)
				}
				r.SRI(neon.B16, v, nibbles[i], 1)
				r.AND(v, v, mask)
			})
		}
	})
	return low, high
}

func readQ50(r *reader) {
	d := r.half(0)
	low, high := r.fives(2, true)
	r.put(0, low, 3, true, r.times(d, 0))
	r.put(16, high, 3, true, r.times(d, 0))
}

func readQ51(r *reader) {
	then := r.scaleAndMinimum()
	low, high := r.fives(4, false)
	r.put(0, low, 3, false, then)
	r.put(16, high, 3, false, then)
}

// putLevels stores the levels of 32 integers of four bits.
func (r *reader) putLevels(position, offset int, levels neon.Vector, then func(x neon.Vector)) {
	r.Scope(func() {
		low, high, mask := r.load(offset), r.Vector(), r.Same(15)
		r.USHR(neon.B16, high, low, 4)
		r.AND(low, low, mask)
		r.TBL(low, levels, low)
		r.TBL(high, levels, high)
		r.put(position, low, 0, true, then)
		r.put(position+16, high, 0, true, then)
	})
}

func readIQ4NL(r *reader) {
	d := r.half(0)
	r.putLevels(0, 2, r.Levels(neon.IQ4Levels), r.times(d, 0))
}

func readMXFP4(r *reader) {
	d := r.Vector()
	r.Scope(func() { r.Op("FMOVS %v, F%d", r.PowerMXFP4(r.src, 0), d) })
	r.putLevels(0, 1, r.Levels(neon.FP4Levels), r.times(d, 0))
}

func readIQ4XS(r *reader) {
	scales := [2]neon.Vector{r.Vector(), r.Vector()}
	r.Scope(func() {
		d, packed := r.half(0), r.ScalesIQ4XS(r.src)
		for i, s := range scales {
			r.TBL(s, packed, r.spread[i])
			r.SCVTF(s, s, 26)
			r.FMULElement(s, s, d, 0)
		}
	})
	levels := r.Levels(neon.IQ4Levels)
	for s := range 8 {
		r.putLevels(32*s, 8+16*s, levels, r.times(scales[s/4], s%4))
	}
}

// factors makes floats of 16 bytes, which have the given number of bits below the
// point, and multiplies them with element 0 of d.
func (r *reader) factors(packed neon.Vector, fraction int, signed bool, d neon.Vector) []neon.Vector {
	v := r.Vectors(4)
	for i, v := range v {
		r.TBL(v, packed, r.spread[i])
		if signed {
			r.SCVTF(v, v, 24+fraction)
		} else {
			r.UCVTF(v, v, 24+fraction)
		}
		r.FMULElement(v, v, d, 0)
	}
	return v
}

func readQ2K(r *reader) {
	packed, high := r.load(0), r.Same(0xf0)
	r.AND(high, packed, high)
	r.SHL(neon.B16, packed, packed, 4)
	scales, minima := r.factors(packed, 4, false, r.half(80)), r.factors(high, 4, false, r.half(82))
	mask := r.Same(0xc0)
	for s := range 16 {
		r.Scope(func() {
			q, minimum := r.load(16+s/8*32+s%2*16), r.Vector()
			r.SHL(neon.B16, q, q, 6-s%8/2*2)
			r.AND(q, q, mask)
			r.DUP(minimum, minima[s/4], s%4)
			r.put(16*s, q, 6, false, func(x neon.Vector) {
				r.FMULElement(x, x, scales[s/4], s%4)
				r.FSUB(x, x, minimum)
			})
		})
	}
}

func readQ3K(r *reader) {
	scales := r.factors(r.ScalesQ3K(r.src), 2, true, r.half(108))
	// 4 less is the top three bits with the first one inverted.
	top := [2]neon.Vector{r.load(0), r.load(16)}
	r.Scope(func() {
		ones := r.Same(0xff)
		for _, v := range top {
			r.EOR(v, v, ones)
		}
	})
	mask := r.Same(0xe0)
	for s := range 16 {
		r.Scope(func() {
			low, q := r.load(32+s/8*32+s%2*16), r.Vector()
			r.SHL(neon.B16, low, low, 6-s%8/2*2)
			r.SHL(neon.B16, q, top[s%2], 7-s/2)
			r.SRI(neon.B16, q, low, 1)
			r.AND(q, q, mask)
			r.put(16*s, q, 5, true, r.times(scales[s/4], s%4))
		})
	}
}

// scalesAndMinima returns those of the eight sub-blocks of Q4_K or Q5_K, in two
// vectors each: see scaleMin of package quant.
func (r *reader) scalesAndMinima() (scales, minima [2]neon.Vector) {
	packed := r.Vector()
	r.Scope(func() {
		a, b, c, mask, t := r.Register(), r.Register(), r.Register(), r.Register(), r.Register()
		r.Op("MOVWU 4(%v), %v", r.src, a)
		r.Op("MOVWU 8(%v), %v", r.src, b)
		r.Op("MOVWU 12(%v), %v", r.src, c)
		// The first four are the low six bits of their bytes, the others four bits
		// of the last four bytes and the top two of the first eight.
		put := func(element int, first neon.Register, shift int) {
			r.Op("MOVD $0x3f3f3f3f, %v", mask)
			r.Op("AND %v, %v, %v", mask, first, t)
			r.Op("VMOV %v, V%d.S[%d]", t, packed, element)
			r.Op("MOVD $0x03030303, %v", mask)
			r.Op("AND %v>>6, %v, %v", first, mask, first)
			r.Op("MOVD $0x0f0f0f0f, %v", mask)
			r.Op("AND %v>>%d, %v, %v", c, shift, mask, t)
			r.Op("ORR %v<<4, %v, %v", first, t, t)
			r.Op("VMOV %v, V%d.S[%d]", t, packed, element+1)
		}
		put(0, a, 0)
		put(2, b, 4)
	})
	scales = [2]neon.Vector{r.Vector(), r.Vector()}
	minima = [2]neon.Vector{r.Vector(), r.Vector()}
	r.Scope(func() {
		d, dmin := r.half(0), r.half(2)
		for i := range 2 {
			for _, v := range []struct {
				to     neon.Vector
				spread int
				factor neon.Vector
			}{{scales[i], i, d}, {minima[i], 2 + i, dmin}} {
				r.TBL(v.to, packed, r.spread[v.spread])
				r.UCVTF(v.to, v.to, 24)
				r.FMULElement(v.to, v.to, v.factor, 0)
			}
		}
	})
	return scales, minima
}

// putSubBlocks stores 16 values each of the sub-blocks 2*part and 2*part+1.
func (r *reader) putSubBlocks(part, i int, q [2]neon.Vector, fraction [2]int, scales, minima [2]neon.Vector) {
	for s := 2 * part; s < 2*part+2; s++ {
		r.Scope(func() {
			minimum := r.Vector()
			r.DUP(minimum, minima[s/4], s%4)
			r.put(32*s+16*i, q[s%2], fraction[s%2], false, func(x neon.Vector) {
				r.FMULElement(x, x, scales[s/4], s%4)
				r.FSUB(x, x, minimum)
			})
		})
	}
}

func readQ4K(r *reader) {
	scales, minima := r.scalesAndMinima()
	mask := r.Same(0xf0)
	for part := range 4 {
		for i := range 2 {
			r.Scope(func() {
				low, high := r.load(16+32*part+16*i), r.Vector()
				r.AND(high, low, mask)
				r.SHL(neon.B16, low, low, 4)
				r.putSubBlocks(part, i, [2]neon.Vector{low, high}, [2]int{4, 4}, scales, minima)
			})
		}
	}
}

func readQ5K(r *reader) {
	scales, minima := r.scalesAndMinima()
	mask := r.Same(0xf8)
	top := [2]neon.Vector{r.load(16), r.load(32)}
	for part := range 4 {
		for i := range 2 {
			r.Scope(func() {
				// The five bits go to the top: bit 4, and below it what a shift to
				// the right inserts.
				packed, low, high := r.load(48+32*part+16*i), r.Vector(), r.Vector()
				r.SHL(neon.B16, low, top[i], 7-2*part)
				r.SHL(neon.B16, high, top[i], 6-2*part)
				r.SRI(neon.B16, high, packed, 1)
				r.SHL(neon.B16, packed, packed, 4)
				r.SRI(neon.B16, low, packed, 1)
				r.AND(high, high, mask)
				r.AND(low, low, mask)
				r.putSubBlocks(part, i, [2]neon.Vector{low, high}, [2]int{3, 3}, scales, minima)
			})
		}
	}
}

func readQ6K(r *reader) {
	scales := r.factors(r.load(192), 0, true, r.half(208))
	// 32 less is, in the top six bits, the integer with its top bit inverted.
	invert, mask := r.Same(0xaa), r.Same(0xfc)
	for h := range 2 {
		for i := range 2 {
			r.Scope(func() {
				top := r.load(128 + 32*h + 16*i)
				r.EOR(top, top, invert)
				for part := range 4 {
					r.Scope(func() {
						packed, q := r.load(64*h+32*(part%2)+16*i), r.Vector()
						r.SHL(neon.B16, q, top, 6-2*part)
						if part < 2 {
							r.SHL(neon.B16, packed, packed, 4)
						}
						r.SRI(neon.B16, q, packed, 2)
						r.AND(q, q, mask)
						s := 8*h + 2*part + i
						r.put(16*s, q, 2, true, r.times(scales[s/4], s%4))
					})
				}
			})
		}
	}
}
