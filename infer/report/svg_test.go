package report

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestTicksSpanTheAxis checks that ticks go from one end of an axis to the other,
// and that all values are between them.
func TestTicksSpanTheAxis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Float64Range(-1000, 1000).Draw(t, "low")
		high := low + rapid.Float64Range(1e-3, 1000).Draw(t, "range")
		a := newAxis(low, high, 80, 400)
		ticks := a.ticks()
		last := ticks[len(ticks)-1]
		require.LessOrEqual(t, ticks[0], low+1e-9)
		require.GreaterOrEqual(t, last, high-1e-9)
		require.InDelta(t, 80, a.at(ticks[0]), 1e-6)
		require.InDelta(t, 400, a.at(last), 1e-6)
		require.GreaterOrEqual(t, len(ticks), 3)
		require.LessOrEqual(t, len(ticks), 7, "there would be no room to write them")
	})
	for _, v := range newAxis(-0.3, 4.2, 80, 400).ticks() {
		require.False(t, v == 0 && math.Signbit(v), "no -0")
	}
}
