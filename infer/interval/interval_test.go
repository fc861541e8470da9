package interval_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/interval"
)

// measured returns the divergences of windows, by type and text.
func measured(t *testing.T) map[string]map[string][]float64 {
	t.Helper()
	data, err := os.ReadFile("testdata/windows.json")
	require.NoError(t, err)
	var windows map[string]map[string][]float64
	require.NoError(t, json.Unmarshal(data, &windows))
	return windows
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// draw returns n of the values, with replacement.
func draw(rng *rand.Rand, values []float64, n int) []float64 {
	drawn := make([]float64, n)
	for i := range drawn {
		drawn[i] = values[rng.IntN(len(values))]
	}
	return drawn
}

// TestIntervalsCoverTheTruth takes measured windows for all the text there is, of which runs see a
// few: how often has the interval of a run the true mean in it?
func TestIntervalsCoverTheTruth(t *testing.T) {
	const runs = 1200
	for name, byText := range measured(t) {
		var texts [][]float64
		for _, text := range []string{"chat", "code", "math", "story", "wiki"} {
			require.Len(t, byText[text], 60)
			texts = append(texts, byText[text])
		}
		all := slices.Concat(texts...)
		rng := rand.New(rand.NewPCG(6, 0))
		covered := func(what string, run func() (drawn [][]float64, truth float64)) {
			hits := 0
			for range runs {
				drawn, truth := run()
				if low, high := interval.Of(drawn...).Interval(interval.Level); low <= truth && truth <= high {
					hits++
				}
			}
			coverage := float64(hits) / runs
			t.Logf("%-6s %-22s %.3f", name, what, coverage)
			require.GreaterOrEqual(t, coverage, 0.93, "%s, %s", name, what)
			require.LessOrEqual(t, coverage, 0.97, "%s, %s", name, what)
		}
		for _, n := range []int{10, 20, 40} {
			covered(fmt.Sprint(n, " of a mixed text"), func() ([][]float64, float64) {
				return [][]float64{draw(rng, all, n)}, mean(all)
			})
			covered(fmt.Sprint(n, " of a text"), func() ([][]float64, float64) {
				text := texts[rng.IntN(len(texts))]
				return [][]float64{draw(rng, text, n)}, mean(text)
			})
		}
		for _, n := range []int{4, 8, 20} {
			covered(fmt.Sprint(n, " of each of the texts"), func() (drawn [][]float64, truth float64) {
				for _, text := range texts {
					drawn = append(drawn, draw(rng, text, n))
				}
				return drawn, mean(all)
			})
		}
	}
}

// TestDifferencesCoverTheTruth is that for two types on the same windows.
func TestDifferencesCoverTheTruth(t *testing.T) {
	const runs = 1200
	windows := measured(t)
	for _, pair := range [][2]string{{"Q6_K", "Q8_0"}, {"Q4_K_M", "Q6_K"}, {"Q2_K", "Q4_K_M"}} {
		var differences [][]float64
		for text, values := range windows[pair[0]] {
			var d []float64
			for i, v := range values {
				d = append(d, v-windows[pair[1]][text][i])
			}
			differences = append(differences, d)
		}
		slices.SortFunc(differences, slices.Compare)
		rng := rand.New(rand.NewPCG(7, 0))
		hits := 0
		for range runs {
			text := differences[rng.IntN(len(differences))]
			low, high := interval.Of(draw(rng, text, 15)).Interval(interval.Level)
			if truth := mean(text); low <= truth && truth <= high {
				hits++
			}
		}
		require.InDelta(t, 0.95, float64(hits)/runs, 0.02, "%v", pair)
	}
}

// TestTokensAreNotTheUnit shows what goes wrong otherwise: tokens that are alike within a window.
func TestTokensAreNotTheUnit(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 0))
	var tokens, windows []float64
	for range 40 {
		hard := rng.ExpFloat64()
		var window []float64
		for range 255 {
			window = append(window, hard*rng.ExpFloat64())
		}
		tokens, windows = append(tokens, window...), append(windows, mean(window))
	}
	require.Greater(t, interval.Of(windows).Error, 5*interval.Of(tokens).Error)
}

func TestByHand(t *testing.T) {
	// Symmetric windows have Student's interval: 2.776 for four degrees of freedom.
	m := interval.Of([]float64{1, 2, 3, 4, 5})
	require.Equal(t, 3.0, m.Value)
	require.InDelta(t, math.Sqrt(2.5/5), m.Error, 1e-12)
	low, high := m.Interval(0.95)
	require.InDelta(t, 3-2.776445*m.Error, low, 1e-6)
	require.InDelta(t, 3+2.776445*m.Error, high, 1e-6)
	require.InDelta(t, 0.975, m.Above(low), 1e-9)
	require.InDelta(t, 0.025, m.Above(high), 1e-9)
	require.Equal(t, 0.5, m.Above(3))
	require.True(t, m.Positive(0.95))
	require.False(t, m.Positive(0.999))

	// A long tail makes the upper end the farther one.
	m = interval.Of([]float64{1, 1, 1, 2, 1, 1, 5, 1, 2, 1})
	low, high = m.Interval(0.95)
	require.Greater(t, high-m.Value, 1.2*(m.Value-low))
	require.InDelta(t, 0.975, m.Above(low), 1e-9)
	require.InDelta(t, 0.025, m.Above(high), 1e-9)
	wide, wider := m.Interval(0.99)
	require.Less(t, wide, low)
	require.Greater(t, wider, high)

	// Texts that differ do not make the interval wider, windows that do.
	m = interval.Of([]float64{1, 2, 3}, []float64{101, 102, 103})
	require.Equal(t, 52.0, m.Value)
	require.InDelta(t, math.Sqrt(1./3)/math.Sqrt2, m.Error, 1e-12)
	low, _ = m.Interval(0.95)
	require.InDelta(t, 52-2.776445*m.Error, low, 1e-6, "of both, with two degrees of freedom each")
}

func TestOneWindowOfATextHasNoInterval(t *testing.T) {
	for _, m := range []interval.Mean{interval.Of([]float64{1}), interval.Of([]float64{1, 2, 3}, []float64{2})} {
		low, high := m.Interval(0.95)
		for _, v := range []float64{m.Error, low, high, m.Above(0)} {
			require.True(t, math.IsNaN(v))
		}
		require.False(t, math.IsNaN(m.Value))
	}
}

func TestWindowsThatAreEqualLeaveNoDoubt(t *testing.T) {
	m := interval.Of([]float64{0.25, 0.25}, []float64{0.25, 0.25, 0.25})
	low, high := m.Interval(0.95)
	require.Equal(t, []float64{0.25, 0.25, 0.25, 0}, []float64{m.Value, low, high, m.Error})
	require.Equal(t, []float64{1, 0.5, 0}, []float64{m.Above(0.2), m.Above(0.25), m.Above(0.3)})
}

func TestEstimates(t *testing.T) {
	m := interval.Of([]float64{0.1, 0.2, 0.3})
	low, high := m.Interval(interval.Level)
	require.Negative(t, low)
	require.Equal(t, interval.Estimate{Value: m.Value, Error: m.Error, Low: 0, High: high}, m.Estimate(0, 1))
	require.Equal(t, 0.4, m.Estimate(0, 0.4).High)
	require.Equal(t, interval.Estimate{Value: math.Exp(m.Value), Error: math.Exp(m.Value) * m.Error, Low: math.Exp(low), High: math.Exp(high)}, m.Exp())
	root := m.Sqrt()
	require.Equal(t, []float64{math.Sqrt(m.Value), 0, math.Sqrt(high)}, []float64{root.Value, root.Low, root.High})
	require.InDelta(t, 0.5*m.Error/root.Value, root.Error, 1e-12)
	require.Equal(t, interval.Estimate{}, interval.Of([]float64{0, 0}).Sqrt())
	require.True(t, math.IsNaN(interval.Of([]float64{1}).Estimate(0, 2).High))
}

// TestWeighted holds the mean and error of windows of different lengths against the formulas by hand, and against windows that are as long.
func TestWeighted(t *testing.T) {
	values, tokens := []float64{1, 4, 2}, []int{10, 20, 60}
	m := interval.Weighted([][]float64{values}, [][]int{tokens})
	ratio := (10*1. + 20*4 + 60*2) / 90
	require.InDelta(t, ratio, m.Value, 1e-12)
	var squares float64
	for i, v := range values {
		d := 2 * float64(tokens[i]) * (v - ratio) / float64(90-tokens[i]) // to the ratio without it, twice
		squares += d * d
	}
	require.InDelta(t, math.Sqrt(squares/(3*2)), m.Error, 1e-12)
	require.Equal(t, interval.Of(values, values[:2]), interval.Weighted([][]float64{values, values[:2]}, [][]int{{255, 255, 255}, {255, 255}}))

	// A text with more tokens counts for more, and what texts differ by is no part of the error.
	two := interval.Weighted([][]float64{values, {101, 104, 102}}, [][]int{tokens, {30, 60, 180}})
	require.InDelta(t, (ratio+3*(ratio+100))/4, two.Value, 1e-9)
	require.InDelta(t, m.Error*math.Sqrt(1+9)/4, two.Error, 1e-9)

	require.Nil(t, interval.Unequal([][]int{{3, 3}, {3}}))
	require.NotNil(t, interval.Unequal([][]int{{3, 3}, {4}}))
}

// Conversations of very different lengths, drawn again and again: the interval covers the mean over all tokens.
func TestWeightedCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 0))
	draw := func() (value float64, tokens int) {
		tokens = 20 + int(rng.ExpFloat64()*150)
		return 0.01 * math.Exp(0.4*rng.NormFloat64()), tokens
	}
	var sum, all float64
	for range 300_000 {
		v, n := draw()
		sum, all = sum+v*float64(n), all+float64(n)
	}
	truth := sum / all
	const runs = 1000
	for _, n := range []int{10, 40} {
		covered := 0
		for range runs {
			values, tokens := make([]float64, n), make([]int, n)
			for i := range values {
				values[i], tokens[i] = draw()
			}
			if low, high := interval.Weighted([][]float64{values}, [][]int{tokens}).Interval(interval.Level); low <= truth && truth <= high {
				covered++
			}
		}
		t.Logf("%d windows: %d of %d", n, covered, runs)
		require.InDelta(t, 0.94, float64(covered)/runs, 0.025)
	}
}
