package hidden_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/hidden"
)

//go:embed testdata/padded.json
var padded []byte

const base = "../../testdata/beyonder-mini/base"

// What transformers computes for a padded batch, padding included.
func TestStates(t *testing.T) {
	var want struct {
		Prompts    []string
		IDs        [][]int32
		Last, Mean [][][]float64
	}
	require.NoError(t, json.Unmarshal(padded, &want))
	encoder := &hidden.Encoder{}
	ids, err := encoder.Tokens(base, want.Prompts)
	require.NoError(t, err)
	require.Equal(t, want.IDs, ids)
	for mean, want := range map[bool][][][]float64{false: want.Last, true: want.Mean} {
		states, err := encoder.States(context.Background(), base, ids, mean)
		require.NoError(t, err)
		require.Len(t, states, len(want))
		for text := range want {
			require.Len(t, states[text], len(want[text]))
			for layer := range want[text] {
				for i, v := range want[text][layer] {
					require.InDelta(t, v, states[text][layer][16*i], 1e-4)
				}
			}
		}
	}
}

// Texts of one length need no padding, and what they are run with changes nothing.
func TestBatchesWithoutPadding(t *testing.T) {
	encoder := &hidden.Encoder{}
	texts := [][]int32{{1, 700, 800}, {1, 900, 1000}}
	both, err := encoder.States(context.Background(), base, texts, true)
	require.NoError(t, err)
	alone, err := encoder.States(context.Background(), base, texts[1:], true)
	require.NoError(t, err)
	require.Equal(t, alone[0], both[1])
}

func TestModelsThatAreNotThere(t *testing.T) {
	encoder := &hidden.Encoder{}
	_, err := encoder.Tokens(t.TempDir(), []string{"a"})
	require.ErrorContains(t, err, "config.json")
	_, err = encoder.States(context.Background(), t.TempDir(), nil, false)
	require.ErrorContains(t, err, "config.json")
}
