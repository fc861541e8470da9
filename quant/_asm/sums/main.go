// Command sums generates sums over rows. Run go generate in package
// quant/internal/kernel.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/ggufkit/ggufkit/quant/_asm/vector"
)

func main() {
	ConstraintExpr("amd64,!purego")
	c := NewConstants()
	for _, v := range []ISA{AVX2, AVX512} {
		sum(v, c, "sumSquares", "squares", func(x reg.VecVirtual) { VMULPS(x, x, x) })
		sum(v, c, "sumMagnitudes", "magnitudes", func(x reg.VecVirtual) { VANDPS(c.Absolute, x, x) })
	}
	Generate()
}

// sum generates a sum over rows, with one of them in each lane.
func sum(v ISA, c Constants, name, of string, term func(x reg.VecVirtual)) {
	Start(name, "func(x *float32, size int, sums *float32)",
		fmt.Sprintf("stores the sums of the %s of %d rows of size values, a multiple of %[2]d.", of, v.Width), v)
	x, left := Load(Param("x"), GP64()), Load(Param("size"), GP64())
	stride := GP64()
	IMUL3Q(U8(4), left, stride)
	sum := v.Load(c.Zero)
	Label("columns")
	Transpose(v, x, stride, func(_ int, values reg.VecVirtual) {
		term(values)
		VADDPS(values, sum, sum)
	})
	ADDQ(U8(uint8(4*v.Width)), x)
	SUBQ(U8(uint8(v.Width)), left)
	JNE(LabelRef("columns"))
	VMOVUPS(sum, Mem{Base: Load(Param("sums"), GP64())})
	VZEROUPPER()
	RET()
}
