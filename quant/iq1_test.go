package quant_test

import (
	"math/rand/v2"
	"testing"

	"github.com/ggufkit/ggufkit/gguf"
)

// TestIQ1TakesTheSameOfAlmostEqualCuts has rows where many pairs of cuts are about as
// good as the best one, of which a vector must leave none out.
func TestIQ1TakesTheSameOfAlmostEqualCuts(t *testing.T) {
	skipLong(t)
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 20 * 256
	row := func(value func() float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(value())
		}
		return x
	}
	levels := []float64{-0.875, 0.125, 1.125}
	rows := map[string][]float32{
		"three values":       row(func() float64 { return float64(rng.IntN(3) - 1) }),
		"about three values": row(func() float64 { return float64(rng.IntN(3)-1) + 1e-6*rng.NormFloat64() }),
		"about levels":       row(func() float64 { return levels[rng.IntN(3)] + 1e-7*float64(rng.IntN(9)) }),
		"negative levels":    row(func() float64 { return -levels[rng.IntN(3)] }),
		"about the same":     row(func() float64 { return 1 + 1e-5*rng.NormFloat64() }),
		"mostly zero":        row(func() float64 { return float64(rng.IntN(8) / 7) }),
		"mostly about zero":  row(func() float64 { return 1e-6*rng.NormFloat64() + float64(rng.IntN(8)/7) }),
		"negative":           row(func() float64 { return -rng.Float64() }),
	}
	importances := map[string][]float32{
		"equal":       row(func() float64 { return 1 }),
		"sparse":      row(func() float64 { return float64(rng.IntN(2)) }),
		"almost none": row(func() float64 { return float64(rng.IntN(4)) * 1e-8 }),
		"any":         row(rng.ExpFloat64),
	}
	for _, typ := range []gguf.Type{gguf.IQ1_S, gguf.IQ1_M} {
		t.Run(typ.String(), func(t *testing.T) {
			for rowName, x := range rows {
				for name, importance := range importances {
					requireSameOnAllTiers(t, typ, x, importance, rowName+", importances "+name)
				}
			}
		})
	}
}
