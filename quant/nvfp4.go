package quant

import (
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// An NVFP4 block is 4 sub-blocks of 16 values x = d * v/2:
//
//	0  d   4 bytes, one per sub-block: UE4M3, four bits of exponent, three of mantissa
//	4  q   32 bytes, 8 for each sub-block, byte i of which has element i in the low
//	       and i+8 in the high bits
//
// v is fp4Levels[q]. d is the largest magnitude over 6, the largest level. What is
// here lacks the scale that NVIDIA's format has for the whole tensor; GGUF files
// have a tensor of its own for that.
var _ = register(gguf.NVFP4, codec{quantize: quantizeNVFP4, dequantize: dequantizeNVFP4})

func quantizeNVFP4(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[36:], src[64:] {
		n := kernel.QuantizeNVFP4(dst, src)
		if dst, src = dst[36*n:], src[64*n:]; len(src) == 0 {
			break
		}
		block := (*[36]byte)(dst)
		for s := range 4 {
			x, packed := (*[16]float32)(src[16*s:]), (*[8]byte)(block[4+8*s:])
			block[s] = ue4m3(magnitude(x[:]) / 6)
			d := halfUE4M3(block[s])
			for i := range packed {
				packed[i] = nearestFP4(x[i], d) | nearestFP4(x[i+8], d)<<4
			}
		}
	}
}

func dequantizeNVFP4(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[64:], src[36:] {
		block := (*[36]byte)(src)
		for s := range 4 {
			x, packed := (*[16]float32)(dst[16*s:]), (*[8]byte)(block[4+8*s:])
			d := halfUE4M3(block[s])
			for i, q := range packed {
				x[i] = fp4Levels[q&15] * d
				x[i+8] = fp4Levels[q>>4] * d
			}
		}
	}
}

// ue4m3 rounds f to an unsigned number of four bits of exponent, biased by 7, and
// three of mantissa, halves up. It is ggml_fp32_to_ue4m3 of ggml-impl.h, including
// that nothing rounds from the subnormal numbers to the normal ones, and that what
// rounds to 256 or more becomes 448, the largest number.
func ue4m3(f float32) uint8 {
	const largest = 0x7e
	if !(f > 0) {
		return 0
	}
	bits := math.Float32bits(f)
	exponent, mantissa := int(bits>>23)-127+7, int(bits>>20&7)
	if exponent <= 0 {
		return uint8(min(7, int(float32(f*512)+0.5)))
	}
	// A mantissa that overflows adds one to the exponent.
	b := exponent<<3 + mantissa + int(bits>>19&1)
	if b >= 15<<3 {
		return largest
	}
	return uint8(b)
}

// halfUE4M3 returns half of the UE4M3 number b, to go with levels that are
// doubled. 0x7f, which is NaN elsewhere, counts as 0 in ggml.
func halfUE4M3(b uint8) float32 {
	exponent, mantissa := uint32(b>>3&15), uint32(b&7)
	switch {
	case b == 0x7f:
		return 0
	case exponent == 0:
		return float32(mantissa) / 1024
	default:
		return math.Float32frombits((exponent+127-7-1)<<23 | mantissa<<20)
	}
}
