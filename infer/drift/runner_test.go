package drift

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// TestLayersWithoutRouter has a dense layer before one with experts.
func TestLayersWithoutRouter(t *testing.T) {
	var all layerSums
	all.add(layerSums{tokens: 8, routed: []int64{0, 8}, experts: []int64{0, 6}, first: []int64{0, 7}})
	all.add(layerSums{tokens: 2, routed: []int64{0, 2}, experts: []int64{0, 0}, first: []int64{0, 1}})
	m := all.measures(Stats{})
	require.Len(t, m.Routing, 2)
	require.True(t, math.IsNaN(m.Routing[0].Experts))
	require.True(t, math.IsNaN(m.Routing[0].First))
	require.Equal(t, Agreement{0.6, 0.8}, m.Routing[1])
	require.Equal(t, 0.6, m.Router(), "the mean over the layers that have a router")
}

// What is kept of a part is what was known of it.
func TestPartsAreReadBack(t *testing.T) {
	parts := []part{{0, perplexity.Window{Tokens: make([]int32, 4), Scored: []int{1, 2}}}, {1, perplexity.Window{Tokens: make([]int32, 3), Scored: []int{0}}}}
	full := func() *runner {
		r := newRunner("drift", nil, parts, make([]Text, 2), Options{})
		for range 2 {
			r.tallies = append(r.tallies, &tally{tokens: make([]token, 3), parts: make([]layerSums, 2)})
		}
		return r
	}
	r := full()
	for m, model := range r.tallies {
		for i := range model.tokens {
			x := float64(10*m + i)
			model.tokens[i] = token{x + 0.25, x + 0.5, math.Copysign(0, -1), i%2 == m}
		}
		for p := range parts {
			model.parts[p] = layerSums{
				tokens: int64(len(parts[p].Tokens)), hidden: []float64{0.5, float64(m)}, routed: []int64{0, 4}, experts: []int64{0, 3}, first: []int64{0, int64(m)},
			}
		}
	}
	read := full()
	for p := range parts {
		data := r.appendPart(nil, p)
		require.NoError(t, read.readPart(data, p))
		for n := range data {
			require.Error(t, full().readPart(data[:n], p))
		}
		require.Error(t, full().readPart(append(data, 0), p))
	}
	require.Error(t, full().readPart(r.appendPart(nil, 0), 1))
	require.Equal(t, r.tallies, read.tallies)
	require.Equal(t, 0.25, read.base[0].nll)
}

// What is kept is not trusted to be whole.
func FuzzReadPart(f *testing.F) {
	parts := []part{{0, perplexity.Window{Tokens: make([]int32, 4), Scored: []int{1, 2}}}}
	r := newRunner("drift", nil, parts, make([]Text, 1), Options{})
	r.tallies = []*tally{{tokens: make([]token, 2), parts: []layerSums{{hidden: []float64{1}, routed: []int64{2}}}}}
	f.Add(r.appendPart(nil, 0))
	f.Add([]byte("\x01\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add(append([]byte("\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"), make([]byte, 58)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r.readPart(data, 0) == nil {
			require.Len(t, r.appendPart(nil, 0), len(data))
		}
	})
}
