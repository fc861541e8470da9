//go:build arm64 && !purego

package kernel

import (
	"fmt"
	"unsafe"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// The functions below read blocks, of the types of single values 16 at a time, and
// return how many they left: those from one on with numbers that are NaN, of the
// types where it depends on the order of operations what comes out.

//go:noescape
func readF16NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readBF16NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ4_0NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ4_1NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ5_0NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ5_1NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ8_0NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ2_KNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ3_KNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ4_KNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ5_KNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readQ6_KNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ1_SNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ1_MNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ2_XXSNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ2_XSNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ2_SNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ3_XXSNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ3_SNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ4_NLNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readIQ4_XSNEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

//go:noescape
func readMXFP4NEON(dst *float32, src *byte, blocks int, points *uint8) (left int)

// reader has the function that reads blocks of a type, which needs a grid of as many
// bytes as points says.
type reader struct {
	read   func(dst *float32, src *byte, blocks int, points *uint8) (left int)
	points int
}

// readers is indexed by tensor type.
var readers = [...]reader{
	gguf.F16:     {readF16NEON, 0},
	gguf.BF16:    {readBF16NEON, 0},
	gguf.Q4_0:    {readQ4_0NEON, 0},
	gguf.Q4_1:    {readQ4_1NEON, 0},
	gguf.Q5_0:    {readQ5_0NEON, 0},
	gguf.Q5_1:    {readQ5_1NEON, 0},
	gguf.Q8_0:    {readQ8_0NEON, 0},
	gguf.Q2_K:    {readQ2_KNEON, 0},
	gguf.Q3_K:    {readQ3_KNEON, 0},
	gguf.Q4_K:    {readQ4_KNEON, 0},
	gguf.Q5_K:    {readQ5_KNEON, 0},
	gguf.Q6_K:    {readQ6_KNEON, 0},
	gguf.IQ1_S:   {readIQ1_SNEON, 2048 * 8},
	gguf.IQ1_M:   {readIQ1_MNEON, 2048 * 8},
	gguf.IQ2_XXS: {readIQ2_XXSNEON, 256 * 8},
	gguf.IQ2_XS:  {readIQ2_XSNEON, 512 * 8},
	gguf.IQ2_S:   {readIQ2_SNEON, 1024 * 8},
	gguf.IQ3_XXS: {readIQ3_XXSNEON, 256 * 4},
	gguf.IQ3_S:   {readIQ3_SNEON, 512 * 4},
	gguf.IQ4_NL:  {readIQ4_NLNEON, 0},
	gguf.IQ4_XS:  {readIQ4_XSNEON, 0},
	gguf.MXFP4:   {readMXFP4NEON, 0},
}

// Dequantize reads blocks of type t from src, with the points of the grid that the
// type has, if it has one, and returns how many values of dst it stored.
func Dequantize(t gguf.Type, dst []float32, src []byte, points []uint8) int {
	if isa.Current() == isa.Generic || int(t) >= len(readers) || readers[t].read == nil {
		return 0
	}
	blocks, size := len(src)/t.BlockBytes(), t.BlockSize()
	if size == 1 {
		blocks, size = blocks/16, 16
	}
	if blocks == 0 {
		return 0
	}
	r := &readers[t]
	if len(points) != r.points {
		panic(fmt.Sprintf("kernel: %d bytes of points for %s, which has %d", len(points), t, r.points))
	}
	dst = dst[:blocks*size]
	left := r.read(&dst[0], &src[0], blocks, unsafe.SliceData(points))
	return (blocks - left) * size
}
