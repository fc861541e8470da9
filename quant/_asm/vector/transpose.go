package vector

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Transpose loads the first Width columns of Width rows, which are stride bytes
// apart, and calls use for each column in turn, with the rows in lanes.
func Transpose(v ISA, rows, stride reg.Register, use func(column int, values reg.VecVirtual)) {
	row := GP64()
	MOVQ(rows, row)
	// After two rounds, each 128 bits have four rows of a column: vector c of a
	// group has columns c, c + 4, c + 8 and c + 12.
	groups := make([][4]reg.VecVirtual, v.Width/4)
	for g := range groups {
		var r [4]reg.VecVirtual
		for i := range r {
			r[i] = v.Load(Mem{Base: row})
			ADDQ(stride, row)
		}
		low01, high01 := v.binary(VUNPCKLPS, r[0], r[1]), v.binary(VUNPCKHPS, r[0], r[1])
		low23, high23 := v.binary(VUNPCKLPS, r[2], r[3]), v.binary(VUNPCKHPS, r[2], r[3])
		groups[g] = [4]reg.VecVirtual{
			v.binary(VUNPCKLPD, low01, low23), v.binary(VUNPCKHPD, low01, low23),
			v.binary(VUNPCKLPD, high01, high23), v.binary(VUNPCKHPD, high01, high23),
		}
	}
	if !v.Masks {
		for half, select128 := range []uint8{0x20, 0x31} {
			for c := range 4 {
				r := v.Vector()
				VPERM2F128(U8(select128), groups[1][c], groups[0][c], r)
				use(4*half+c, r)
			}
		}
		return
	}
	const even, odd = 0x88, 0xdd // parts of 128 bits, of the left and then of the right operand
	shuffle := func(parts uint8, a, b Op) reg.VecVirtual {
		r := v.Vector()
		VSHUFF32X4(U8(parts), b, a, r)
		return r
	}
	var halves [2][4][2]reg.VecVirtual
	for c := range 4 {
		for i, parts := range []uint8{even, odd} {
			halves[i][c] = [2]reg.VecVirtual{shuffle(parts, groups[0][c], groups[1][c]), shuffle(parts, groups[2][c], groups[3][c])}
		}
	}
	for part := range 4 {
		for c := range 4 {
			h := halves[part%2][c]
			use(4*part+c, shuffle([]uint8{even, odd}[part/2], h[0], h[1]))
		}
	}
}
