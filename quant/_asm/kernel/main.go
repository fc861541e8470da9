// Command kernel generates the assembly of package quant/internal/kernel.
// Run go generate there.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("amd64,!purego")
	c := newConstants()
	for _, v := range []isa{avx2, avx512} {
		fitAffine(v, c)
	}
	Generate()
}
