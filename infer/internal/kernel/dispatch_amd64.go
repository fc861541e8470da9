//go:build amd64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/quant/isa"
)

// tile is tileGeneric by the best means. len(a)/TileRows steps are taken; b
// and c must be as long as that takes.
func tile(c []float32, ldc int, a, b []float32) {
	k := len(a) / TileRows
	if k == 0 {
		return
	}
	_ = b[k*TileCols-1]
	_ = c[(TileRows-1)*ldc+TileCols-1]
	switch isa.Current() {
	case isa.AVX512:
		tileAVX512(&c[0], ldc, &a[0], &b[0], k)
	case isa.AVX2:
		for j := 0; j < TileCols; j += 16 {
			tileAVX2(&c[j], ldc, &a[0], &b[j], k)
			tileAVX2(&c[6*ldc+j], ldc, &a[6], &b[j], k)
		}
	default:
		tileGeneric(c, ldc, a, b)
	}
}

func hasBF16() bool { return isa.Has(isa.AVX512BF16) }

// tileBF16 is tileBF16Generic by the best means.
func tileBF16(c []float32, ldc int, a, b []Pair) {
	k := len(a) / TileRows
	if k == 0 || !hasBF16() {
		tileBF16Generic(c, ldc, a, b)
		return
	}
	_ = b[k*TileCols-1]
	_ = c[(TileRows-1)*ldc+TileCols-1]
	tileBF16AVX512(&c[0], ldc, (*uint32)(&a[0]), (*uint32)(&b[0]), k)
}

// roundPairs is roundPairsGeneric by the best means.
func roundPairs(dst []Pair, src []float32) {
	whole := 0
	if isa.Current() == isa.AVX512 {
		if whole = len(src) / 16 * 16; whole > 0 {
			roundBF16AVX512((*uint32)(&dst[0]), &src[0], whole)
		}
	}
	roundPairsGeneric(dst[whole/2:], src[whole:])
}

func maxLanes(x []float32, tops *[lanes]float32) {
	switch {
	case len(x) == 0:
	case isa.Current() == isa.AVX512:
		maxLanesAVX512(&x[0], len(x), &tops[0])
	default:
		maxLanesAVX2(&x[0], len(x), &tops[0])
	}
}

func expSumLanes(x []float32, scale, top float32, sums *[lanes]float32) {
	switch {
	case len(x) == 0:
	case isa.Current() == isa.AVX512:
		expSumAVX512(&x[0], len(x), scale, top, &sums[0])
	default:
		expSumAVX2(&x[0], len(x), scale, top, &sums[0])
	}
}

func siLUMulLanes(gate, up []float32) {
	switch {
	case len(gate) == 0:
	case isa.Current() == isa.AVX512:
		siluMulAVX512(&gate[0], &up[0], len(gate))
	default:
		siluMulAVX2(&gate[0], &up[0], len(gate))
	}
}

// tilesInt8 is tilesInt8Generic by the best means.
func tilesInt8(c []float32, a []int8, starts []int32, scales []float32, b []uint8, rightScales []float32) {
	rows, depth := len(starts), len(b)/TileCols
	_ = c[rows*TileCols-1]
	_ = a[rows*depth-1]
	_, _ = scales[rows-1], rightScales[TileCols-1]
	switch {
	case isa.Current() == isa.AVX512:
		tilesInt8AVX512(&c[0], &a[0], &starts[0], &scales[0], &b[0], &rightScales[0], depth/group, rows/TileRows)
	case isa.Has(isa.AVXVNNI):
		for row := 0; row < rows; row += 6 {
			left := &a[row/TileRows*TileRows*depth+row%TileRows*group]
			for j := 0; j < TileCols; j += 16 {
				tileInt8AVXVNNI(&c[row*TileCols+j], left, &starts[row], &scales[row], &b[j*group], &rightScales[j], depth/group)
			}
		}
	case isa.Current() == isa.AVX2:
		for row := 0; row < rows; row += 4 {
			left := &a[row/TileRows*TileRows*depth+row%TileRows*group]
			for j := 0; j < TileCols; j += 16 {
				tileInt8AVX2(&c[row*TileCols+j], left, &starts[row], &scales[row], &b[j*group], &rightScales[j], depth/group)
			}
		}
	default:
		tilesInt8Generic(c, a, starts, scales, b, rightScales)
	}
}

// hasBlocksInt8 is whether blocksInt8 can be called.
func hasBlocksInt8() bool { return isa.Has(isa.AMXInt8) }

// blocksInt8 is tilesInt8Generic for whole blocks, as many as b has, one after the other. Each of them has so many rows of A
// in all, with their elements together.
func blocksInt8(c []float32, a []int8, starts []int32, scales []float32, b []uint8, rightScales []float32, rows int) {
	blocks, height := len(rightScales)/TileCols, len(c)/TileCols
	last := (blocks-1)*rows + height - 1
	_, _, _, _ = a[last*Int8Block+Int8Block-1], starts[last], scales[last], b[blocks*Int8Block*TileCols-1]
	var sums [TileRows*TileCols + cacheLine/4]int32
	blocksInt8AMX(&c[0], &a[0], &starts[0], &scales[0], &b[0], &rightScales[0], &sums[0], height/TileRows, rows, blocks)
}

// quantizeInt8 is quantizeInt8Generic by the best means.
func quantizeInt8(q []int8, x, scales []float32, sums []int32) {
	n := len(x) / Int8Block
	_ = q[n*Int8Block-1]
	_, _ = scales[n-1], sums[n-1]
	switch isa.Current() {
	case isa.AVX512:
		quantizeInt8AVX512(&q[0], &x[0], &scales[0], &sums[0], n)
	case isa.AVX2:
		quantizeInt8AVX2(&q[0], &x[0], &scales[0], &sums[0], n)
	default:
		quantizeInt8Generic(q, x, scales, sums)
	}
}
