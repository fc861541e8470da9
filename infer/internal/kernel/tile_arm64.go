//go:build arm64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// tileNEON adds to 12 x 8 of c.
//
//go:noescape
func tileNEON(c *float32, ldc int, a *float32, b *float32, k int)

// partCols is how many columns of a tile a kernel multiplies.
const partCols = 8

// tile is tileGeneric by the best means. len(a)/TileRows steps are taken; b
// and c must be as long as that takes.
func tile(c []float32, ldc int, a, b []float32) {
	k := len(a) / TileRows
	if k == 0 {
		return
	}
	_ = b[k*TileCols-1]
	_ = c[(TileRows-1)*ldc+TileCols-1]
	if isa.Current() == isa.Generic {
		tileGeneric(c, ldc, a, b)
		return
	}
	for j := 0; j < TileCols; j += partCols {
		tileNEON(&c[j], ldc, &a[0], &b[j], k)
	}
}
