package infer_test

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// TestLogitsAreTransformers compares the trained mixture in testdata with the
// logits that transformers computes in float32, and with the experts that its
// routers choose.
func TestLogitsAreTransformers(t *testing.T) {
	if testing.Short() {
		t.Skip("compares what other tests run, too")
	}
	var golden struct {
		Sequences []struct {
			Text      string
			Tokens    []int32
			Every16th []float32 `json:"every_16th"`
			TopIDs    []int     `json:"top_ids"`
			TopLogits []float32 `json:"top_logits"`
			Sum       float64
			Experts   []string // of each layer, the two of each token
		}
	}
	data, err := os.ReadFile("testdata/moe-logits.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	require.NotEmpty(t, golden.Sequences)
	src, err := hf.Open(reference.MoE(t), hf.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })

	var chunks [][]int32
	var experts [4]string // of each layer
	for _, s := range golden.Sequences {
		chunks = append(chunks, s.Tokens)
		require.Len(t, s.Experts, len(experts))
		for layer := range experts {
			experts[layer] += s.Experts[layer]
		}
	}
	const bound = 1e-4 // 1e-5 is what is measured, on every instruction set
	isatest.ForEach(t, func(t *testing.T) {
		var chosen [len(experts)]string
		router := func(r infer.Routing) {
			for _, e := range r.Chosen {
				chosen[r.Layer] += strconv.Itoa(int(e))
			}
		}
		got := forward(t, src, infer.Options{Router: router}, chunks, len(chunks[0])-1)
		require.Equal(t, experts, chosen)
		for i, s := range golden.Sequences {
			require.Len(t, got[i], 1)
			logits := got[i][0]
			top, sum := 0, 0.0
			for id, v := range logits {
				sum += float64(v)
				if v > logits[top] {
					top = id
				}
			}
			require.Equal(t, s.TopIDs[0], top)
			require.InDelta(t, s.Sum, sum, bound*float64(len(logits)))
			for j, id := range s.TopIDs {
				require.InDelta(t, s.TopLogits[j], logits[id], bound, "%s: logit %d", s.Text, id)
			}
			for j, want := range s.Every16th {
				require.InDelta(t, want, logits[16*j], bound, "%s: logit %d", s.Text, 16*j)
			}
		}
	})
}
