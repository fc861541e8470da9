package quant_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// blocksOf returns plain blocks, where the type can be without importances, and
// weighted ones.
func blocksOf(t require.TestingT, typ gguf.Type, x, importance []float32) (plain, weighted []byte) {
	weighted = make([]byte, typ.RowBytes(int64(len(x))))
	require.NoError(t, quant.QuantizeWeighted(typ, weighted, x, len(x), importance))
	if !quant.NeedsImportance(typ) {
		plain = make([]byte, len(weighted))
		require.NoError(t, quant.Quantize(typ, plain, x))
	}
	return plain, weighted
}

// genericBlocksOf is blocksOf without kernels.
func genericBlocksOf(t require.TestingT, typ gguf.Type, x, importance []float32) (plain, weighted []byte) {
	tier := isa.Current()
	require.NoError(t, isa.Use(isa.Generic))
	plain, weighted = blocksOf(t, typ, x, importance)
	require.NoError(t, isa.Use(tier))
	return plain, weighted
}

// tieredTypes are those with kernels.
var tieredTypes = []gguf.Type{gguf.Q2_K, gguf.Q4_K, gguf.Q5_K}

func TestBlocksDoNotDependOnTheInstructionSet(t *testing.T) {
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
	}
	importances := map[string][]float32{
		"equal":  row(func(int) float64 { return 1 }),
		"skewed": row(func(int) float64 { return math.Exp(3 * rng.NormFloat64()) }),
		"zero":   make([]float32, n),
		"sparse": row(func(int) float64 { return float64(rng.IntN(2)) }),
		"huge":   row(func(int) float64 { return math.MaxFloat32 * rng.Float64() }),
		"bits":   row(bits),
	}
	isatest.ForEach(t, func(t *testing.T) {
		for _, typ := range tieredTypes {
			for rowName, x := range rows {
				for name, importance := range importances {
					wantPlain, wantWeighted := genericBlocksOf(t, typ, x, importance)
					gotPlain, gotWeighted := blocksOf(t, typ, x, importance)
					require.Equal(t, wantPlain, gotPlain, "%s, %s", typ, rowName)
					require.Equal(t, wantWeighted, gotWeighted, "%s, %s with importances %s", typ, rowName, name)
				}
			}
		}
	})
}

// FuzzBlocksDoNotDependOnTheInstructionSet takes two super-blocks from data, the
// bytes of which repeat.
func FuzzBlocksDoNotDependOnTheInstructionSet(f *testing.F) {
	f.Add([]byte{0})
	f.Add(bytesOf(ramp(67)))
	f.Add(bytesOf([]float32{1, -1, 0, 1e-15, 3e38, -3e38, 1e-40}))
	f.Add(bytesOf([]float32{1, 2, 3, float32(math.NaN()), float32(math.Inf(1))}))
	f.Fuzz(func(t *testing.T, data []byte) {
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
		before := isa.Current()
		defer func() { require.NoError(t, isa.Use(before)) }()
		for _, typ := range tieredTypes {
			wantPlain, wantWeighted := genericBlocksOf(t, typ, x, importance)
			for _, tier := range isa.Available() {
				require.NoError(t, isa.Use(tier))
				gotPlain, gotWeighted := blocksOf(t, typ, x, importance)
				require.Equal(t, wantPlain, gotPlain, "%s on %s", typ, tier)
				require.Equal(t, wantWeighted, gotWeighted, "%s with importances on %s", typ, tier)
			}
		}
	})
}
