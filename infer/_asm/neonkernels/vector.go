package main

import (
	"math"

	"github.com/ggufkit/ggufkit/quant/_asm/neon"
)

// exponential has the constants of kernel.exp, each repeated to fill a vector.
type exponential struct {
	*neon.Function
	low, log2E, rounder, ln2Hi, ln2Lo, one neon.Vector
	poly                                   []neon.Vector
}

func newExponential(f *neon.Function) exponential {
	float := func(v float32) neon.Vector { return f.Constant(math.Float32bits(v)) }
	e := exponential{
		Function: f,
		low:      float(-88), log2E: float(math.Log2E), rounder: float(3 << 22),
		ln2Hi: float(0.693359375), ln2Lo: float(-2.12194440e-4), one: float(1),
	}
	for _, v := range []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		e.poly = append(e.poly, float(v))
	}
	return e
}

// replace makes exp(x) of x.
func (e exponential) replace(x neon.Vector) {
	e.Scope(func() {
		t, n, p, next := e.Vector(), e.Vector(), e.poly[0], e.Vectors(2)
		e.FMAX(x, x, e.low) // a NaN stays
		e.ORR(t, e.rounder, e.rounder)
		e.FMLA(t, x, e.log2E)
		e.FSUB(n, t, e.rounder)
		e.FMLS(x, n, e.ln2Hi)
		e.FMLS(x, n, e.ln2Lo)
		for i, coefficient := range e.poly[1:] {
			sum := next[i%2]
			e.ORR(sum, coefficient, coefficient)
			e.FMLA(sum, p, x)
			p = sum
		}
		e.FMUL(n, x, x)
		e.FMLA(x, p, n)
		e.FADD(x, x, e.one)
		// The low bits of t are the exponent; those of 1.0 are the exponent's bias.
		e.SHL(neon.S4, t, t, 23)
		e.ADD(neon.S4, t, t, e.one)
		e.FMUL(x, x, t)
	})
}

// generateVector generates what package kernel has for expSumGeneric and
// siLUMulGeneric. Lengths are multiples of four, that of expSumNEON of sixteen.
func generateVector(file *neon.File) {
	f := file.Function("maxLanesNEON", "x *float32, n int, lanes *float32", "")
	x, n, lanes := f.Parameter("x"), f.Parameter("n"), f.Parameter("lanes")
	top, v := f.Vector(), f.Vector()
	f.Load(top, lanes, 0)
	f.Label("vector")
	f.Op("FMOVQ.P 16(%v), F%d", x, v)
	f.FMAX(top, top, v)
	f.Op("SUBS $4, %v", n)
	f.Op("BNE vector")
	f.Store(top, lanes, 0)
	f.Op("RET")

	f = file.Function("expSumNEON", "x *float32, n int, scale float32, top float32, lanes *float32", "")
	x, n, lanes = f.Parameter("x"), f.Parameter("n"), f.Parameter("lanes")
	scale, top, sums, v := f.Fill("scale"), f.Fill("top"), f.Vectors(4), f.Vector()
	e := newExponential(f)
	for i, sum := range sums {
		f.Load(sum, lanes, 16*i)
	}
	f.Label("vectors")
	for _, sum := range sums {
		f.Load(v, x, 0)
		f.FSUB(v, v, top)
		f.FMUL(v, v, scale)
		e.replace(v)
		f.FADD(sum, sum, v)
		f.Op("FMOVQ.P F%d, 16(%v)", v, x)
	}
	f.Op("SUBS $16, %v", n)
	f.Op("BNE vectors")
	for i, sum := range sums {
		f.Store(sum, lanes, 16*i)
	}
	f.Op("RET")

	f = file.Function("siLUMulNEON", "gate *float32, up *float32, n int", "")
	gate, up, n := f.Parameter("gate"), f.Parameter("up"), f.Parameter("n")
	sign, zero := f.Constant(1<<31), f.Vector()
	f.Zero(zero)
	g, u, v, above, below := f.Vector(), f.Vector(), f.Vector(), f.Vector(), f.Vector()
	e = newExponential(f)
	f.Label("vector")
	f.Load(g, gate, 0)
	f.Op("FMOVQ.P 16(%v), F%d", up, u)
	f.ORR(v, g, sign)
	e.replace(v)
	f.FMAX(above, g, zero)
	f.FMIN(below, g, zero)
	f.FMLA(above, below, v)
	f.FADD(v, v, e.one)
	f.FDIV(above, above, v)
	f.FMUL(above, above, u)
	f.Op("FMOVQ.P F%d, 16(%v)", above, gate)
	f.Op("SUBS $4, %v", n)
	f.Op("BNE vector")
	f.Op("RET")
}
