package quant_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// TestColumnsQ40: every code is where a block of Q4_0 has it, on every instruction set.
func TestColumnsQ40(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 41).Draw(t, "columns")
		width := n + rapid.IntRange(0, 5).Draw(t, "more")
		stride := 18 + rapid.IntRange(0, 20).Draw(t, "gap")
		words := rapid.SliceOfN(rapid.Byte(), 16*width, 16*width).Draw(t, "words")
		d := rapid.SliceOfN(rapid.Uint16(), n, n).Draw(t, "scales")
		want := make([]byte, n*stride)
		for i := range n {
			binary.LittleEndian.PutUint16(want[i*stride:], d[i])
			for e := range 32 {
				code := binary.LittleEndian.Uint32(words[4*(e/8*width+i):]) >> (e % 8 * 4) & 15
				want[i*stride+2+e%16] |= byte(code << (e / 16 * 4))
			}
		}
		for _, tier := range isa.Available() {
			on(t, tier, func() {
				got := make([]byte, len(want))
				quant.ColumnsQ40(got, stride, d, words, width)
				require.Equal(t, want, got, tier)
			})
		}
	})
}
