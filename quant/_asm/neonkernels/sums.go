package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// generateSums generates sums of four rows, one in each lane.
func generateSums(file *neon.File) {
	for _, sum := range []struct {
		name string
		of   func(f *neon.Function, x neon.Vector)
	}{
		{"Squares", func(f *neon.Function, x neon.Vector) { f.FMUL(x, x, x) }},
		{"Magnitudes", func(f *neon.Function, x neon.Vector) { f.FABS(x, x) }},
	} {
		f := file.Function("sum"+sum.name+"NEON", "sums *float32, x *float32, size int", "")
		var rows [4]neon.Register
		rows[0] = f.Parameter("x")
		left, total := f.Parameter("size"), f.Vector()
		for i := 1; i < 4; i++ {
			rows[i] = f.Register()
			f.Op("ADD %v<<2, %v, %v", left, rows[i-1], rows[i])
		}
		f.Zero(total)
		f.Label("values")
		for _, x := range transposed(f, rows) {
			sum.of(f, x)
			f.FADD(total, total, x)
		}
		f.Op("SUBS $4, %v", left)
		f.Op("BNE values")
		f.Store(total, f.Parameter("sums"), 0)
		f.Op("RET")
	}
}
