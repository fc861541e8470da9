package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// Widths of the packed panels in floats, kernel.TileRows and kernel.TileCols, and
// how much of the second one kernel takes: 24 vectors of sums.
const (
	tileRows = 12
	tileCols = 32
	partCols = 8
)

// part is the sums of a kernel: the two vectors of each row.
type part [tileRows][2]neon.Vector

func newPart(f *neon.Function) (p part) {
	for r := range p {
		p[r] = [2]neon.Vector{f.Vector(), f.Vector()}
	}
	return p
}

func (p part) clear(f *neon.Function) {
	for _, row := range p {
		for _, v := range row {
			f.Zero(v)
		}
	}
}

// loadRows loads what a step takes of a panel of a: twelve rows of four bytes each.
func loadRows(f *neon.Function, a neon.Register, offset int) []neon.Vector {
	x := f.Vectors(tileRows / 4)
	f.LoadPair(x[0], x[1], a, offset)
	f.Load(x[2], a, offset+32)
	return x
}

// add adds two vectors to eight elements at c.
func add(f *neon.Function, c neon.Register, sums [2]neon.Vector) {
	f.Scope(func() {
		old := f.Vectors(2)
		f.LoadPair(old[0], old[1], c, 0)
		f.FADD(old[0], old[0], sums[0])
		f.FADD(old[1], old[1], sums[1])
		f.StorePair(old[0], old[1], c, 0)
	})
}

// generateTile generates a part of kernel.tileGeneric: all rows, and partCols of
// the columns.
func generateTile(file *neon.File) {
	f := file.Function("tileNEON", "c *float32, ldc int, a *float32, b *float32, k int", "")
	c, ldc, a, b, k := f.Parameter("c"), f.Parameter("ldc"), f.Parameter("a"), f.Parameter("b"), f.Parameter("k")
	sums := newPart(f)
	sums.clear(f)
	unrolled(f, k, 4, func(n int) {
		for i := range n {
			f.Scope(func() {
				x, w := loadRows(f, a, 4*tileRows*i), f.Vectors(2)
				f.LoadPair(w[0], w[1], b, 4*tileCols*i)
				for r, sums := range sums {
					for j, sum := range sums {
						f.FMLAElement(sum, w[j], x[r/4], r%4)
					}
				}
			})
		}
		f.Op("ADD $%d, %v", 4*tileRows*n, a)
		f.Op("ADD $%d, %v", 4*tileCols*n, b)
	})
	for r, sums := range sums {
		add(f, c, sums)
		if r < tileRows-1 {
			f.Op("ADD %v<<2, %v", ldc, c)
		}
	}
	f.Op("RET")
}
