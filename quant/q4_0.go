package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q4_0 block is 32 values x = d*(q - 8):
//
//	0  d   F16
//	2  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// d is the value of largest magnitude over -8, so that this value is exact
// up to the rounding of d. With importances, d is fitted.
var _ = register(gguf.Q4_0, codec{quantize: quantizeQ40, weighted: quantizeWeightedQ40, dequantize: dequantizeQ40})

func quantizeQ40(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[18:], src[32:] {
		n := kernel.QuantizeQ40(dst, src)
		if dst, src = dst[18*n:], src[32*n:]; len(src) == 0 {
			break
		}
		x, block := (*[32]float32)(src), (*[18]byte)(dst)
		var q [32]uint8
		d := extreme(x[:]) / -8
		putHalf(block[:], d)
		inverse := reciprocal(d)
		for i, v := range x {
			q[i] = uint8(min(15, truncate(float32(v*inverse)+8.5)))
		}
		packNibbles((*[16]byte)(block[2:]), &q)
	}
}

func quantizeWeightedQ40(dst []byte, src, importance []float32) {
	var work weightedBlocks
	for len(src) > 0 {
		n := work.fit(src, importance, 8)
		for b := range n {
			block := (*[18]byte)(dst[18*b:])
			putHalf(block[:], work.d[b])
			packNibbles((*[16]byte)(block[2:]), (*[32]uint8)(work.q[32*b:]))
		}
		dst, src = dst[18*n:], src[32*n:]
	}
}

// weightedBlocks has what Q4_0 and Q5_0 know of blocks while they quantize rows
// with importances.
type weightedBlocks struct {
	q       [32 * 64]uint8
	d       [64]float32
	weights [32 * 64]float32
	means   [16]float32 // of x^2, in as many rows
	row     int         // the next one in means
	column  int         // the next one in the row
}

// fit finds d and integers in [-n, n), counted from 0, for the next blocks, which x
// begins with, and returns how many it did.
func (w *weightedBlocks) fit(x, importance []float32, n int32) int {
	rowLen := len(importance)
	if w.row == 0 && w.column == 0 {
		means := w.means[:min(len(w.means), len(x)/rowLen)]
		sumsOfSquares(means, x, rowLen)
		for r := range means {
			means[r] /= float32(rowLen)
		}
	}
	blocks := min(len(w.d), (rowLen-w.column)/32)
	x, importance = x[:32*blocks], importance[w.column:]
	weights := w.weights[:len(x)]
	weighAll(weights, x, importance, w.means[w.row])
	fitSymmetrics(w.q[:], x, weights, w.d[:blocks], nil, n)
	w.column += len(x)
	if w.column == rowLen {
		w.row, w.column = (w.row+1)%len(w.means), 0
	}
	return blocks
}

// packNibbles stores bits 0 to 3 of element i in the low and of i+16 in the high
// bits of byte i.
func packNibbles(packed *[16]byte, q *[32]uint8) {
	for i := 0; i < 16; i += 8 {
		pairs := eightBytes(q[i:])&ofEach(15) | eightBytes(q[i+16:])&ofEach(15)<<4
		binary.LittleEndian.PutUint64(packed[i:], pairs)
	}
}

func dequantizeQ40(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[18:] {
		x, block := (*[32]float32)(dst), (*[18]byte)(src)
		d := half(block[:])
		for i := range 16 {
			q := block[2+i]
			x[i] = float32(int(q&15)-8) * d
			x[i+16] = float32(int(q>>4)-8) * d
		}
	}
}
