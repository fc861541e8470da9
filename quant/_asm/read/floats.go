package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func readF32(r *reader) {
	for i := 0; i < 16; i += r.Width {
		VMOVUPS(r.Load(r.in(4*i)), r.out(i))
	}
}

func readF16(r *reader) {
	for i := 0; i < 16; i += r.Width {
		x := r.Vector()
		VCVTPH2PS(r.in(2*i), x)
		VMOVUPS(x, r.out(i))
	}
}

func readBF16(r *reader) {
	for i := 0; i < 16; i += r.Width {
		x := r.Vector()
		VPMOVZXWD(r.in(2*i), x)
		VPSLLD(U8(16), x, x)
		VMOVUPS(x, r.out(i))
	}
}
