package states_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/infer/states"
)

//go:embed testdata/padded.json
var padded []byte

const base = "../../testdata/beyonder-mini/base"

// result is what transformers computes for a padded batch.
type result struct {
	IDs        [][]int32
	Last, Mean [][][]float64
}

func TestStates(t *testing.T) {
	var want struct {
		Prompts []string
		BOS     result `json:"bos"`
		NoBOS   result `json:"no_bos"`
	}
	require.NoError(t, json.Unmarshal(padded, &want))
	check(t, base, want.Prompts, want.BOS)

	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(base)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{"bos_token": null, "eos_token": "</s>"}`), 0o644))
	check(t, dir, want.Prompts, want.NoBOS)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{`), 0o644))
	_, err := hf.Open(dir, hf.Options{})
	require.ErrorContains(t, err, "tokenizer_config.json")
}

func open(t *testing.T, dir string) moe.BaseModel {
	t.Helper()
	c, err := hf.Open(dir, hf.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return moe.BaseModel{Source: c, NoBOS: c.NoBOS()}
}

func check(t *testing.T, dir string, prompts []string, want result) {
	t.Helper()
	encoder, model := &states.Encoder{}, open(t, dir)
	ids, err := encoder.Tokens(model, prompts)
	require.NoError(t, err)
	require.Equal(t, want.IDs, ids)
	for mean, want := range map[bool][][][]float64{false: want.Last, true: want.Mean} {
		states, err := encoder.States(context.Background(), model, ids, mean)
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
	encoder, model := &states.Encoder{}, open(t, base)
	texts := [][]int32{{1, 700, 800}, {1, 900, 1000}}
	both, err := encoder.States(context.Background(), model, texts, true)
	require.NoError(t, err)
	alone, err := encoder.States(context.Background(), model, texts[1:], true)
	require.NoError(t, err)
	require.Equal(t, alone[0], both[1])
}
