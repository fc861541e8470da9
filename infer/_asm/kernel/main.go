// Command kernel generates the assembly of package infer/internal/kernel.
// Run go generate there.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("amd64,!purego")
	tile(isas[0], 6, 2)
	tile(isas[1], 12, 2)
	c := newConstants()
	for _, v := range isas {
		maxLanes(v)
		expSum(v, c)
		siluMul(v, c)
		quantizeInt8(v, c)
		mulAdd(v)
		softplus(v, c)
		mamba(v, c)
		deltaResult(v)
		deltaUpdate(v)
	}
	mamba2(isas[0], 4)
	mamba2(isas[1], 8)
	tilesInt8AVX512()
	blocksInt8AMX()
	tileInt8AVX2(c)
	tileInt8AVXVNNI()
	tileBF16()
	roundBF16(c)
	Generate()
}
