package routing_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/routing"
)

func TestTally(t *testing.T) {
	var tally routing.Tally
	tally.Add(infer.Routing{Layer: 1, Tokens: 2, Experts: 4, Logits: []float32{0, 0, 0, 0, 1000, 0, 0, 0}, Chosen: []int32{0, 1, 0, 2}})
	tally.Add(infer.Routing{Layer: 0, Tokens: 1, Experts: 2, Logits: []float32{7, 7}, Chosen: []int32{1}})
	tally.Add(infer.Routing{Layer: 1, Tokens: 2, Experts: 4, Logits: []float32{5, 5, -1000, -1000, 5, 5, -1000, -1000}, Chosen: []int32{0, 1, 0, 1}})
	layers := tally.Layers()
	require.Len(t, layers, 2)
	require.Equal(t, routing.Layer{Layer: 0, Tokens: 1, Chosen: []int64{0, 1}, Entropy: 1}, layers[0])
	require.Equal(t, []int64{4, 3, 1, 0}, layers[1].Chosen)
	require.InDelta(t, (2+0+1+1)/4.0, layers[1].Entropy, 1e-9)
	require.Equal(t, 0.75, layers[1].Share(1))
}

// What was tallied in two places is what was tallied in one.
func TestTalliesAreAdded(t *testing.T) {
	var first, second, both routing.Tally
	a := infer.Routing{Layer: 1, Tokens: 1, Experts: 2, Chosen: []int32{1}, Logits: []float32{0.5, 2}}
	b := infer.Routing{Layer: 0, Tokens: 2, Experts: 2, Chosen: []int32{0, 1}, Logits: []float32{3, 2, 1, 7}}
	first.Add(a)
	second.Add(b)
	both.Add(a)
	both.Add(b)
	data, err := json.Marshal(&second)
	require.NoError(t, err)
	var read routing.Tally
	require.NoError(t, json.Unmarshal(data, &read))
	require.NoError(t, first.AddTally(&read))
	require.Equal(t, both.Layers(), first.Layers())
	other := infer.Routing{Layer: 1, Tokens: 1, Experts: 3, Chosen: []int32{2}, Logits: []float32{1, 2, 3}}
	var third routing.Tally
	third.Add(other)
	require.EqualError(t, first.AddTally(&third), "layer 1 has 3 experts, not 2 as before")
}
