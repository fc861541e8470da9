package eval

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/score"
)

// TestRound counts what requests have in common once.
func TestRound(t *testing.T) {
	header := slices.Repeat([]int32{1}, roundTokens-100)
	request := func(own int) score.Request {
		return score.Request{Context: append(slices.Clip(header), slices.Repeat([]int32{2}, own)...), Continuation: []int32{3, 4}}
	}
	requests := slices.Repeat([]score.Request{request(10), request(20)}, 10)
	require.Equal(t, 13, round(requests), "12 tokens of the second of each two, 2 of the first, which begins the one before it")
	require.Equal(t, 3, round(requests[:3]))
	other := score.Request{Context: slices.Repeat([]int32{5}, roundTokens+1), Continuation: []int32{6}}
	require.Equal(t, 1, round([]score.Request{other, requests[0]}), "one is answered in any case")
	require.Equal(t, 2, round([]score.Request{requests[0], requests[1], other}))
}
