//go:build amd64 && !purego

package kernel

import (
	"fmt"
	"unsafe"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./read -pkg kernel -out ../internal/kernel/read_amd64.s -stubs ../internal/kernel/read_stubs_amd64.go

// reader has the functions that read blocks of a type, or groups of values where
// these are the blocks, and the size of the grid they need.
type reader struct {
	avx2, avx512 func(dst *float32, src *byte, blocks int, points *uint8) (left int)
	points       int
}

// group is how many values, of a type that has blocks of one, are read at a time.
const group = 16

// readers is indexed by tensor type.
var readers = [...]reader{
	gguf.F32:     {readF32AVX2, readF32AVX512, 0},
	gguf.F16:     {readF16AVX2, readF16AVX512, 0},
	gguf.BF16:    {readBF16AVX2, readBF16AVX512, 0},
	gguf.Q1_0:    {readQ1_0AVX2, readQ1_0AVX512, 0},
	gguf.Q2_0:    {readQ2_0AVX2, readQ2_0AVX512, 0},
	gguf.Q4_0:    {readQ4_0AVX2, readQ4_0AVX512, 0},
	gguf.Q4_1:    {readQ4_1AVX2, readQ4_1AVX512, 0},
	gguf.Q5_0:    {readQ5_0AVX2, readQ5_0AVX512, 0},
	gguf.Q5_1:    {readQ5_1AVX2, readQ5_1AVX512, 0},
	gguf.Q8_0:    {readQ8_0AVX2, readQ8_0AVX512, 0},
	gguf.Q2_K:    {readQ2_KAVX2, readQ2_KAVX512, 0},
	gguf.Q3_K:    {readQ3_KAVX2, readQ3_KAVX512, 0},
	gguf.Q4_K:    {readQ4_KAVX2, readQ4_KAVX512, 0},
	gguf.Q5_K:    {readQ5_KAVX2, readQ5_KAVX512, 0},
	gguf.Q6_K:    {readQ6_KAVX2, readQ6_KAVX512, 0},
	gguf.IQ1_S:   {readIQ1_SAVX2, readIQ1_SAVX512, 2048 * 8},
	gguf.IQ1_M:   {readIQ1_MAVX2, readIQ1_MAVX512, 2048 * 8},
	gguf.IQ2_XXS: {readIQ2_XXSAVX2, readIQ2_XXSAVX512, 256 * 8},
	gguf.IQ2_XS:  {readIQ2_XSAVX2, readIQ2_XSAVX512, 512 * 8},
	gguf.IQ2_S:   {readIQ2_SAVX2, readIQ2_SAVX512, 1024 * 8},
	gguf.IQ3_XXS: {readIQ3_XXSAVX2, readIQ3_XXSAVX512, 256 * 4},
	gguf.IQ3_S:   {readIQ3_SAVX2, readIQ3_SAVX512, 512 * 4},
	gguf.IQ4_NL:  {readIQ4_NLAVX2, readIQ4_NLAVX512, 0},
	gguf.IQ4_XS:  {readIQ4_XSAVX2, readIQ4_XSAVX512, 0},
	gguf.TQ1_0:   {readTQ1_0AVX2, readTQ1_0AVX512, 0},
	gguf.TQ2_0:   {readTQ2_0AVX2, readTQ2_0AVX512, 0},
	gguf.MXFP4:   {readMXFP4AVX2, readMXFP4AVX512, 0},
	gguf.NVFP4:   {readNVFP4AVX2, readNVFP4AVX512, 0},
}

// Dequantize reads blocks of type t from src, with the points of the grid that the
// type has, if it has one, and returns how many values of dst it stored.
func Dequantize(t gguf.Type, dst []float32, src []byte, points []uint8) int {
	if int(t) >= len(readers) {
		return 0
	}
	r := &readers[t]
	var read func(dst *float32, src *byte, blocks int, points *uint8) (left int)
	switch isa.Current() {
	case isa.AVX512:
		read = r.avx512
	case isa.AVX2:
		read = r.avx2
	}
	if read == nil {
		return 0
	}
	blocks := len(src) / t.BlockBytes()
	if t.BlockSize() == 1 {
		blocks -= blocks % group
	}
	if blocks == 0 {
		return 0
	}
	if len(points) != r.points {
		panic(fmt.Sprintf("kernel: %d bytes of points for %s, which has %d", len(points), t, r.points))
	}
	dst = dst[:blocks*t.BlockSize()]
	left := read(&dst[0], &src[0], blocks, unsafe.SliceData(points))
	return (blocks - left) * t.BlockSize()
}
