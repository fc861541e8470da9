package kernel

import (
	"encoding/binary"
	"math"
)

// Pair is two neighbouring bfloat16 of a row, the first in the lower half.
type Pair uint32

// Pairs returns the number of pairs that k elements take.
func Pairs(k int) int { return (k + 1) / 2 }

// first and second return the elements of a pair, without those too small to
// be normal numbers.
func (p Pair) first() float32  { return flushed(uint32(p) << 16) }
func (p Pair) second() float32 { return flushed(uint32(p) &^ 0xffff) }

func flushed(bits uint32) float32 {
	if bits&0x7f80_0000 == 0 {
		bits &= 1 << 31
	}
	return math.Float32frombits(bits)
}

// HasBF16 reports whether there is a fast micro-kernel for pairs.
func HasBF16() bool { return hasBF16() }

// RoundPairs rounds floats to the nearest bfloat16, of two the even one. With
// an odd number of them, 0 follows.
func RoundPairs(dst []Pair, src []float32) {
	dst = dst[:Pairs(len(src))]
	roundPairs(dst, src)
}

func roundPairsGeneric(dst []Pair, src []float32) {
	for i := range dst {
		pair := roundBF16(src[2*i])
		if 2*i+1 < len(src) {
			pair |= roundBF16(src[2*i+1]) << 16
		}
		dst[i] = pair
	}
}

func roundBF16(f float32) Pair {
	bits := math.Float32bits(f)
	if f != f {
		return Pair((bits | 0x400000) >> 16) // a NaN whose bits are all below would become an infinity
	}
	return Pair((bits + 0x7fff + bits>>16&1) >> 16)
}

// ReadPairs takes a row of bfloat16 as GGUF stores it. With an odd number of
// elements, 0 follows.
func ReadPairs(dst []Pair, src []byte) {
	for i := range len(src) / 4 {
		dst[i] = Pair(binary.LittleEndian.Uint32(src[4*i:]))
	}
	if len(src)%4 != 0 {
		dst[len(src)/4] = Pair(binary.LittleEndian.Uint16(src[len(src)-2:]))
	}
}

// tileBF16Generic adds the product of a panel of A (k x TileRows) and a panel of B
// (k x TileCols) to TileRows x TileCols of c, as tileGeneric does:
//
//	for each step of k: sum += second(a[i]) * second(b[j]); sum += first(a[i]) * first(b[j])
//
// where VDPBF16PS fuses multiplication and addition and takes for 0 what is not a
// normal number, also among the sums.
func tileBF16Generic(c []float32, ldc int, a, b []Pair) {
	for i := range TileRows {
		for j := range TileCols {
			var sum float32
			for l := range len(a) / TileRows {
				x, y := a[l*TileRows+i], b[l*TileCols+j]
				sum += x.second() * y.second()
				sum += x.first() * y.first()
			}
			c[i*ldc+j] += sum
		}
	}
}
