package quant

import (
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// An MXFP4 block is 32 values x = 2^(e-127) * v/2 (OCP Microscaling Formats 1.0):
//
//	0  e   E8M0, the exponent of a power of two
//	1  q   16 bytes, byte i has element i in the low and i+16 in the high bits
//
// v is fp4Levels[q]. e is the exponent of the largest magnitude less 2, the
// exponent of the largest level.
var _ = register(gguf.MXFP4, codec{quantize: quantizeMXFP4, dequantize: dequantizeMXFP4, greatest: greatestMXFP4})

// fp4Levels are the E2M1 numbers 0, 0.5, 1, 1.5, 2, 3, 4 and 6 and their
// negatives, times two.
var fp4Levels = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

func quantizeMXFP4(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[17:], src[32:] {
		n := kernel.QuantizeMXFP4(dst, src)
		if dst, src = dst[17*n:], src[32*n:]; len(src) == 0 {
			break
		}
		x, block := (*[32]float32)(src), (*[17]byte)(dst)
		block[0] = 0
		if largest := magnitude(x[:]); largest > 0 {
			// The logarithm is rounded to float32, as ggml's log2f is, which
			// lifts numbers next to a power of two to it. Exponents below zero
			// wrap around as they do in ggml.
			exponent := math.Floor(float64(float32(math.Log2(float64(largest)))))
			block[0] = byte(truncate(float32(exponent) - 2 + 127))
		}
		d := halfPower(block[0])
		var q [32]uint8
		for i, v := range x {
			q[i] = nearestFP4(v, d)
		}
		packNibbles((*[16]byte)(block[1:]), &q)
	}
}

// nearestFP4 returns the first q that brings d*fp4Levels[q] closest to x.
func nearestFP4(x, d float32) uint8 {
	best, least := 0, abs(x)
	for q, level := range fp4Levels[1:] {
		if e := abs(float32(level*d) - x); e < least {
			best, least = q+1, e
		}
	}
	return uint8(best)
}

func dequantizeMXFP4(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[17:] {
		x, block := (*[32]float32)(dst), (*[17]byte)(src)
		d := halfPower(block[0])
		for i, q := range block[1:] {
			x[i] = fp4Levels[q&15] * d
			x[i+16] = fp4Levels[q>>4] * d
		}
	}
}

// halfPower returns 2^(e-128), half of what the E8M0 number e is, to go with
// levels that are doubled.
func halfPower(e uint8) float32 {
	if e < 2 {
		return math.Float32frombits(1 << 21 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

// greatestMXFP4 returns the largest magnitude in a block: NaN for the exponent that
// means that, and infinity where it is beyond float32. Without looking at the
// values, it may be more for exponents that are small enough for all.
func greatestMXFP4(block []byte) float32 {
	e := block[0]
	if e == 255 {
		return float32(math.NaN())
	}
	d := halfPower(e)
	if e <= 252 {
		return fp4Levels[7] * d
	}
	var greatest float32
	for _, q := range block[1:] {
		greatest = max(greatest, fp4Levels[q&7]*d, fp4Levels[q>>4&7]*d)
	}
	return greatest
}
