// Command read generates the functions that read blocks. Run go generate in
// package quant/internal/kernel.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "github.com/ggufkit/ggufkit/quant/_asm/vector"
)

// format is what a function is made from.
type format struct {
	name string
	// What one turn of the function reads, which is one block but for the types
	// that have single values for blocks.
	blocks, bytes, values int
	read                  func(r *reader)
}

// formats are in the order of the type's numbers in package gguf.
var formats = []format{
	{"F32", 16, 64, 16, readF32},
	{"F16", 16, 32, 16, readF16},
	{"Q4_0", 1, 18, 32, readQ40},
	{"Q4_1", 1, 20, 32, readQ41},
	{"Q5_0", 1, 22, 32, readQ50},
	{"Q5_1", 1, 24, 32, readQ51},
	{"Q8_0", 1, 34, 32, readQ80},
	{"Q2_K", 1, 84, 256, readQ2K},
	{"Q3_K", 1, 110, 256, readQ3K},
	{"Q4_K", 1, 144, 256, readQ4K},
	{"Q5_K", 1, 176, 256, readQ5K},
	{"Q6_K", 1, 210, 256, readQ6K},
	{"IQ2_XXS", 1, 66, 256, readIQ2XXS},
	{"IQ2_XS", 1, 74, 256, readIQ2XS},
	{"IQ3_XXS", 1, 98, 256, readIQ3XXS},
	{"IQ1_S", 1, 50, 256, readIQ1S},
	{"IQ4_NL", 1, 18, 32, readIQ4NL},
	{"IQ3_S", 1, 110, 256, readIQ3S},
	{"IQ2_S", 1, 82, 256, readIQ2S},
	{"IQ4_XS", 1, 136, 256, readIQ4XS},
	{"IQ1_M", 1, 56, 256, readIQ1M},
	{"BF16", 16, 32, 16, readBF16},
	{"TQ1_0", 1, 54, 256, readTQ10},
	{"TQ2_0", 1, 66, 256, readTQ20},
	{"MXFP4", 1, 17, 32, readMXFP4},
	{"NVFP4", 1, 36, 64, readNVFP4},
	{"Q1_0", 1, 18, 128, readQ10},
	{"Q2_0", 1, 18, 64, readQ20},
}

func main() {
	ConstraintExpr("amd64,!purego")
	c := newConstants()
	for _, f := range formats {
		for _, v := range []ISA{AVX2, AVX512} {
			generate(f, v, c)
		}
	}
	Generate()
}

func generate(f format, v ISA, c *constants) {
	what := "reads blocks"
	if f.blocks > 1 {
		what += fmt.Sprintf(", a multiple of %d,", f.blocks)
	}
	Start("read"+f.name, "func(dst *float32, src *byte, blocks int, points *uint8) (left int)",
		what+" and returns how many it left.", v)
	r := &reader{
		ISA: v, constants: c,
		dst: param("dst"), src: param("src"),
	}
	left := param("blocks")
	Label("block")
	f.read(r)
	ADDQ(U32(uint32(f.bytes)), r.src)
	if !r.moved {
		ADDQ(U32(uint32(4*f.values)), r.dst)
	}
	SUBQ(U8(uint8(f.blocks)), left)
	JNE(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	Store(left, ReturnIndex(0))
	RET()
}
