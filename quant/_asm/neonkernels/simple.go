package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// generateSimple generates the quantizers that take the scale of a block from its
// extremes. They do up to the first block that has values which are not finite,
// or so small that the reciprocal of the scale is not, and return how many.
func generateSimple(file *neon.File) {
	for _, format := range []struct {
		name  string
		bytes int
		write func(w *writer)
	}{
		{"Q40", 18, writeQ40},
		{"Q41", 20, writeQ41},
		{"Q50", 22, writeQ50},
		{"Q51", 24, writeQ51},
		{"Q80", 34, writeQ80},
	} {
		f := file.Function("quantize"+format.name+"NEON", "dst *byte, src *float32, blocks int", "done int")
		w := &writer{Function: f, dst: f.Parameter("dst"), src: f.Parameter("src")}
		blocks, done := f.Parameter("blocks"), f.Register()
		w.infinity, w.one = f.Vector(), f.Vector()
		f.Number(w.one, 1)
		f.Scope(func() {
			bits := f.Register()
			f.Op("MOVD $0x7f800000, %v", bits)
			f.Op("FMOVS %v, F%d", bits, w.infinity)
		})
		f.Op("MOVD ZR, %v", done)
		f.Label("block")
		f.Scope(func() { format.write(w) })
		f.Op("ADD $128, %v", w.src)
		f.Op("ADD $%d, %v", format.bytes, w.dst)
		f.Op("ADD $1, %v", done)
		f.Op("CMP %v, %v", blocks, done)
		f.Op("BNE block")
		f.Label("end")
		f.Return("done", done)
	}
	generateHalves(file)
}

// writer quantizes a block.
type writer struct {
	*neon.Function
	dst, src      neon.Register
	infinity, one neon.Vector
}

func (w *writer) load() []neon.Vector {
	x := w.Vectors(8)
	for i := 0; i < 8; i += 2 {
		w.LoadPair(x[i], x[i+1], w.src, 16*i)
	}
	return x
}

// reduce combines all x in element 0 of d, with across for the elements of a vector.
func (w *writer) reduce(d neon.Vector, x []neon.Vector, op func(d, n, m neon.Vector), across func(d, n neon.Vector)) {
	w.Scope(func() {
		t := w.Vectors(4)
		for i := range t {
			op(t[i], x[2*i], x[2*i+1])
		}
		op(t[0], t[0], t[1])
		op(t[2], t[2], t[3])
		op(t[0], t[0], t[2])
		across(d, t[0])
	})
}

// leaveUnlessFinite ends where the magnitude of element 0 of v is not less than
// infinity.
func (w *writer) leaveUnlessFinite(v neon.Vector) {
	w.Scope(func() {
		magnitude := w.Vector()
		w.Op("FABSS F%d, F%d", v, magnitude)
		w.Op("FCMPS F%d, F%d", w.infinity, magnitude)
		w.Op("BPL end") // not less, or NaN
	})
}

// putScale stores d as binary16 and returns its reciprocal, or 0 for 0.
func (w *writer) putScale(d neon.Vector) neon.Vector {
	inverse := w.Vector()
	w.Scope(func() {
		half, bits := w.Vector(), w.Register()
		w.Op("FDIVS F%d, F%d, F%d", d, w.one, inverse)
		w.Op("FCMPS $(0.0), F%d", d)
		w.Op("FCSELS EQ, F%d, F%d, F%d", d, inverse, inverse)
		w.leaveUnlessFinite(inverse)
		w.Op("FCVTSH F%d, F%d", d, half)
		w.Op("FMOVS F%d, %v", half, bits)
		w.Op("MOVH %v, (%v)", bits, w.dst)
	})
	return inverse
}

// narrow makes bytes of the low bits of eight vectors.
func (w *writer) narrow(x []neon.Vector) (low, high neon.Vector) {
	for i := 0; i < 8; i += 2 {
		w.UZP1(neon.H8, x[i], x[i], x[i+1])
	}
	w.UZP1(neon.B16, x[0], x[0], x[2])
	w.UZP1(neon.B16, x[4], x[4], x[6])
	return x[0], x[4]
}

func writeQ80(w *writer) {
	x, d := w.load(), w.Vector()
	w.Scope(func() {
		magnitudes := w.Vectors(8)
		for i := range x {
			w.FABS(magnitudes[i], x[i])
		}
		w.reduce(d, magnitudes, w.FMAX, w.FMAXV)
		w.leaveUnlessFinite(d)
		levels := w.Vector()
		w.Number(levels, 127)
		w.Op("FDIVS F%d, F%d, F%d", levels, d, d)
	})
	inverse := w.putScale(d)
	for _, x := range x {
		w.FMULElement(x, x, inverse, 0)
		w.FCVTAS(x, x)
	}
	low, high := w.narrow(x)
	w.Store(low, w.dst, 2)
	w.Store(high, w.dst, 18)
}

// extreme puts the value of largest magnitude in x, the first of several, into d.
func (w *writer) extreme(d neon.Vector, x []neon.Vector) {
	w.Scope(func() {
		least, magnitude, value := w.Vector(), w.Vector(), w.Vector()
		w.reduce(d, x, w.FMAX, w.FMAXV)
		w.reduce(least, x, w.FMIN, w.FMINV)
		w.leaveUnlessFinite(d)
		w.leaveUnlessFinite(least)
		w.Op("FNEGS F%d, F%d", least, magnitude)
		w.Op("FCMPS F%d, F%d", magnitude, d)
		w.Op("FCSELS MI, F%d, F%d, F%d", least, d, d)
		w.Op("BNE extreme")
		w.Comment("Of two extremes, the first one counts. A zero counts as +0.")
		next := w.Register()
		w.Op("MOVD %v, %v", w.src, next)
		w.Label("search")
		w.Op("FMOVS.P 4(%v), F%d", next, d)
		w.Op("FABSS F%d, F%d", d, value)
		w.Op("FCMPS F%d, F%d", magnitude, value)
		w.Op("BNE search")
		w.Zero(value)
		w.Op("FADDS F%d, F%d, F%d", value, d, d)
		w.Label("extreme")
	})
}

// truncate adds offset to the values times inverse, makes integers of them, and
// limits these to most. Those of what is next to 0 are 0, whatever its sign.
func (w *writer) truncate(x []neon.Vector, inverse neon.Vector, offset float32, most int) (low, high neon.Vector) {
	w.Scope(func() {
		add := w.Vector()
		w.Number(add, offset)
		w.DUP(add, add, 0)
		for _, x := range x {
			w.FMULElement(x, x, inverse, 0)
			w.FADD(x, x, add)
			w.FCVTZS(x, x)
		}
	})
	low, high = w.narrow(x)
	w.Scope(func() {
		limit := w.Vector()
		w.Op("VMOVI $%d, V%d.B16", most, limit)
		w.UMIN(neon.B16, low, low, limit)
		w.UMIN(neon.B16, high, high, limit)
	})
	return low, high
}

// putNibbles stores bits 0 to 3.
func (w *writer) putNibbles(offset int, low, high neon.Vector) {
	w.SLI(neon.B16, low, high, 4)
	w.Store(low, w.dst, offset)
}

// putFifthBits stores bit 4 of all integers.
func (w *writer) putFifthBits(offset int, low, high neon.Vector) {
	w.Scope(func() {
		fifth, single, bits := w.Vector(), w.Bytes(0x8040201008040201, 0x8040201008040201), w.Vectors(2)
		w.Op("VMOVI $16, V%d.B16", fifth)
		for i, q := range []neon.Vector{low, high} {
			w.Op("VCMTST V%d.B16, V%d.B16, V%d.B16", fifth, q, bits[i])
			w.AND(bits[i], bits[i], single)
		}
		// Each time, sums of pairs: in the end, of what is in eight bytes.
		w.Op("VADDP V%d.B16, V%d.B16, V%d.B16", bits[1], bits[0], bits[0])
		w.Op("VADDP V%d.B16, V%d.B16, V%d.B16", bits[0], bits[0], bits[0])
		w.Op("VADDP V%d.B16, V%d.B16, V%d.B16", bits[0], bits[0], bits[0])
		w.Op("FMOVS F%d, %d(%v)", bits[0], offset, w.dst)
	})
}

// writeExtreme quantizes with d such that the extreme value becomes -n/2 exactly.
func (w *writer) writeExtreme(n int) (low, high neon.Vector) {
	x, d := w.load(), w.Vector()
	w.extreme(d, x)
	w.Scope(func() {
		share := w.Vector()
		w.Number(share, -2/float32(n))
		w.Op("FMULS F%d, F%d, F%d", share, d, d)
	})
	return w.truncate(x, w.putScale(d), float32(n)/2+0.5, n-1)
}

func writeQ40(w *writer) {
	low, high := w.writeExtreme(16)
	w.putNibbles(2, low, high)
}

func writeQ50(w *writer) {
	low, high := w.writeExtreme(32)
	w.putFifthBits(2, low, high)
	w.putNibbles(6, low, high)
}

// writeRange quantizes with d such that the range of the values has n steps, and
// stores the minimum as well. It leaves a minimum of 0 to generic Go, as the sign
// of the first one counts.
func (w *writer) writeRange(n int) (low, high neon.Vector) {
	x, least, d := w.load(), w.Vector(), w.Vector()
	w.reduce(d, x, w.FMAX, w.FMAXV)
	w.reduce(least, x, w.FMIN, w.FMINV)
	w.leaveUnlessFinite(d)
	w.leaveUnlessFinite(least)
	w.Op("FCMPS $(0.0), F%d", least)
	w.Op("BEQ end")
	w.Op("FSUBS F%d, F%d, F%d", least, d, d)
	w.Scope(func() {
		levels, half, bits := w.Vector(), w.Vector(), w.Register()
		w.Number(levels, float32(n))
		w.Op("FDIVS F%d, F%d, F%d", levels, d, d)
		w.Op("FCVTSH F%d, F%d", least, half)
		w.Op("FMOVS F%d, %v", half, bits)
		w.Op("MOVH %v, 2(%v)", bits, w.dst)
	})
	inverse := w.putScale(d)
	w.DUP(least, least, 0)
	for _, x := range x {
		w.FSUB(x, x, least)
	}
	return w.truncate(x, inverse, 0.5, n)
}

func writeQ41(w *writer) {
	low, high := w.writeRange(15)
	w.putNibbles(4, low, high)
}

func writeQ51(w *writer) {
	low, high := w.writeRange(31)
	w.putFifthBits(4, low, high)
	w.putNibbles(8, low, high)
}

// generateHalves generates the quantizers to F16 and BF16, of any 16 values at a
// time.
func generateHalves(file *neon.File) {
	for _, format := range []struct {
		name    string
		convert func(f *neon.Function) func(x [2]neon.Vector)
	}{
		{"F16", toF16},
		{"BF16", toBF16},
	} {
		f := file.Function("quantize"+format.name+"NEON", "dst *byte, src *float32, blocks int", "")
		dst, src, left := f.Parameter("dst"), f.Parameter("src"), f.Parameter("blocks")
		convert := format.convert(f)
		f.Label("block")
		x := [2][2]neon.Vector{{f.Vector(), f.Vector()}, {f.Vector(), f.Vector()}}
		for i, x := range x {
			f.LoadPair(x[0], x[1], src, 32*i)
			f.Scope(func() { convert(x) })
		}
		f.StorePair(x[0][0], x[1][0], dst, 0)
		f.Op("ADD $64, %v", src)
		f.Op("ADD $32, %v", dst)
		f.Op("SUBS $1, %v", left)
		f.Op("BNE block")
		f.Op("RET")
	}
}

// toF16 returns what makes eight half-precision numbers of x, in the first of both.
// Every NaN becomes the same one but for its sign.
func toF16(f *neon.Function) func(x [2]neon.Vector) {
	sign, nan := f.Constant(0x8000_8000), f.Constant(0x7e00_7e00)
	return func(x [2]neon.Vector) {
		half, number := f.Vector(), f.Vectors(2)
		f.FCVTN(half, x[0])
		f.FCVTN2(half, x[1])
		for i, x := range x {
			f.FCMEQ(number[i], x, x)
		}
		f.UZP1(neon.H8, number[0], number[0], number[1])
		f.AND(x[0], half, sign)
		f.ORR(x[0], x[0], nan)
		f.BIT(x[0], half, number[0])
	}
}

// toBF16 returns what makes eight bfloat16 numbers of x, in the first of both.
func toBF16(f *neon.Function) func(x [2]neon.Vector) {
	one, round, quiet := f.Constant(1), f.Constant(0x7fff), f.Constant(1<<22)
	return func(x [2]neon.Vector) {
		for _, x := range x {
			f.Scope(func() {
				number, rounded := f.Vector(), f.Vector()
				f.FCMEQ(number, x, x)
				f.USHR(neon.S4, rounded, x, 16)
				f.AND(rounded, rounded, one)
				f.ADD(neon.S4, rounded, rounded, round)
				f.ADD(neon.S4, rounded, rounded, x)
				f.ORR(x, x, quiet)
				f.BIT(x, rounded, number)
			})
		}
		f.UZP2(neon.H8, x[0], x[0], x[1])
	}
}
