package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Int8Block is how many neighbouring elements of a row share a scale in
// [PackedInt8A] and [PackedInt8B]. What is left of a row is a shorter block.
const Int8Block = 64

// group is how many neighbouring elements of a row stay together when packed:
// those that one instruction multiplies and adds up.
const group = 4

// weightZero is what is added to the integers of the right factor, since VPDPBUSD
// multiplies unsigned by signed bytes.
const weightZero = 128

// blocks returns the number of blocks of a row of k, and its length when filled
// up to whole groups.
func blocks(k int) (n, padded int) {
	return (k + Int8Block - 1) / Int8Block, roundUp(k, group)
}

// PackedInt8A is the left factor of a product of 8-bit integers. Its order is
// [block][panel][group][row of the panel][element of the group], so that a
// block of one panel of B meets those of all panels of A one after another. That
// of blocks for blocksInt8 is [block][row][element].
type PackedInt8A struct {
	k, padded, blocks int
	panels            int
	inRows            int // how many blocks are for blocksInt8: whole ones
	values            []int8
	// Of each block of each row, [block][panel][row of the panel].
	scales []float32
	starts []int32 // -weightZero times the sum of the integers
}

// Reset makes room for m rows of k. What they hold is not defined until they
// are put.
func (a *PackedInt8A) Reset(m, k int) {
	a.k = k
	a.blocks, a.padded = blocks(k)
	a.panels = (m + TileRows - 1) / TileRows
	a.inRows = 0
	if hasBlocksInt8() {
		a.inRows = a.padded / Int8Block
	}
	rows := a.panels * TileRows
	a.values = resize(a.values, rows*a.padded)
	a.scales = resize(a.scales, rows*a.blocks)
	a.starts = resize(a.starts, rows*a.blocks)
}

// Put quantizes a row. Rows may be put concurrently.
func (a *PackedInt8A) Put(row int, src []float32) {
	src = src[:a.k]
	var q quantized
	rows := a.panels * TileRows
	panel, r := row/TileRows, row%TileRows
	for start := 0; start < a.k; start += quantizeMost {
		q.quantize(src[start:min(a.k, start+quantizeMost)])
		for first := start; first < min(a.padded, start+quantizeMost); first += Int8Block {
			at := (first - start) / Int8Block
			a.scales[first/Int8Block*rows+row] = q.scales[at]
			a.starts[first/Int8Block*rows+row] = -weightZero * q.sums[at]
			depth := min(Int8Block, a.padded-first)
			values := q.values[at*Int8Block:][:depth]
			if first/Int8Block < a.inRows {
				copy(a.values[first*rows+row*Int8Block:], values)
				continue
			}
			dst := a.values[first*rows+panel*depth*TileRows+group*r:]
			for i := 0; i < depth; i += group {
				*(*[group]int8)(dst[i*TileRows:]) = *(*[group]int8)(values[i:])
			}
		}
	}
}

// PackedInt8B is the right factor of a product of 8-bit integers, to which
// weightZero is added. Its order is [panel][block][group][row of the
// panel][element of the group].
type PackedInt8B struct {
	k, padded, blocks int
	values            []uint8
	scales            []float32 // of each block of each row, [panel][block][row of the panel]
}

// Reset makes room for n rows of k. What they hold is not defined until they
// are put.
func (b *PackedInt8B) Reset(n, k int) {
	b.k = k
	b.blocks, b.padded = blocks(k)
	b.values = resize(b.values, roundUp(n, TileCols)*b.padded)
	b.scales = resize(b.scales, roundUp(n, TileCols)*b.blocks)
}

// Put quantizes a row. Rows may be put concurrently.
func (b *PackedInt8B) Put(row int, src []float32) {
	src = src[:b.k]
	var q quantized
	panel, r := row/TileCols, row%TileCols
	for start := 0; start < b.k; start += quantizeMost {
		q.quantize(src[start:min(b.k, start+quantizeMost)])
		for first := start; first < min(b.padded, start+quantizeMost); first += Int8Block {
			at := (first - start) / Int8Block
			b.scales[(panel*b.blocks+first/Int8Block)*TileCols+r] = q.scales[at]
			depth := min(Int8Block, b.padded-first)
			values := q.values[at*Int8Block:][:depth]
			dst := b.values[(panel*b.padded+first)*TileCols+group*r:]
			for i := 0; i < depth; i += group {
				x := (*[group]int8)(values[i:])
				v := uint32(uint8(x[0])) | uint32(uint8(x[1]))<<8 | uint32(uint8(x[2]))<<16 | uint32(uint8(x[3]))<<24
				binary.LittleEndian.PutUint32(dst[i*TileCols:], v^0x80808080)
			}
		}
	}
}

func resize[T any](buf []T, n int) []T {
	if cap(buf) < n {
		return make([]T, n)
	}
	return buf[:n]
}

// MulInt8 adds the product of rows [i, i+m) of A and rows [j, j+n) of B to the
// m x n matrix C, whose rows are ldc apart in c. i is the first row of a panel of A, j of
// one of B.
//
// The integers of a block are multiplied and added exactly. Their sum s adds
//
//	float32(float32(float32(s) * scale of B) * scale of A)
//
// to the element of C, block after block, with every step rounded: the result
// is the same on every instruction set and however m and n are cut.
func MulInt8(c []float32, ldc int, a *PackedInt8A, i, m int, b *PackedInt8B, j, n int) {
	const most = 8 * TileRows
	var room [most*TileCols + cacheLine/4]float32
	sums := aligned(room[:], most*TileCols) // of c, whose own rows may be apart by what makes them meet in the cache
	rows := a.panels * TileRows
	for top := 0; top < m; top += most {
		height := min(most, m-top)
		panels := roundUp(height, TileRows)
		for col := 0; col < n; col += TileCols {
			width := min(TileCols, n-col)
			part := c[top*ldc+col:]
			for r := range height {
				copy(sums[r*TileCols:][:width], part[r*ldc:])
			}
			if a.inRows > 0 {
				from := i + top
				blocksInt8(
					sums[:panels*TileCols],
					a.values[from*Int8Block:][:((a.inRows-1)*rows+panels)*Int8Block],
					a.starts[from:][:(a.inRows-1)*rows+panels],
					a.scales[from:][:(a.inRows-1)*rows+panels],
					b.values[(j+col)*b.padded:][:a.inRows*Int8Block*TileCols],
					b.scales[(j+col)*b.blocks:][:a.inRows*TileCols],
					rows,
				)
			}
			for block := a.inRows; block < a.blocks; block++ {
				first := block * Int8Block
				depth := min(Int8Block, a.padded-first)
				tilesInt8(
					sums[:panels*TileCols],
					a.values[first*rows+(i+top)*depth:][:panels*depth],
					a.starts[block*rows+i+top:][:panels],
					a.scales[block*rows+i+top:][:panels],
					b.values[(j+col)*b.padded+first*TileCols:][:depth*TileCols],
					b.scales[((j+col)/TileCols*b.blocks+block)*TileCols:][:TileCols],
				)
			}
			for r := range height {
				copy(part[r*ldc:][:width], sums[r*TileCols:])
			}
		}
	}
}

// cacheLine is how many bytes, from a multiple of it on, are best not read apart.
const cacheLine = 64

// aligned returns n of the floats of a slice, from one on that begins a line of the cache.
func aligned(x []float32, n int) []float32 {
	over := int(uintptr(unsafe.Pointer(&x[0])) % cacheLine)
	return x[(cacheLine-over)%cacheLine/4:][:n]
}

// tilesInt8Generic adds to c, rows of TileCols, the product of one block of
// len(starts)/TileRows panels of A and of one panel of B. It is the definition
// of the micro-kernel.
func tilesInt8Generic(c []float32, a []int8, starts []int32, scales []float32, b []uint8, rightScales []float32) {
	depth := len(b) / TileCols
	for row, start := range starts {
		left := a[row/TileRows*TileRows*depth+row%TileRows*group:]
		var sums [TileCols]int32
		for j := range sums {
			sums[j] = start
		}
		for i := 0; i < depth; i += group {
			x := left[i*TileRows:][:group]
			x0, x1, x2, x3 := int32(x[0]), int32(x[1]), int32(x[2]), int32(x[3])
			w := b[i*TileCols:][:group*TileCols]
			for j := range sums {
				y := w[group*j:][:group]
				sums[j] += x0*int32(y[0]) + x1*int32(y[1]) + x2*int32(y[2]) + x3*int32(y[3])
			}
		}
		out := c[row*TileCols:][:TileCols]
		for j, sum := range sums {
			scaled := float32(float32(sum) * rightScales[j])
			out[j] += float32(scaled * scales[row])
		}
	}
}

// smallestInt8 is the smallest magnitude that is not taken for 0, which keeps
// the reciprocal of a scale finite.
const smallestInt8 = 0x1p-100

// quantizeMost is how many elements are quantized at a time.
const quantizeMost = 16 * Int8Block

// quantized is a part of a row: integers, and the scales and sums of its blocks.
type quantized struct {
	values [quantizeMost]int8
	scales [quantizeMost / Int8Block]float32
	sums   [quantizeMost / Int8Block]int32
}

// quantize quantizes a part of a row. The rest of its last block becomes 0.
func (q *quantized) quantize(x []float32) {
	blocks := len(x) / Int8Block
	if blocks > 0 {
		quantizeInt8(q.values[:blocks*Int8Block], x[:blocks*Int8Block], q.scales[:], q.sums[:])
	}
	if rest := x[blocks*Int8Block:]; len(rest) > 0 {
		var whole [Int8Block]float32
		copy(whole[:], rest)
		quantizeInt8(q.values[blocks*Int8Block:][:Int8Block], whole[:], q.scales[blocks:], q.sums[blocks:])
	}
}

// quantizeInt8Generic quantizes whole blocks to scale·q. The scale is the largest
// magnitude divided by 127; x/scale is rounded to the nearest integer, of two
// the even one. If there is a NaN the scale is NaN, if there is an infinity it
// is infinite, so that neither is lost.
func quantizeInt8Generic(q []int8, x, scales []float32, sums []int32) {
	for b := range len(x) / Int8Block {
		block := x[b*Int8Block:][:Int8Block]
		var bits uint32 // of magnitudes, which have the same order, with NaN above all
		for _, v := range block {
			bits = max(bits, math.Float32bits(v)&^(1<<31))
		}
		top := math.Float32frombits(bits)
		scale, inverse := top/127, 127/top
		if top < smallestInt8 {
			scale, inverse = 0, 0
		}
		var sum int32
		for i, v := range block {
			r := math.RoundToEven(float64(v * inverse))
			if math.IsNaN(r) {
				r = math.MinInt8 // as CVTPS2DQ and saturation make of it
			}
			q[b*Int8Block+i] = int8(r)
			sum += int32(r)
		}
		scales[b], sums[b] = scale, sum
	}
}
