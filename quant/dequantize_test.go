package quant_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// requireSameValues requires of every instruction set the values, to the last bit
// of a NaN, that generic Go reads from blocks.
func requireSameValues(t require.TestingT, typ gguf.Type, blocks []byte) {
	read := func() []byte { return bytesOf(dequantize(t, typ, blocks)) }
	var want []byte
	on(t, isa.Generic, func() { want = read() })
	for _, tier := range isa.Available()[1:] {
		on(t, tier, func() { require.Equal(t, want, read(), "%s on %s", typ, tier) })
	}
}

// specialHalves are F16 and BF16 numbers that are not finite, or nearly so, and
// some next to zero.
var specialHalves = []uint16{
	0x7c00, 0xfc00, 0x7c01, 0xfc01, 0x7dff, 0xfe00, 0x7e00, 0xffff, 0x7fff, 0x7e2a, 0xfd55, // F16
	0x7f80, 0xff80, 0x7f81, 0xffc0, 0x7f7f, // BF16, and the upper half of F32
	0x7bff, 0xfbff, 0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x0400,
}

func TestValuesDoNotDependOnTheInstructionSet(t *testing.T) {
	skipLong(t)
	forEachType(t, func(t *testing.T, typ gguf.Type) {
		rng := rand.New(rand.NewPCG(5, uint64(typ)))
		random := func(blocks int) []byte {
			b := make([]byte, blocks*typ.BlockBytes())
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return b
		}
		for blocks := range 70 {
			requireSameValues(t, typ, random(blocks))
		}
		// Wherever numbers are in a block, special ones come to be there, and to
		// be next to each other.
		for at := range typ.BlockBytes() - 1 {
			for _, special := range specialHalves {
				b := random(17)
				for block := 1; block < 17; block += 1 + rng.IntN(5) {
					b := b[block*typ.BlockBytes():]
					binary.LittleEndian.PutUint16(b[at:], special)
					if other := at + 2; other+2 <= typ.BlockBytes() && rng.IntN(2) == 0 {
						binary.LittleEndian.PutUint16(b[other:], specialHalves[rng.IntN(len(specialHalves))])
					}
				}
				requireSameValues(t, typ, b)
			}
		}
	})
	all := make([]byte, 2<<16)
	for bits := range 1 << 16 {
		binary.LittleEndian.PutUint16(all[2*bits:], uint16(bits))
	}
	requireSameValues(t, gguf.F16, all)
	requireSameValues(t, gguf.BF16, all)
}

// FuzzValuesDoNotDependOnTheInstructionSet takes any blocks there are.
func FuzzValuesDoNotDependOnTheInstructionSet(f *testing.F) {
	for i, c := range types {
		f.Add(uint8(i), quantize(f, c.typ, ramp(512)))
	}
	f.Fuzz(func(t *testing.T, number uint8, data []byte) {
		typ := types[int(number)%len(types)].typ
		requireSameValues(t, typ, data[:min(len(data), 4096)/typ.BlockBytes()*typ.BlockBytes()])
	})
}
