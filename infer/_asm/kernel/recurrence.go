package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Widths of what recurrences remember, in floats: kernel.panel and kernel.deltaPanel.
const (
	panel      = 16
	deltaPanel = 32
)

// addParam adds an integer parameter, times 4, to pointers.
func addParam(name string, pointers ...reg.Register) {
	stride := Load(Param(name), GP64())
	SHLQ(U8(2), stride)
	for _, p := range pointers {
		ADDQ(stride, p)
	}
}

func mulAdd(v isa) {
	start("mulAdd", "func(dst, x, w *float32, n int)", "adds x*w to dst. n is a multiple of the lanes.", v)
	dst, x, w, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("w"), GP64()), Load(Param("n"), GP64())
	loop(v, n, func() {
		sum, factor := v.vector(), v.vector()
		VMOVUPS(Mem{Base: dst}, sum)
		VMOVUPS(Mem{Base: x}, factor)
		VFMADD231PS(Mem{Base: w}, factor, sum)
		VMOVUPS(sum, Mem{Base: dst})
	}, dst, x, w)
	VZEROUPPER()
	RET()
}

func softplus(v isa, c constants) {
	start("softplus", "func(x *float32, n int)", "replaces x by ln(1+exp(x)). n is a multiple of the lanes.", v)
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	loop(v, n, func() {
		e, above, s, p, zero := v.vector(), v.vector(), v.vector(), v.vector(), v.vector()
		VMOVUPS(Mem{Base: x}, above)
		VORPS(c.sign, above, e)
		e = c.exp(e, v)
		VADDPS(c.two, e, s)
		VDIVPS(s, e, s)
		VMULPS(s, s, e)
		VMOVUPS(c.softplus[0], p)
		for _, coefficient := range c.softplus[1:] {
			VFMADD213PS(coefficient, e, p)
		}
		VXORPS(zero, zero, zero)
		VMAXPS(above, zero, above)
		VFMADD213PS(above, p, s)
		VMOVUPS(s, Mem{Base: x})
	}, x)
	VZEROUPPER()
	RET()
}

// mamba keeps what is remembered in memory: most of the time goes into exp.
func mamba(v isa, c constants) {
	start("mamba", "func(h, a, x, d, step, b, c *float32, xStride, stepStride, bStride, cStride, states, tokens int)",
		"takes a vector of channels through the recurrence of kernel.Mamba.", v)
	h, a, x := Load(Param("h"), GP64()), Load(Param("a"), GP64()), Load(Param("x"), GP64())
	d, step, b, cs := Load(Param("d"), GP64()), Load(Param("step"), GP64()), Load(Param("b"), GP64()), Load(Param("c"), GP64())
	tokens := Load(Param("tokens"), GP64())
	Label("token")
	CMPQ(tokens, U8(0))
	JLE(LabelRef("end"))
	steps, scaled, sum := v.vector(), v.vector(), v.vector()
	VMOVUPS(Mem{Base: step}, steps)
	VMOVUPS(Mem{Base: x}, scaled)
	VMULPS(Mem{Base: d}, scaled, sum)
	VMULPS(steps, scaled, scaled)
	at, n, states := GP64(), GP64(), Load(Param("states"), GP64())
	XORQ(n, n)
	XORQ(at, at)
	Label("state")
	e, remembered, factor := v.vector(), v.vector(), v.vector()
	VMULPS(Mem{Base: a, Index: at, Scale: 1}, steps, e)
	e = c.exp(e, v)
	VMULPS(Mem{Base: h, Index: at, Scale: 1}, e, remembered)
	VBROADCASTSS(Mem{Base: b, Index: n, Scale: 4}, factor)
	VFMADD231PS(factor, scaled, remembered)
	VMOVUPS(remembered, Mem{Base: h, Index: at, Scale: 1})
	VBROADCASTSS(Mem{Base: cs, Index: n, Scale: 4}, factor)
	VFMADD231PS(factor, remembered, sum)
	ADDQ(U8(4*panel), at)
	INCQ(n)
	CMPQ(n, states)
	JLT(LabelRef("state"))
	VMOVUPS(sum, Mem{Base: x})
	addParam("xStride", x)
	addParam("stepStride", step)
	addParam("bStride", b)
	addParam("cStride", cs)
	DECQ(tokens)
	JMP(LabelRef("token"))
	Label("end")
	VZEROUPPER()
	RET()
}

// mamba2 keeps some rows of what is remembered in registers for all tokens.
func mamba2(v isa, rows int) {
	start("mamba2", "func(h, y, x, b, c, step, decay *float32, yStride, xStride, bStride, cStride, stepStride, decayStride, tokens int)",
		"takes some states of a panel through the recurrence of kernel.Mamba2, and adds what comes of them to y.", v)
	h, y, x := Load(Param("h"), GP64()), Load(Param("y"), GP64()), Load(Param("x"), GP64())
	b, c, step, decay := Load(Param("b"), GP64()), Load(Param("c"), GP64()), Load(Param("step"), GP64()), Load(Param("decay"), GP64())
	tokens := Load(Param("tokens"), GP64())
	vectors := panel / v.width
	remembered := make([]reg.VecVirtual, rows*vectors)
	for i := range remembered {
		remembered[i] = v.vector()
		VMOVUPS(Mem{Base: h, Disp: 4 * v.width * i}, remembered[i])
	}
	Label("token")
	CMPQ(tokens, U8(0))
	JLE(LabelRef("end"))
	factor, kept := v.vector(), v.vector()
	scaled, sums := make([]reg.VecVirtual, vectors), make([]reg.VecVirtual, vectors)
	VBROADCASTSS(Mem{Base: step}, factor)
	VBROADCASTSS(Mem{Base: decay}, kept)
	for i := range vectors {
		scaled[i], sums[i] = v.vector(), v.vector()
		VMULPS(Mem{Base: x, Disp: 4 * v.width * i}, factor, scaled[i])
		VMOVUPS(Mem{Base: y, Disp: 4 * v.width * i}, sums[i])
	}
	for r := range rows {
		part := remembered[r*vectors:][:vectors]
		if v.width == panel {
			VMULPS(kept, part[0], part[0])
			VFMADD231PS_BCST(Mem{Base: b, Disp: 4 * r}, scaled[0], part[0])
			VFMADD231PS_BCST(Mem{Base: c, Disp: 4 * r}, part[0], sums[0])
			continue
		}
		VBROADCASTSS(Mem{Base: b, Disp: 4 * r}, factor)
		for i, h := range part {
			VMULPS(kept, h, h)
			VFMADD231PS(factor, scaled[i], h)
		}
		VBROADCASTSS(Mem{Base: c, Disp: 4 * r}, factor)
		for i, h := range part {
			VFMADD231PS(factor, h, sums[i])
		}
	}
	for i, sum := range sums {
		VMOVUPS(sum, Mem{Base: y, Disp: 4 * v.width * i})
	}
	addParam("yStride", y)
	addParam("xStride", x)
	addParam("bStride", b)
	addParam("cStride", c)
	addParam("stepStride", step)
	addParam("decayStride", decay)
	DECQ(tokens)
	JMP(LabelRef("token"))
	Label("end")
	for i, r := range remembered {
		VMOVUPS(r, Mem{Base: h, Disp: 4 * v.width * i})
	}
	VZEROUPPER()
	RET()
}

// deltaVectors is how many vectors of a row the kernels of the delta rule compute with.
const deltaVectors = 2

// deltaResult has sums of rows of even and of odd numbers, so that no addition waits for the one before.
func deltaResult(v isa) {
	start("deltaResult", "func(s, key, query, value, u, out *float32, rows int, beta, decay, match float32)",
		"sets two vectors of u and out as kernel.deltaResultGeneric does. rows is even.", v)
	s, key, query := Load(Param("s"), GP64()), Load(Param("key"), GP64()), Load(Param("query"), GP64())
	value, u, out := Load(Param("value"), GP64()), Load(Param("u"), GP64()), Load(Param("out"), GP64())
	rows := Load(Param("rows"), GP64())
	var sums [2][2][deltaVectors]reg.VecVirtual // of even and odd rows, with key and query
	for parity := range sums {
		for i := range deltaVectors {
			for of := range sums[parity] {
				sum := v.vector()
				VXORPS(sum, sum, sum)
				sums[parity][of][i] = sum
			}
		}
	}
	Label("rows")
	CMPQ(rows, U8(0))
	JLE(LabelRef("end"))
	for parity := range sums {
		factors := [2]reg.VecVirtual{v.vector(), v.vector()}
		VBROADCASTSS(Mem{Base: key, Disp: 4 * parity}, factors[0])
		VBROADCASTSS(Mem{Base: query, Disp: 4 * parity}, factors[1])
		for i := range deltaVectors {
			row := v.vector()
			VMOVUPS(Mem{Base: s, Disp: 4*deltaPanel*parity + 4*v.width*i}, row)
			for of, factor := range factors {
				VFMADD231PS(row, factor, sums[parity][of][i])
			}
		}
	}
	ADDQ(U32(2*4*deltaPanel), s)
	ADDQ(U8(8), key)
	ADDQ(U8(8), query)
	SUBQ(U8(2), rows)
	JMP(LabelRef("rows"))
	Label("end")
	gates := [3]reg.VecVirtual{v.vector(), v.vector(), v.vector()}
	for i, gate := range gates {
		VBROADCASTSS(NewParamAddr([]string{"beta", "decay", "match"}[i], 56+4*i), gate)
	}
	beta, decay, match := gates[0], gates[1], gates[2]
	for i := range deltaVectors {
		r, q, result := sums[0][0][i], sums[0][1][i], v.vector()
		VADDPS(sums[1][0][i], r, r)
		VADDPS(sums[1][1][i], q, q)
		VMOVUPS(Mem{Base: value, Disp: 4 * v.width * i}, result)
		VFNMADD231PS(decay, r, result)
		VMULPS(beta, result, result)
		VMOVUPS(result, Mem{Base: u, Disp: 4 * v.width * i})
		VMULPS(decay, q, q)
		VFMADD231PS(match, result, q)
		VMOVUPS(q, Mem{Base: out, Disp: 4 * v.width * i})
	}
	VZEROUPPER()
	RET()
}

func deltaUpdate(v isa) {
	start("deltaUpdate", "func(s, key, u *float32, rows int, decay float32)",
		"multiplies two vectors of each row of s with decay and adds an element of key times u.", v)
	s, key, u, rows := Load(Param("s"), GP64()), Load(Param("key"), GP64()), Load(Param("u"), GP64()), Load(Param("rows"), GP64())
	decay := v.vector()
	VBROADCASTSS(NewParamAddr("decay", 32), decay)
	var us [deltaVectors]reg.VecVirtual
	for i := range us {
		us[i] = v.vector()
		VMOVUPS(Mem{Base: u, Disp: 4 * v.width * i}, us[i])
	}
	Label("rows")
	CMPQ(rows, U8(0))
	JLE(LabelRef("end"))
	factor := v.vector()
	VBROADCASTSS(Mem{Base: key}, factor)
	for i := range us {
		at, row := Mem{Base: s, Disp: 4 * v.width * i}, v.vector()
		VMULPS(at, decay, row)
		VFMADD231PS(us[i], factor, row)
		VMOVUPS(row, at)
	}
	ADDQ(U32(4*deltaPanel), s)
	ADDQ(U8(4), key)
	DECQ(rows)
	JMP(LabelRef("rows"))
	Label("end")
	VZEROUPPER()
	RET()
}
