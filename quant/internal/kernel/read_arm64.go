//go:build arm64 && !purego

package kernel

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// The functions below read blocks, of the types of single values 16 at a time, and
// return how many they left: those from one on in which two numbers are NaN, where
// it depends on the order of operands which one comes out.

//go:noescape
func readF16NEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readBF16NEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ4_0NEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ4_1NEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ5_0NEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ5_1NEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ8_0NEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ2_KNEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ3_KNEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ4_KNEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ5_KNEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readQ6_KNEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readIQ4_NLNEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readIQ4_XSNEON(dst *float32, src *byte, blocks int) (left int)

//go:noescape
func readMXFP4NEON(dst *float32, src *byte, blocks int) (left int)

// Dequantize reads blocks of type t from src and returns how many values of dst it
// stored. No type that it reads has a grid.
func Dequantize(t gguf.Type, dst []float32, src []byte, _ []uint8) int {
	blocks, size := len(src)/t.BlockBytes(), t.BlockSize()
	if size == 1 {
		blocks, size = blocks/16, 16
	}
	if isa.Current() == isa.Generic || blocks == 0 {
		return 0
	}
	dst = dst[:blocks*size]
	var left int
	switch t {
	case gguf.F16:
		left = readF16NEON(&dst[0], &src[0], blocks)
	case gguf.BF16:
		left = readBF16NEON(&dst[0], &src[0], blocks)
	case gguf.Q4_0:
		left = readQ4_0NEON(&dst[0], &src[0], blocks)
	case gguf.Q4_1:
		left = readQ4_1NEON(&dst[0], &src[0], blocks)
	case gguf.Q5_0:
		left = readQ5_0NEON(&dst[0], &src[0], blocks)
	case gguf.Q5_1:
		left = readQ5_1NEON(&dst[0], &src[0], blocks)
	case gguf.Q8_0:
		left = readQ8_0NEON(&dst[0], &src[0], blocks)
	case gguf.Q2_K:
		left = readQ2_KNEON(&dst[0], &src[0], blocks)
	case gguf.Q3_K:
		left = readQ3_KNEON(&dst[0], &src[0], blocks)
	case gguf.Q4_K:
		left = readQ4_KNEON(&dst[0], &src[0], blocks)
	case gguf.Q5_K:
		left = readQ5_KNEON(&dst[0], &src[0], blocks)
	case gguf.Q6_K:
		left = readQ6_KNEON(&dst[0], &src[0], blocks)
	case gguf.IQ4_NL:
		left = readIQ4_NLNEON(&dst[0], &src[0], blocks)
	case gguf.IQ4_XS:
		left = readIQ4_XSNEON(&dst[0], &src[0], blocks)
	case gguf.MXFP4:
		left = readMXFP4NEON(&dst[0], &src[0], blocks)
	default:
		return 0
	}
	return (blocks - left) * size
}
