package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// int8Block is kernel.Int8Block.
const int8Block = 64

func generateInt8(file *neon.File) {
	tileInt8(file)
	tilesInt8DotProd(file)
	tilesInt8I8MM(file)
	quantizeInt8(file)
}

// tileInt8 generates a part of kernel.tilesInt8Generic: four rows of one block of a
// panel of a and partCols of a panel of b. Two groups are multiplied before the
// products are widened: two products of bytes that are not both -128 fit in 16 bits,
// and both are only where the scales are not numbers.
func tileInt8(file *neon.File) {
	const rows = 4
	f := file.Function("tileInt8NEON", "c *float32, a *int8, scales *float32, b *uint8, rightScales *float32, steps int", "")
	c, a, scales := f.Parameter("c"), f.Parameter("a"), f.Parameter("scales")
	b, rightScales, steps := f.Parameter("b"), f.Parameter("rightScales"), f.Parameter("steps")
	var sums [rows][4]neon.Vector // each element is half of a sum
	for r := range sums {
		sums[r] = [4]neon.Vector(zeros(f, 4))
	}
	signs := weightSigns(f)
	unrolled(f, steps, 2, func(n int) {
		var x []neon.Vector
		var w [][2]neon.Vector
		for i := range n {
			x = append(x, f.Vector())
			f.Load(x[i], a, 4*tileRows*i)
			w = append(w, loadWeights(f, b, 4*tileCols*i, signs))
		}
		for r, sums := range sums {
			f.Scope(func() {
				same := f.Vectors(n)
				for i, same := range same {
					f.DUP(same, x[i], r)
				}
				for j, sum := range sums {
					f.Scope(func() {
						products, first, next := f.Vector(), f.SMULL, f.SMLAL
						if j%2 == 1 {
							first, next = f.SMULL2, f.SMLAL2
						}
						first(neon.B16, products, w[0][j/2], same[0])
						if n == 2 {
							next(neon.B16, products, w[1][j/2], same[1])
						}
						f.SADALP(neon.H8, sum, products)
					})
				}
			})
		}
		f.Op("ADD $%d, %v", 4*tileRows*n, a)
		f.Op("ADD $%d, %v", 4*tileCols*n, b)
	})
	f.Scope(func() {
		left, right := f.Vector(), f.Vectors(2)
		f.Load(left, scales, 0)
		f.LoadPair(right[0], right[1], rightScales, 0)
		for r, sums := range sums {
			for i := range 2 {
				f.Op("VADDP V%d.S4, V%d.S4, V%d.S4", sums[2*i+1], sums[2*i], sums[i])
			}
			addScaled(f, c, [2]neon.Vector{sums[0], sums[1]}, right, left, r)
			f.Op("ADD $%d, %v", 4*tileCols, c)
		}
	})
	f.Op("RET")
}

// weightSigns returns what makes signed bytes of weights, which are stored with
// kernel.weightZero added.
func weightSigns(f *neon.Function) neon.Vector { return f.Constant(0x80808080) }

// loadWeights loads a group of partCols columns of b as signed bytes.
func loadWeights(f *neon.Function, b neon.Register, offset int, signs neon.Vector) [2]neon.Vector {
	w := [2]neon.Vector{f.Vector(), f.Vector()}
	f.LoadPair(w[0], w[1], b, offset)
	f.EOR(w[0], w[0], signs)
	f.EOR(w[1], w[1], signs)
	return w
}

// addScaled scales the integers in sums and adds them to eight elements at c: times
// right, then times element i of left.
func addScaled(f *neon.Function, c neon.Register, sums [2]neon.Vector, right []neon.Vector, left neon.Vector, i int) {
	for j, v := range sums {
		f.SCVTF(v, v, 0)
		f.FMUL(v, v, right[j])
		f.FMULElement(v, v, left, i)
	}
	add(f, c, sums)
}

// tilesInt8DotProd generates a part of kernel.tilesInt8Generic: all rows of all
// panels of a, and partCols of a panel of b.
func tilesInt8DotProd(file *neon.File) {
	f := file.Function("tilesInt8DotProd", "c *float32, a *int8, scales *float32, b *uint8, rightScales *float32, steps int, panels int", "")
	c, a, scales := f.Parameter("c"), f.Parameter("a"), f.Parameter("scales")
	b, rightScales, panels := f.Parameter("b"), f.Parameter("rightScales"), f.Parameter("panels")
	signs, sums := weightSigns(f), newPart(f)
	f.Label("panel")
	sums.clear(f)
	f.Scope(func() {
		at, steps := f.Register(), f.Parameter("steps")
		f.Op("MOVD %v, %v", b, at)
		unrolled(f, steps, 4, func(n int) {
			for i := range n {
				f.Scope(func() {
					x, w := loadRows(f, a, 4*tileRows*i), loadWeights(f, at, 4*tileCols*i, signs)
					for r, sums := range sums {
						for j, sum := range sums {
							f.SDOTElement(sum, w[j], x[r/4], r%4)
						}
					}
				})
			}
			f.Op("ADD $%d, %v", 4*tileRows*n, a)
			f.Op("ADD $%d, %v", 4*tileCols*n, at)
		})
	})
	f.Scope(func() {
		left, right := loadRows(f, scales, 0), f.Vectors(2)
		f.LoadPair(right[0], right[1], rightScales, 0)
		for r, sums := range sums {
			addScaled(f, c, sums, right, left[r/4], r%4)
			f.Op("ADD $%d, %v", 4*tileCols, c)
		}
	})
	nextPanel(f, scales, panels)
	f.Op("RET")
}

func nextPanel(f *neon.Function, scales, panels neon.Register) {
	f.Op("ADD $%d, %v", 4*tileRows, scales)
	f.Op("SUBS $1, %v", panels)
	f.Op("BNE panel")
}

// tilesInt8I8MM generates the same part for an even number of groups. USMMLA
// multiplies two columns and two rows, eight bytes each: vectors of four rows, or
// columns, of one group and the next one are zipped to two of two.
func tilesInt8I8MM(file *neon.File) {
	f := file.Function("tilesInt8I8MM", "c *float32, a *int8, starts *int32, scales *float32, b *uint8, rightScales *float32, pairs int, panels int", "")
	c, a, starts, scales := f.Parameter("c"), f.Parameter("a"), f.Parameter("starts"), f.Parameter("scales")
	b, rightScales, panels := f.Parameter("b"), f.Parameter("rightScales"), f.Parameter("panels")
	// The sums of rows 2p and 2p+1 and columns 2q and 2q+1, row after row in each
	// column.
	var sums [tileRows / 2][partCols / 2]neon.Vector
	for p := range sums {
		sums[p] = [partCols / 2]neon.Vector(f.Vectors(partCols / 2))
	}
	f.Label("panel")
	f.Scope(func() {
		for p, start := range loadRows(f, starts, 0) {
			for q := range partCols / 2 {
				f.ZIP1(neon.D2, sums[2*p][q], start, start)
				f.ZIP2(neon.D2, sums[2*p+1][q], start, start)
			}
		}
	})
	f.Scope(func() {
		at, steps := f.Register(), f.Parameter("pairs")
		f.Op("MOVD %v, %v", b, at)
		f.Label("step")
		// zip returns rows, or columns, 0 and 1, and 2 and 3, of four of the group at
		// offset and the next one, which is size further.
		zip := func(base neon.Register, offset, size int) [2]neon.Vector {
			two := [2]neon.Vector{f.Vector(), f.Vector()}
			f.Scope(func() {
				first := f.Vector()
				f.Load(first, base, offset)
				f.Load(two[1], base, offset+size)
				f.ZIP1(neon.S4, two[0], first, two[1])
				f.ZIP2(neon.S4, two[1], first, two[1])
			})
			return two
		}
		var w []neon.Vector
		for offset := 0; offset < 4*partCols; offset += 16 {
			two := zip(at, offset, 4*tileCols)
			w = append(w, two[:]...)
		}
		for p := 0; p < len(sums); p += 2 {
			f.Scope(func() {
				for i, x := range zip(a, 8*p, 4*tileRows) {
					for q, sum := range sums[p+i] {
						f.USMMLA(sum, w[q], x)
					}
				}
			})
		}
		f.Op("ADD $%d, %v", 2*4*tileRows, a)
		f.Op("ADD $%d, %v", 2*4*tileCols, at)
		f.Op("SUBS $1, %v", steps)
		f.Op("BNE step")
	})
	f.Scope(func() {
		left, right := f.Vector(), f.Vectors(2)
		f.LoadPair(right[0], right[1], rightScales, 0)
		for p, sums := range sums {
			if p%2 == 0 {
				f.Load(left, scales, 8*p)
			}
			for r := 2 * p; r < 2*p+2; r++ {
				f.Scope(func() {
					row, unzip := [2]neon.Vector{f.Vector(), f.Vector()}, f.UZP1
					if r%2 == 1 {
						row, unzip = [2]neon.Vector{sums[0], sums[2]}, f.UZP2
					}
					for i, v := range row {
						unzip(neon.S4, v, sums[2*i], sums[2*i+1])
					}
					addScaled(f, c, row, right, left, r%4)
				})
				f.Op("ADD $%d, %v", 4*tileCols, c)
			}
		}
	})
	f.Op("ADD $%d, %v", 4*tileRows, starts)
	nextPanel(f, scales, panels)
	f.Op("RET")
}

// quantizeInt8 generates kernel.quantizeInt8Generic.
func quantizeInt8(file *neon.File) {
	f := file.Function("quantizeInt8NEON", "q *int8, x *float32, scales *float32, sums *int32, n int", "")
	q, x, scales := f.Parameter("q"), f.Parameter("x"), f.Parameter("scales")
	sums, n := f.Parameter("sums"), f.Parameter("n")
	most, smallest, lowest, zero := f.Constant(0x42fe0000), f.Constant(0x0d800000), f.Constant(0xffffff80), f.Vector()
	f.Zero(zero)
	f.Label("block")
	values, top := f.Vectors(int8Block/4), f.Vector()
	f.Zero(top)
	for i := 0; i < len(values); i += 2 {
		f.LoadPair(values[i], values[i+1], x, 16*i)
	}
	f.Scope(func() {
		magnitude := f.Vector()
		for _, v := range values {
			f.FABS(magnitude, v)
			f.FMAX(top, top, magnitude) // a NaN stays
		}
	})
	f.FMAXV(top, top)
	inverse := f.Vector()
	f.Scope(func() {
		scale := f.Vector()
		f.Op("FDIVS F%d, F%d, F%d", most, top, scale)
		f.Op("FDIVS F%d, F%d, F%d", top, most, inverse)
		f.Op("FCMPS F%d, F%d", smallest, top)
		for _, v := range []neon.Vector{scale, inverse} {
			f.Op("FCSELS MI, F%d, F%d, F%d", zero, v, v) // less, and no NaN
		}
		f.Op("FMOVS F%d, (%v)", scale, scales)
	})
	sum, number := f.Vector(), f.Vector()
	f.Zero(sum)
	for _, v := range values {
		f.FMULElement(v, v, inverse, 0)
		f.FCMEQ(number, v, v)
		f.FCVTNS(v, v)
		f.BIF(v, lowest, number)
		f.ADD(neon.S4, sum, sum, v)
	}
	for i := 0; i < len(values); i += 4 {
		v := values[i:]
		f.UZP1(neon.H8, v[0], v[0], v[1])
		f.UZP1(neon.H8, v[2], v[2], v[3])
		f.UZP1(neon.B16, v[0], v[0], v[2])
	}
	f.StorePair(values[0], values[4], q, 0)
	f.StorePair(values[8], values[12], q, 32)
	f.Op("VADDV V%d.S4, V%d", sum, sum)
	f.Op("FMOVS F%d, (%v)", sum, sums)
	f.Op("ADD $%d, %v", int8Block, q)
	f.Op("ADD $%d, %v", 4*int8Block, x)
	f.Op("ADD $4, %v", scales)
	f.Op("ADD $4, %v", sums)
	f.Op("SUBS $1, %v", n)
	f.Op("BNE block")
	f.Op("RET")
}
