package quant_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// skipLong skips, in a short run, a test of codecs that takes long. It is of one
// goroutine: TestCodecsAreSafeForConcurrentUse and those of views are of many.
func skipLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long, in one goroutine")
	}
}

// on calls f with the instruction set of tier.
func on(t require.TestingT, tier isa.Tier, f func()) {
	before := isa.Current()
	require.NoError(t, isa.Use(tier))
	defer func() { require.NoError(t, isa.Use(before)) }()
	f()
}

// requireSameOnAllTiers requires of every instruction set the blocks, and what
// they are read as, of generic Go. Without importances, there is nothing to require
// of a type that needs them.
func requireSameOnAllTiers(t require.TestingT, typ gguf.Type, x, importance []float32, doc string) {
	if importance == nil && quant.NeedsImportance(typ) {
		return
	}
	made := func() []byte {
		blocks := make([]byte, typ.RowBytes(int64(len(x))))
		require.NoError(t, quant.Quantize(typ, blocks, x, len(x), importance))
		return blocks
	}
	var want []byte
	on(t, isa.Generic, func() { want = made() })
	for _, tier := range isa.Available()[1:] {
		on(t, tier, func() { require.Equal(t, want, made(), "%s on %s, %s", typ, tier, doc) })
	}
	requireSameValues(t, typ, want)
}

// quantizableTypes are those with a codec that writes.
func quantizableTypes() []gguf.Type {
	var types []gguf.Type
	for typ := range gguf.Types() {
		if quant.CanQuantize(typ) {
			types = append(types, typ)
		}
	}
	return types
}

func TestBlocksDoNotDependOnTheInstructionSet(t *testing.T) {
	skipLong(t)
	rng := rand.New(rand.NewPCG(4, 2))
	const n = 5 * 256 // an odd number, as vectors may take two at a time
	row := func(value func(i int) float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(value(i))
		}
		return x
	}
	bits := func(int) float64 { return float64(math.Float32frombits(rng.Uint32())) }
	normal := func(int) float64 { return rng.NormFloat64() }
	with := func(rare float64, values ...float64) func(int) float64 {
		return func(int) float64 {
			if rng.Float64() < rare {
				return values[rng.IntN(len(values))]
			}
			return rng.NormFloat64()
		}
	}
	negativeZero := math.Copysign(0, -1)
	rows := map[string][]float32{
		"normal":           row(normal),
		"small":            row(func(int) float64 { return rng.NormFloat64() * 0x1p-100 }),
		"heavy tails":      row(func(int) float64 { return math.Pow(rng.NormFloat64(), 7) }),
		"zero":             make([]float32, n),
		"zeros":            row(with(0.9, 0, negativeZero)),
		"constant":         row(func(int) float64 { return -2.5 }),
		"steps":            row(func(i int) float64 { return float64(i / 16 % 7) }),
		"positive":         row(func(int) float64 { return 1 + rng.Float64() }),
		"negative":         row(func(int) float64 { return -1 - rng.Float64() }),
		"integers":         row(func(int) float64 { return float64(rng.IntN(7) - 3) }),
		"denormal":         row(func(int) float64 { return rng.NormFloat64() * 0x1p-140 }),
		"huge":             row(func(int) float64 { return math.MaxFloat32 * (2*rng.Float64() - 1) }),
		"squares overflow": row(func(int) float64 { return rng.NormFloat64() * 0x1p66 }),
		"NaN":              row(with(0.002, math.NaN())),
		"Inf":              row(with(0.002, math.Inf(1), math.Inf(-1))),
		"bits":             row(bits),
		"signs of zero":    row(with(1, 0, negativeZero)),
	}
	importances := map[string][]float32{
		"none":   nil,
		"equal":  row(func(int) float64 { return 1 }),
		"skewed": row(func(int) float64 { return math.Exp(3 * rng.NormFloat64()) }),
		"zero":   make([]float32, n),
		"sparse": row(func(int) float64 { return float64(rng.IntN(2)) }),
		"huge":   row(func(int) float64 { return math.MaxFloat32 * rng.Float64() }),
		"bits":   row(bits),
	}
	for _, typ := range quantizableTypes() {
		t.Run(typ.String(), func(t *testing.T) {
			for rowName, x := range rows {
				for name, importance := range importances {
					requireSameOnAllTiers(t, typ, x, importance, rowName+", importances "+name)
				}
			}
		})
	}
}

// TestAnyNumberOfBlocks is for what is left where vectors take several blocks at a
// time.
func TestAnyNumberOfBlocks(t *testing.T) {
	skipLong(t)
	rng := rand.New(rand.NewPCG(5, 3))
	for _, typ := range quantizableTypes() {
		t.Run(typ.String(), func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 33} {
				x := make([]float32, n*typ.BlockSize())
				importance := make([]float32, len(x))
				for i := range x {
					x[i], importance[i] = float32(rng.NormFloat64()), float32(rng.ExpFloat64())
				}
				requireSameOnAllTiers(t, typ, x, nil, fmt.Sprint(n, " blocks"))
				requireSameOnAllTiers(t, typ, x, importance, fmt.Sprint(n, " blocks with importances"))
			}
		})
	}
}

// TestTies is for values halfway between two integers or levels, and next to
// there: the scale makes integers and halves of many values of a block with the
// peaks here.
func TestTies(t *testing.T) {
	skipLong(t)
	rng := rand.New(rand.NewPCG(6, 4))
	var x []float32
	for _, peak := range []float32{127, 8, 16, 15, 31, 6, 12, 0.5, 1} {
		for _, sign := range []float32{1, -1} {
			block := make([]float32, 2*256)
			for i := range block {
				v := peak * float32(rng.IntN(509)-254) / 254 // halves for 127
				if rng.IntN(2) == 0 {
					v = float32(math.Round(4*float64(v)) / 4)
				}
				for range rng.IntN(3) {
					v = math.Nextafter32(v, peak*float32(1-2*rng.IntN(2)))
				}
				if i%16 == 0 {
					v = peak * sign
				}
				block[i] = v
			}
			x = append(x, block...)
		}
	}
	importance := slices.Repeat([]float32{1, 0.25, 2, 0.5}, len(x)/4)
	for _, typ := range quantizableTypes() {
		requireSameOnAllTiers(t, typ, x, nil, "ties")
		requireSameOnAllTiers(t, typ, x, importance, "ties with importances")
	}
}

// TestExponentsOfMXFP4 has blocks with the largest magnitude next to each power
// of two, where the logarithm may round to it.
func TestExponentsOfMXFP4(t *testing.T) {
	skipLong(t)
	rng := rand.New(rand.NewPCG(7, 5))
	for exponent := range uint32(256) {
		const around = 100
		x := make([]float32, 2*around*32)
		for i := range x {
			x[i] = math.Float32frombits(max(1, exponent)<<23) * float32(2*rng.Float64()-1) / 2
			if i%32 == 0 {
				x[i] = math.Float32frombits(min(0x7f7fffff, max(around, exponent<<23)-around+uint32(i/32)))
			}
		}
		requireSameOnAllTiers(t, gguf.MXFP4, x, nil, fmt.Sprint("exponent ", exponent))
	}
}

// FuzzBlocksDoNotDependOnTheInstructionSet takes two super-blocks from data, the
// bytes of which repeat.
func FuzzBlocksDoNotDependOnTheInstructionSet(f *testing.F) {
	types := quantizableTypes()
	for i := range types {
		f.Add(uint8(i), []byte{0})
		f.Add(uint8(i), bytesOf(ramp(67)))
		f.Add(uint8(i), bytesOf([]float32{1, -1, 0, 1e-15, 3e38, -3e38, 1e-40}))
		f.Add(uint8(i), bytesOf([]float32{1, 2, 3, float32(math.NaN()), float32(math.Inf(1))}))
	}
	f.Fuzz(func(t *testing.T, number uint8, data []byte) {
		if len(data) == 0 {
			return
		}
		repeated := make([]byte, 4*512)
		for i := range repeated {
			repeated[i] = data[i%len(data)]
		}
		x := floatsOf(repeated)
		importance := make([]float32, len(x))
		for i, v := range x {
			importance[len(x)-1-i] = float32(math.Abs(float64(v)))
		}
		typ := types[int(number)%len(types)]
		requireSameOnAllTiers(t, typ, x, nil, "fuzzed")
		requireSameOnAllTiers(t, typ, x, importance, "fuzzed with importances")
	})
}

func TestRowsWithImportancesAreQuantizedAsIfAlone(t *testing.T) {
	skipLong(t)
	rng := rand.New(rand.NewPCG(5, 1))
	const rowLen, rows = 17 * 256, 19
	x, importance := make([]float32, rows*rowLen), make([]float32, rowLen)
	special := func() float32 { return math.Float32frombits(rng.Uint32() | 0x7f000000) } // or huge
	for i := range x {
		x[i] = float32(rng.NormFloat64() * math.Exp2(float64(i/rowLen)))
		if i/rowLen%2 == 0 && rng.IntN(50) == 0 {
			x[i] = special()
		}
	}
	for i := range importance {
		importance[i] = float32(rng.ExpFloat64())
		if rng.IntN(50) == 0 {
			importance[i] = special()
		}
	}
	for _, typ := range quantizableTypes() {
		t.Run(typ.String(), func(t *testing.T) {
			rowBytes := int(typ.RowBytes(rowLen))
			alone := make([]byte, rows*rowBytes)
			on(t, isa.Generic, func() {
				for r := range rows {
					require.NoError(t, quant.Quantize(typ, alone[r*rowBytes:][:rowBytes], x[r*rowLen:][:rowLen], rowLen, importance))
				}
			})
			for _, tier := range isa.Available() {
				on(t, tier, func() {
					together := make([]byte, rows*rowBytes)
					require.NoError(t, quant.Quantize(typ, together, x, rowLen, importance))
					require.Equal(t, alone, together, tier)
				})
			}
		})
	}
}

// TestBoundariesOfLevelsDoNotDependOnTheInstructionSet quantizes values some of which
// are, but for rounding errors, where a candidate scale of a grid type changes the level.
func TestBoundariesOfLevelsDoNotDependOnTheInstructionSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 3))
	x, importance := make([]float32, 64*256), make([]float32, 64*256)
	for i := range x {
		const peak = 30
		x[i] = float32(math.Min(math.Abs(10*rng.NormFloat64()), peak))
		switch {
		case i%16 == 0:
			x[i] = peak
		case rng.IntN(4) == 0:
			x[i] = float32(2 * peak / (5 + 0.1*float64(rng.IntN(19)-9)))
		}
		importance[i] = 1 + rng.Float32()
	}
	for _, typ := range []gguf.Type{gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ3_XXS, gguf.IQ3_S} {
		requireSameOnAllTiers(t, typ, x, importance, "boundaries")
	}
}
