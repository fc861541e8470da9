package quant

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A TQ1_0 block is 256 values x = d*(q - 1), q being 0, 1 or 2:
//
//	 0  q5   48 bytes of five elements each
//	48  q4   4 bytes of four elements each
//	52  d    F16
//
// A byte is a fraction of 256, rounded up, the digits of which in base 3 are its
// elements. Bytes 0 to 31 begin at elements 0 to 31 and go on by 32; the next 16
// at elements 160 to 175 and go on by 16; the last four at 240 to 243 and go on by
// 4.
//
// d is the largest magnitude.
var _ = register(gguf.TQ1_0, codec{quantize: quantizeTQ10, dequantize: dequantizeTQ10})

// tq10Runs are the runs of bytes in a TQ1_0 block and of the elements in them.
var tq10Runs = [3]struct{ firstByte, bytes, firstElement, digits int }{
	{0, 32, 0, 5},
	{32, 16, 160, 5},
	{48, 4, 240, 4},
}

func quantizeTQ10(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[54:], src[256:] {
		n := kernel.QuantizeTQ10(dst, src)
		if dst, src = dst[54*n:], src[256*n:]; len(src) == 0 {
			break
		}
		x, block := (*[256]float32)(src), (*[54]byte)(dst)
		d := magnitude(x[:])
		inverse := reciprocal(d)
		putHalf(block[52:], d)
		for _, run := range tq10Runs {
			for b := range run.bytes {
				var number uint8
				for digit := range 5 {
					number *= 3
					if digit < run.digits {
						number += ternary(x[run.firstElement+b+digit*run.bytes] * inverse)
					}
				}
				block[run.firstByte+b] = uint8((uint32(number)*256 + 242) / 243)
			}
		}
	}
}

// ternary rounds f to -1, 0 or 1 and counts from there. What is not an integer,
// as with a subnormal d, becomes 1 as with C's lroundf on x86-64.
func ternary(f float32) uint8 { return uint8(roundAway(f) + 1) }

func dequantizeTQ10(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[54:] {
		x, block := (*[256]float32)(dst), (*[54]byte)(src)
		d := half(block[52:])
		for _, run := range tq10Runs {
			for b := range run.bytes {
				fraction := block[run.firstByte+b]
				for digit := range run.digits {
					q := uint32(fraction) * 3 >> 8
					fraction *= 3
					x[run.firstElement+b+digit*run.bytes] = float32(int(q)-1) * d
				}
			}
		}
	}
}
