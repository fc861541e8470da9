package neon

// What several kinds of kernels take from blocks.

// IQ4Levels and FP4Levels are those of package quant.
var (
	IQ4Levels = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	FP4Levels = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// IQ2Values, IQ3XXSValues, IQ3SValues and IQ1Values are what levels are worth, as in
// package quant, the last for delta 1/8, times 8.
var (
	IQ2Values    = [16]int8{8, 25, 43}
	IQ3XXSValues = [16]int8{4, 12, 20, 28, 36, 44, 52, 62}
	IQ3SValues   = [16]int8{1, 3, 5, 7, 9, 11, 13, 15}
	IQ1Values    = [16]int8{-7, 1, 9}
)

// Levels puts 16 levels into a new vector, for TBL.
func (f *Function) Levels(levels [16]int8) Vector {
	var halves [2]uint64
	for i, l := range levels {
		halves[i/8] |= uint64(uint8(l)) << (i % 8 * 8)
	}
	return f.Bytes(halves[0], halves[1])
}

// Same returns a new vector with b in all bytes.
func (f *Function) Same(b uint8) Vector {
	v := f.Vector()
	f.Op("VMOVI $%d, V%d.B16", b, v)
	return v
}

// Half loads the binary16 number at offset into element 0 of a new vector.
func (f *Function) Half(base Register, offset int) Vector {
	v := f.Vector()
	f.Scope(func() {
		bits := f.Register()
		f.Op("MOVHU %d(%v), %v", offset, base, bits)
		f.Op("FMOVS %v, F%d", bits, v)
		f.Op("FCVTHS F%d, F%d", v, v)
	})
	return v
}

// PowerMXFP4 returns the bits of the scale of the MXFP4 block at offset, as a float
// of 32 bits.
func (f *Function) PowerMXFP4(base Register, offset int) Register {
	power := f.Register()
	f.Scope(func() {
		e, subnormal := f.Register(), f.Register()
		f.Op("MOVBU %d(%v), %v", offset, base, e)
		f.Op("MOVD $%d, %v", 1<<21, subnormal)
		f.Op("LSL %v, %v, %v", e, subnormal, subnormal)
		f.Op("SUB $1, %v, %v", e, power)
		f.Op("LSL $23, %v, %v", power, power)
		f.Op("CMP $2, %v", e)
		f.Op("CSEL LO, %v, %v, %v", subnormal, power, power)
	})
	return power
}

// ScalesIQ4XS returns the eight scales of an IQ4_XS block in the top six bits of
// bytes.
func (f *Function) ScalesIQ4XS(base Register) Vector {
	packed := f.Vector()
	f.Scope(func() {
		low, high, t := f.Register(), f.Register(), f.Register()
		// spreadBits moves every second part of v that has the bits of mask up by
		// distance.
		spreadBits := func(v Register, distance int, mask uint64) {
			f.Op("ORR %v<<%d, %v, %v", v, distance, v, v)
			f.Op("AND $%#x, %v, %v", mask, v, v)
		}
		f.Op("MOVWU 4(%v), %v", base, low)
		spreadBits(low, 16, 0x0000ffff_0000ffff)
		spreadBits(low, 8, 0x00ff00ff_00ff00ff)
		spreadBits(low, 4, 0x0f0f0f0f_0f0f0f0f)
		f.Op("MOVHU 2(%v), %v", base, high)
		spreadBits(high, 24, 0x000000ff_000000ff)
		spreadBits(high, 12, 0x000f000f_000f000f)
		spreadBits(high, 6, 0x03030303_03030303)
		f.Op("ORR %v<<4, %v, %v", high, low, low)
		// 32 less is, in the top six bits, the integer with its top bit inverted.
		f.Op("LSL $2, %v, %v", low, low)
		f.Op("MOVD $0x8080808080808080, %v", t)
		f.Op("EOR %v, %v, %v", t, low, low)
		f.Op("FMOVD %v, F%d", low, packed)
	})
	return packed
}

// ScalesQ3K returns the 16 scales of a Q3_K block in the top six bits of bytes.
func (f *Function) ScalesQ3K(base Register) Vector {
	packed := f.Vector()
	f.Scope(func() {
		low, high, t := f.Register(), f.Register(), f.Register()
		f.Op("MOVD 96(%v), %v", base, low)
		f.Op("MOVWU 104(%v), %v", base, high)
		for half := range 2 {
			// Bits 4 and 5 of eight scales.
			f.Op("LSR $%d, %v, %v", 4*half, high, t)
			f.Op("ORR %v<<30, %v, %v", t, t, t)
			f.Op("AND $0x0303030303030303, %v, %v", t, t)
			nibbles := f.Register()
			f.Op("LSR $%d, %v, %v", 4*half, low, nibbles)
			f.Op("AND $0x0f0f0f0f0f0f0f0f, %v, %v", nibbles, nibbles)
			f.Op("ORR %v<<4, %v, %v", t, nibbles, nibbles)
			f.Op("VMOV %v, V%d.D[%d]", nibbles, packed, half)
		}
	})
	// 32 less is, in the top six bits, the integer with its top bit inverted.
	f.SHL(B16, packed, packed, 2)
	f.EOR(packed, packed, f.Same(0x80))
	return packed
}

// ScaleIQ1M loads the scale of an IQ1_M block, whose parts are the highest four bits
// of the words in a register, into element 0 of a new vector.
func (f *Function) ScaleIQ1M(words Register) Vector {
	d := f.Vector()
	f.Scope(func() {
		bits, t := f.Register(), f.Register()
		f.Op("UBFX $12, %v, $4, %v", words, bits)
		for i := 1; i < 4; i++ {
			f.Op("UBFX $%d, %v, $4, %v", 16*i+12, words, t)
			f.Op("ORR %v<<%d, %v, %v", t, 4*i, bits, bits)
		}
		f.Op("FMOVS %v, F%d", bits, d)
		f.Op("FCVTHS F%d, F%d", d, d)
	})
	return d
}

// NibblePairs returns the low and the high four bits of the first eight bytes that
// load loads, by turns.
func (f *Function) NibblePairs(load func(v Vector)) Vector {
	v := f.Vector()
	load(v)
	f.Scope(func() {
		high, mask := f.Vector(), f.Same(15)
		f.USHR(B16, high, v, 4)
		f.AND(v, v, mask)
		f.ZIP1(B16, v, v, high)
	})
	return v
}

// OddBits puts twice the three bits of word from shift on, plus 1, into a new
// register.
func (f *Function) OddBits(word Register, shift int) Register {
	bits := f.Register()
	f.Op("UBFX $%d, %v, $3, %v", shift, word, bits)
	f.Op("LSL $1, %v, %v", bits, bits)
	f.Op("ORR $1, %v, %v", bits, bits)
	return bits
}

// Grid is the points of a grid, the levels of 8 or 4 elements each, and a block
// that has their numbers.
type Grid struct {
	f             *Function
	block, points Register
	values        Vector
	Dim           int
	// eight has the numbers of two bytes eight times, and single a bit in each
	// byte of eight.
	eight, single Vector
}

// NewGrid returns the grid whose points the parameter of that name points to, for
// the blocks that block will point to.
func (f *Function) NewGrid(block Register, dim int, values [16]int8) *Grid {
	return &Grid{
		f: f, block: block, points: f.Parameter("points"), values: f.Levels(values), Dim: dim,
		eight: f.Bytes(0, 0x0101010101010101), single: f.Bytes(0x8040201008040201, 0x8040201008040201),
	}
}

// Lookup returns the values of 16 elements. index puts the number of a point into a
// register.
func (g *Grid) Lookup(index func(i int, to Register)) Vector {
	f, v := g.f, g.f.Vector()
	f.Scope(func() {
		number, points := f.Register(), f.Vectors(16/g.Dim)
		for i, p := range points {
			index(i, number)
			if g.Dim == 8 {
				f.Op("FMOVD (%v)(%v<<3), F%d", g.points, number, p)
			} else {
				f.Op("FMOVS (%v)(%v<<2), F%d", g.points, number, p)
			}
		}
		if g.Dim == 4 {
			f.ZIP1(S4, points[0], points[0], points[1])
			f.ZIP1(S4, points[1], points[2], points[3])
		}
		f.ZIP1(D2, v, points[0], points[1])
		f.TBL(v, g.values, v)
	})
	return v
}

// ByteIndex is for Lookup with numbers that are bytes, from offset on.
func (g *Grid) ByteIndex(offset int) func(i int, to Register) {
	return func(i int, to Register) { g.f.Op("MOVBU %d(%v), %v", offset+i, g.block, to) }
}

// WideIndex is ByteIndex with more bits: those that width says from bit shift on,
// and further for every next number, of high.
func (g *Grid) WideIndex(offset int, high Register, shift, step, width int) func(i int, to Register) {
	return func(i int, to Register) {
		g.f.Scope(func() {
			upper := g.f.Register()
			g.f.Op("UBFX $%d, %v, $%d, %v", shift+step*i, high, width, upper)
			g.f.Op("MOVBU %d(%v), %v", offset+i, g.block, to)
			g.f.Op("ORR %v<<8, %v, %v", upper, to, to)
		})
	}
}

// WordIndex is for Lookup with numbers that are the low nine bits of words, from
// offset on.
func (g *Grid) WordIndex(offset int) func(i int, to Register) {
	return func(i int, to Register) {
		g.f.Op("MOVHU %d(%v), %v", offset+2*i, g.block, to)
		g.f.Op("AND $511, %v, %v", to, to)
	}
}

// Negate changes the signs of 16 elements for which the bytes first and first+1 of
// signs have bits.
func (g *Grid) Negate(v, signs Vector, first int) {
	f := g.f
	f.Scope(func() {
		number, mask := f.Vector(), f.Vector()
		if first > 0 {
			f.Op("VMOVI $%d, V%d.B16", first, number)
			f.ADD(B16, number, number, g.eight)
			f.TBL(mask, signs, number)
		} else {
			f.TBL(mask, signs, g.eight)
		}
		f.Op("VCMTST V%d.B16, V%d.B16, V%d.B16", g.single, mask, mask)
		f.EOR(v, v, mask)
		f.Op("VSUB V%d.B16, V%d.B16, V%d.B16", mask, v, v)
	})
}

// EvenSigns adds an eighth bit to the seven in each byte, such that their number is
// even.
func (f *Function) EvenSigns(signs Vector) {
	f.Scope(func() {
		count := f.Vector()
		f.Op("VCNT V%d.B16, V%d.B16", signs, count)
		f.SHL(B16, count, count, 7)
		f.ORR(signs, signs, count)
	})
}

// TopSigns returns the even signs that the high seven bits of the eight words at
// offset say, in bytes.
func (f *Function) TopSigns(base Register, offset int) Vector {
	signs := f.Vector()
	f.Load(signs, base, offset)
	f.USHR(H8, signs, signs, 9)
	f.UZP1(B16, signs, signs, signs)
	f.EvenSigns(signs)
	return signs
}

// WordSigns returns the even signs that the four times seven bits of word say, in
// bytes.
func (f *Function) WordSigns(word Register) Vector {
	signs := f.Vector()
	f.Scope(func() {
		bytes, t := f.Register(), f.Register()
		f.Op("AND $0x7f, %v, %v", word, bytes)
		for i := 1; i < 4; i++ {
			f.Op("AND $%#x, %v, %v", 0x7f<<(7*i), word, t)
			f.Op("ORR %v<<%d, %v, %v", t, i, bytes, bytes)
		}
		f.Op("FMOVS %v, F%d", bytes, signs)
	})
	f.EvenSigns(signs)
	return signs
}

// DeltaIQ1S returns -2 in all bytes if the word in a register, which was loaded
// with its sign, is negative, else 0: what its delta adds to IQ1Values.
func (f *Function) DeltaIQ1S(word Register) Vector {
	delta := f.Vector()
	f.Scope(func() {
		t := f.Register()
		f.Op("ASR $15, %v, %v", word, t)
		f.Op("LSL $1, %v, %v", t, t)
		f.Op("VDUP %v, V%d.B16", t, delta)
	})
	return delta
}

// DeltaIQ1M returns -2 in the first or last eight bytes if bit 3 or 7 of upper is
// set, else 0: what their delta adds to IQ1Values.
func (f *Function) DeltaIQ1M(upper Register) Vector {
	delta := f.Bytes(0x0808080808080808, 0x8080808080808080)
	f.Scope(func() {
		t := f.Vector()
		f.Op("VDUP %v, V%d.B16", upper, t)
		f.Op("VCMTST V%d.B16, V%d.B16, V%d.B16", delta, t, delta)
		f.SHL(B16, delta, delta, 1)
	})
	return delta
}
