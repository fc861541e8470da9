//go:build arm64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/quant/isa"
)

// tileInt8NEON multiplies 4 rows of one block of a panel of a, of steps groups, and
// 8 of a panel of b.
//
//go:noescape
func tileInt8NEON(c *float32, a *int8, scales *float32, b *uint8, rightScales *float32, steps int)

// tilesInt8DotProd multiplies one block of panels of a, each of steps groups, and 8
// rows of a panel of b. It needs FEAT_DotProd.
//
//go:noescape
func tilesInt8DotProd(c *float32, a *int8, scales *float32, b *uint8, rightScales *float32, steps int, panels int)

// tilesInt8I8MM is tilesInt8DotProd for pairs of groups. It needs FEAT_I8MM.
//
//go:noescape
func tilesInt8I8MM(c *float32, a *int8, starts *int32, scales *float32, b *uint8, rightScales *float32, pairs int, panels int)

// quantizeInt8NEON quantizes n blocks of 64 floats.
//
//go:noescape
func quantizeInt8NEON(q *int8, x *float32, scales *float32, sums *int32, n int)

// tilesInt8 is tilesInt8Generic by the best means.
func tilesInt8(c []float32, a []int8, starts []int32, scales []float32, b []uint8, rightScales []float32) {
	rows, depth := len(starts), len(b)/TileCols
	_ = c[rows*TileCols-1]
	_ = a[rows*depth-1]
	_, _ = scales[rows-1], rightScales[TileCols-1]
	if isa.Current() == isa.Generic {
		tilesInt8Generic(c, a, starts, scales, b, rightScales)
		return
	}
	steps, panels := depth/group, rows/TileRows
	for j := 0; j < TileCols; j += partCols {
		switch {
		case isa.Has(isa.I8MM) && steps%2 == 0:
			tilesInt8I8MM(&c[j], &a[0], &starts[0], &scales[0], &b[j*group], &rightScales[j], steps/2, panels)
		case isa.Has(isa.DotProd):
			tilesInt8DotProd(&c[j], &a[0], &scales[0], &b[j*group], &rightScales[j], steps, panels)
		default:
			for row := 0; row < rows; row += 4 {
				left := &a[row/TileRows*TileRows*depth+row%TileRows*group]
				tileInt8NEON(&c[row*TileCols+j], left, &scales[row], &b[j*group], &rightScales[j], steps)
			}
		}
	}
}

// quantizeInt8 is quantizeInt8Generic by the best means.
func quantizeInt8(q []int8, x, scales []float32, sums []int32) {
	if isa.Current() == isa.Generic {
		quantizeInt8Generic(q, x, scales, sums)
		return
	}
	n := len(x) / Int8Block
	_ = q[n*Int8Block-1]
	_, _ = scales[n-1], sums[n-1]
	quantizeInt8NEON(&q[0], &x[0], &scales[0], &sums[0], n)
}
