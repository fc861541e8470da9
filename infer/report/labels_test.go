package report

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// requireReadable checks that nothing is on a label, and that it is clear whose it is.
func requireReadable(t require.TestingT, l labelling, places []place) {
	require.Len(t, places, len(l.labels))
	for i, p := range places {
		require.True(t, p.found, "label %d has no room", i)
		require.True(t, l.within.contains(p.box), "label %d is outside", i)
		own := l.labels[i].dot
		for j, other := range places {
			if i == j {
				continue
			}
			dot := l.labels[j].dot
			require.False(t, p.overlaps(other.box), "labels %d and %d overlap", i, j)
			require.GreaterOrEqual(t, p.distance(dot), dotRadius, "label %d is on dot %d", i, j)
			if p.leader == nil {
				require.Less(t, p.distance(own), p.distance(dot), "label %d is nearer to dot %d", i, j)
				continue
			}
			require.False(t, p.leader.crossesBox(other.box), "the leader of %d crosses label %d", i, j)
			if !overlap(own, dot) {
				require.GreaterOrEqual(t, p.leader.distance(dot), dotRadius, "the leader of %d crosses dot %d", i, j)
			}
		}
		for _, taken := range l.taken {
			require.False(t, p.overlaps(taken), "label %d is on what is taken", i)
		}
	}
}

func TestLabelsAreReadable(t *testing.T) {
	t.Run("twenty", func(t *testing.T) {
		for seed := range uint64(24) {
			random := rand.New(rand.NewPCG(seed, 1))
			l := labelling{within: box{60, 0, 420, 400}, taken: []box{{360, 0, 420, 20}}}
			for range 20 {
				dot := point{80 + 280*random.Float64(), 30 + 350*random.Float64()}
				if x := random.Float64(); seed%2 == 0 { // on a curve, as types are
					dot = point{80 + 280*x, 60 + 300*x*x + 10*random.Float64()}
				}
				l.labels = append(l.labels, label{dot, 40 + 30*random.Float64()})
			}
			requireReadable(t, l, l.places())
		}
	})
	t.Run("file types", func(t *testing.T) {
		for _, width := range []float64{chartWidth, wideChart} {
			requireReadable(t, twentyTypes(width), twentyTypes(width).places())
		}
	})
	t.Run("no room", func(t *testing.T) {
		l := labelling{within: box{0, 0, 60, 20}, labels: []label{{point{10, 10}, 40}, {point{12, 10}, 40}, {point{14, 10}, 40}}}
		found := 0
		for _, p := range l.places() {
			if p.found {
				found++
			}
		}
		require.LessOrEqual(t, found, 1)
	})
}

// twentyTypes are the dots of twenty file types of the demo's model, in a chart of some width.
func twentyTypes(width float64) labelling {
	return newFront(newView(TwentyReport(), nil), width).labelling
}

// TestPlacesAreNear checks that labels that are alone are beside their dots.
func TestPlacesAreNear(t *testing.T) {
	l := labelling{within: box{0, 0, 400, 300}, labels: []label{{point{50, 50}, 50}, {point{200, 150}, 50}, {point{395, 290}, 50}}}
	for i, p := range l.places() {
		require.True(t, p.found)
		require.Nil(t, p.leader)
		require.Less(t, p.distance(l.labels[i].dot), 10.)
	}
}

func TestSpread(t *testing.T) {
	require.Equal(t, []float64{10, 20, 30}, spread([]float64{10, 20, 30}, 5, 0, 100))
	require.Equal(t, []float64{5, 15, 25}, spread([]float64{15, 15, 15}, 10, 0, 100))
	require.Equal(t, []float64{20, 0, 10}, spread([]float64{3, 1, 2}, 10, 0, 100), "not below the lower end")
}

func TestSpreadKeepsOrderAndDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 300), 1, 20).Draw(t, "values")
		apart := spread(values, 15, 0, 300)
		for i, v := range apart {
			require.GreaterOrEqual(t, v, -1e-9)
			require.LessOrEqual(t, v, 300+1e-9)
			for j := range apart[:i] {
				require.GreaterOrEqual(t, max(v-apart[j], apart[j]-v), 15-1e-9, fmt.Sprint(values))
				if values[i] < values[j] {
					require.Less(t, v, apart[j])
				}
			}
		}
	})
}
