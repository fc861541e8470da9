package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// dotStep is kernel.dotStep.
const dotStep = 64

// generateDot generates kernel.dotLanesGeneric and kernel.addScaledGeneric for
// multiples of dotStep.
func generateDot(file *neon.File) {
	f := file.Function("dotLanesNEON", "a *float32, b *float32, n int, lanes *float32", "")
	a, b, n, lanes := f.Parameter("a"), f.Parameter("b"), f.Parameter("n"), f.Parameter("lanes")
	sums := zeros(f, dotStep/4)
	f.Label("step")
	for i := 0; i < len(sums); i += 2 {
		f.Scope(func() {
			x, y := f.Vectors(2), f.Vectors(2)
			f.LoadPair(x[0], x[1], a, 16*i)
			f.LoadPair(y[0], y[1], b, 16*i)
			f.FMLA(sums[i], x[0], y[0])
			f.FMLA(sums[i+1], x[1], y[1])
		})
	}
	f.Op("ADD $%d, %v", 4*dotStep, a)
	f.Op("ADD $%d, %v", 4*dotStep, b)
	f.Op("SUBS $%d, %v", dotStep, n)
	f.Op("BNE step")
	for i := 0; i < len(sums); i += 2 {
		f.StorePair(sums[i], sums[i+1], lanes, 16*i)
	}
	f.Op("RET")

	f = file.Function("addScaledNEON", "dst *float32, x *float32, n int, factor float32", "")
	dst, x, n := f.Parameter("dst"), f.Parameter("x"), f.Parameter("n")
	factor := f.Fill("factor")
	f.Label("step")
	for i := 0; i < dotStep/4; i += 2 {
		f.Scope(func() {
			d, v := f.Vectors(2), f.Vectors(2)
			f.LoadPair(d[0], d[1], dst, 16*i)
			f.LoadPair(v[0], v[1], x, 16*i)
			f.FMLA(d[0], v[0], factor)
			f.FMLA(d[1], v[1], factor)
			f.StorePair(d[0], d[1], dst, 16*i)
		})
	}
	f.Op("ADD $%d, %v", 4*dotStep, dst)
	f.Op("ADD $%d, %v", 4*dotStep, x)
	f.Op("SUBS $%d, %v", dotStep, n)
	f.Op("BNE step")
	f.Op("RET")
}
