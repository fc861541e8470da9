package kernel

// Rows in a panel of the left and of the right factor. Their product is the
// part of C that a micro-kernel holds in registers: 24 of the 32 of AVX-512.
const (
	TileRows = 12
	TileCols = 32
)

// Unit is what a step along k takes from a row: a float32, or two bfloat16.
type Unit interface{ float32 | Pair }

// Cache blocking, in units. A panel of B, blockDepth deep, takes 32 KiB and stays in the
// L1 cache while blockRows rows of A, 192 KiB and in the L2 cache, pass by.
const (
	blockDepth = 256
	blockRows  = 16 * TileRows
)

// PackedLenA returns the number of units that m rows of k take when packed by
// [PackA].
func PackedLenA(m, k int) int { return roundUp(m, TileRows) * k }

// PackedLenB returns the number of units that n rows of k take when packed by
// [PackB].
func PackedLenB(n, k int) int { return roundUp(n, TileCols) * k }

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// PackA packs m rows of k units, ld apart in src, into panels of TileRows
// rows. Rows that are missing from the last panel become 0.
func PackA[T Unit](dst, src []T, ld, m, k int) { pack(dst, src, ld, m, k, TileRows) }

// PackB packs n rows of k units, ld apart in src, into panels of TileCols
// rows. Rows that are missing from the last panel become 0.
func PackB[T Unit](dst, src []T, ld, n, k int) { pack(dst, src, ld, n, k, TileCols) }

// pack moves row r, element i to panel r/width, offset i*width + r%width.
func pack[T Unit](dst, src []T, ld, rows, k, width int) {
	dst = dst[:roundUp(rows, width)*k]
	for first := 0; first < rows; first += width {
		panel := dst[first*k:][:width*k]
		// Four rows at a time: more streams whose distance is a power of two
		// would push each other out of the cache.
		n, r := min(width, rows-first), 0
		for ; r+4 <= n; r += 4 {
			at := src[(first+r)*ld:]
			pack4(panel, r, width, at[:k], at[ld:][:k], at[2*ld:][:k], at[3*ld:][:k])
		}
		for ; r < n; r++ {
			for i, v := range src[(first+r)*ld:][:k] {
				panel[i*width+r] = v
			}
		}
		for ; r < width; r++ {
			for i := range k {
				panel[i*width+r] = 0
			}
		}
	}
}

// pack4 packs four rows as columns r to r+3 of a panel.
func pack4[T Unit](panel []T, r, width int, r0, r1, r2, r3 []T) {
	r1, r2, r3 = r1[:len(r0)], r2[:len(r0)], r3[:len(r0)]
	for i := range r0 {
		d := panel[i*width+r:][:4]
		d[0], d[1], d[2], d[3] = r0[i], r1[i], r2[i], r3[i]
	}
}

// PackBTransposed packs the transpose of a k x n matrix, whose rows of n
// floats are ld apart in src, as [PackB] packs n rows of k.
func PackBTransposed(dst, src []float32, ld, n, k int) {
	dst = dst[:PackedLenB(n, k)]
	for first := 0; first < n; first += TileCols {
		panel := dst[first*k:][:TileCols*k]
		cols := min(TileCols, n-first)
		for i := range k {
			row := panel[i*TileCols:][:TileCols]
			copy(row, src[i*ld+first:][:cols])
			clear(row[cols:])
		}
	}
}

// AddSquares adds to sums[j] the squares of column first+j of an m x k matrix that
// PackA has packed.
func AddSquares(sums []float64, left []float32, m, k, first int) {
	for ; m > 0; m, left = m-TileRows, left[TileRows*k:] {
		panel := left[first*TileRows:][:len(sums)*TileRows]
		for j := range sums {
			for _, v := range panel[j*TileRows:][:TileRows] {
				sums[j] += float64(v) * float64(v)
			}
		}
	}
}

// Mul adds A·Bᵀ to the m x n matrix C, whose rows are ldc apart in c. a and b
// are packed, m x k and n x k units.
func Mul[T Unit](c []float32, ldc int, a, b []T, m, n, k int) {
	a, b = a[:PackedLenA(m, k)], b[:PackedLenB(n, k)]
	for k0 := 0; k0 < k; k0 += blockDepth {
		depth := min(blockDepth, k-k0)
		for i0 := 0; i0 < m; i0 += blockRows {
			i1 := min(m, i0+blockRows)
			for j := 0; j < n; j += TileCols {
				bp := b[j*k+k0*TileCols:][:depth*TileCols]
				for i := i0; i < i1; i += TileRows {
					ap := a[i*k+k0*TileRows:][:depth*TileRows]
					addTile(c[i*ldc+j:], ldc, ap, bp, min(TileRows, m-i), min(TileCols, n-j))
				}
			}
		}
	}
}

// addTile adds the product of two panels to rows x cols of c.
func addTile[T Unit](c []float32, ldc int, a, b []T, rows, cols int) {
	if rows == TileRows && cols == TileCols {
		tileOf(c[:(TileRows-1)*ldc+TileCols], ldc, a, b)
		return
	}
	var whole [TileRows * TileCols]float32
	tileOf(whole[:], TileCols, a, b)
	for i := range rows {
		row := c[i*ldc:][:cols]
		for j, v := range whole[i*TileCols:][:cols] {
			row[j] += v
		}
	}
}

// tileOf is the micro-kernel of the units.
func tileOf[T Unit](c []float32, ldc int, a, b []T) {
	switch a := any(a).(type) {
	case []float32:
		tile(c, ldc, a, any(b).([]float32))
	case []Pair:
		tileBF16(c, ldc, a, any(b).([]Pair))
	}
}

// tileGeneric adds the product of a panel of A (k x TileRows) and a panel of B
// (k x TileCols) to TileRows x TileCols of c:
//
//	for each step of k: c[i*ldc+j] += a[i] * b[j]
//
// rounded once for each. It is the definition of the micro-kernel, in squares of 2 x 4 that fit in the
// registers every CPU has.
func tileGeneric(c []float32, ldc int, a, b []float32) {
	for i := 0; i < TileRows; i += 2 {
		for j := 0; j < TileCols; j += 4 {
			var s00, s01, s02, s03, s10, s11, s12, s13 float32
			ap, bp := a[i:], b[j:]
			for range len(a) / TileRows {
				x, y := ap[:2], bp[:4]
				a0, a1 := x[0], x[1]
				b0, b1, b2, b3 := y[0], y[1], y[2], y[3]
				s00 = fma(a0, b0, s00)
				s01 = fma(a0, b1, s01)
				s02 = fma(a0, b2, s02)
				s03 = fma(a0, b3, s03)
				s10 = fma(a1, b0, s10)
				s11 = fma(a1, b1, s11)
				s12 = fma(a1, b2, s12)
				s13 = fma(a1, b3, s13)
				ap, bp = ap[min(TileRows, len(ap)):], bp[min(TileCols, len(bp)):]
			}
			row := c[i*ldc+j:][:4]
			row[0] += s00
			row[1] += s01
			row[2] += s02
			row[3] += s03
			row = c[(i+1)*ldc+j:][:4]
			row[0] += s10
			row[1] += s11
			row[2] += s12
			row[3] += s13
		}
	}
}
