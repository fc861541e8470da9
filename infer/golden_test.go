package infer_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// TestGemma2IsTransformers compares a Gemma 2 of random weights with the logits that
// transformers computes in float32, of a whole text and of one that grows.
func TestGemma2IsTransformers(t *testing.T) {
	const dir, last = "../testdata/gemma2", 4
	var golden struct {
		Sequences []struct {
			IDs    []int32
			Argmax []int
			Last4  []byte `json:"last4_f32"` // logits of the last positions, little-endian float32
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	require.NotEmpty(t, golden.Sequences)
	src, err := hf.Open(dir, hf.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	m, err := infer.New(src, infer.Options{})
	require.NoError(t, err)

	const bound = 5e-5 // 5e-6 is what is measured
	isatest.ForEach(t, func(t *testing.T) {
		for _, s := range golden.Sequences {
			want := make([]float32, len(s.Last4)/4)
			for i := range want {
				want[i] = math.Float32frombits(binary.LittleEndian.Uint32(s.Last4[4*i:]))
			}
			require.Len(t, want, last*m.Vocabulary())
			logits := forward(t, src, infer.Options{}, [][]int32{s.IDs}, 0)[0]
			for pos, l := range logits {
				require.Equal(t, s.Argmax[pos], slices.Index(l, slices.Max(l)), "position %d", pos)
			}
			require.InDeltaSlice(t, want, slices.Concat(logits[len(logits)-last:]...), bound)

			// The prompt is longer than the window, and the text goes on beyond it.
			session, err := m.NewSession(len(s.IDs), gguf.F32)
			require.NoError(t, err)
			got, err := session.Start(t.Context(), s.IDs[:20])
			require.NoError(t, err)
			for _, id := range s.IDs[20:] {
				got, err = session.Add(t.Context(), id)
				require.NoError(t, err)
			}
			require.InDeltaSlice(t, want[(last-1)*m.Vocabulary():], got, bound)
		}
	})
}

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
