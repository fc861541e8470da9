package drift

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLayersWithoutRouter has a dense layer before one with experts.
func TestLayersWithoutRouter(t *testing.T) {
	var all textTally
	all.add(textTally{tokens: 8, routed: []int64{0, 8}, experts: []int64{0, 6}, first: []int64{0, 7}})
	all.add(textTally{tokens: 2, routed: []int64{0, 2}, experts: []int64{0, 0}, first: []int64{0, 1}})
	m := all.measures(Stats{})
	require.Len(t, m.Routing, 2)
	require.True(t, math.IsNaN(m.Routing[0].Experts))
	require.True(t, math.IsNaN(m.Routing[0].First))
	require.Equal(t, Agreement{0.6, 0.8}, m.Routing[1])
	require.Equal(t, 0.6, m.Router(), "the mean over the layers that have a router")
}
