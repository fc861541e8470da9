package infer_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// A text that grows has the logits of the whole text.
func TestSessionAgreesWithForward(t *testing.T) {
	mixture := small
	mixture.experts, mixture.used = 5, 2
	biased := small
	biased.biased = true
	for name, s := range map[string]spec{
		"dense": small, "mixture": mixture, "biased": biased,
		"qwen3": small.of("qwen3"), "qwen2moe": small.of("qwen2moe"), "deepseek": small.of("deepseek"),
		"gemma2": small.of("gemma2"),
	} {
		t.Run(name, func(t *testing.T) {
			isatest.ForEach(t, func(t *testing.T) {
				src, tokens := s.build(3), s.chunks(20)[0]
				want := forward(t, src, infer.Options{}, [][]int32{tokens}, 0)[0]
				for _, prompt := range []int{1, 7} {
					m, err := infer.New(src, infer.Options{Threads: prompt})
					require.NoError(t, err)
					session, err := m.NewSession(len(tokens), gguf.F32)
					require.NoError(t, err)
					logits, err := session.Start(context.Background(), tokens[:prompt])
					require.NoError(t, err)
					for i := prompt; i < len(tokens); i++ {
						require.InDeltaSlice(t, want[i-1], logits, 1e-4, "%d tokens after %d", i, prompt)
						require.Equal(t, i, session.Len())
						logits, err = session.Add(context.Background(), tokens[i])
						require.NoError(t, err)
					}
					require.InDeltaSlice(t, want[len(tokens)-1], logits, 1e-4)
					_, err = session.Add(context.Background(), tokens[0])
					require.ErrorIs(t, err, infer.ErrContextFull)
				}
			})
		})
	}
}

// Caches of fewer bits give logits that are near.
func TestSessionCacheTypes(t *testing.T) {
	s := small
	s.keyLen, s.valueLen = 32, 64
	src, tokens := s.build(3), s.chunks(30)[0]
	m, err := infer.New(src, infer.Options{})
	require.NoError(t, err)
	last := func(cache gguf.Type) []float32 {
		session, err := m.NewSession(64, cache)
		require.NoError(t, err)
		logits, err := session.Start(context.Background(), tokens[:10])
		require.NoError(t, err)
		for _, token := range tokens[10:] {
			logits, err = session.Add(context.Background(), token)
			require.NoError(t, err)
		}
		return slices.Clone(logits)
	}
	want := last(gguf.F32)
	require.InDeltaSlice(t, want, last(gguf.F16), 0.01)
	require.InDeltaSlice(t, want, last(gguf.Q8_0), 0.2)
	require.NotEqual(t, want, last(gguf.Q8_0))
}

func TestSessionErrors(t *testing.T) {
	m, err := infer.New(small.build(1), infer.Options{})
	require.NoError(t, err)
	_, err = m.NewSession(0, gguf.F16)
	require.ErrorContains(t, err, "a context of 0 tokens")
	_, err = m.NewSession(8, gguf.Q8_0)
	require.ErrorContains(t, err, "heads of 6 elements are not whole blocks of Q8_0")
	_, err = m.NewSession(8, gguf.IQ2_XXS)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	session, err := m.NewSession(3, gguf.F16)
	require.NoError(t, err)
	_, err = session.Start(context.Background(), []int32{1, 2, 3, 4})
	require.ErrorIs(t, err, infer.ErrContextFull)
	_, err = session.Start(context.Background(), nil)
	require.ErrorContains(t, err, "empty")
	_, err = session.Start(context.Background(), []int32{41})
	require.ErrorContains(t, err, "token 41")
	_, err = session.Start(context.Background(), []int32{1})
	require.NoError(t, err)
	_, err = session.Add(context.Background(), -1)
	require.ErrorContains(t, err, "token -1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = session.Add(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
}

// expiring is a context that ends after it was asked so often whether it has.
type expiring struct {
	context.Context
	left int
}

func (e *expiring) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestTokensThatFailChangeNothing has a token fail between two recurrences, and come again.
func TestTokensThatFailChangeNothing(t *testing.T) {
	recurrent := graph.Layer{{Mixers: []graph.Mixer{graph.DeltaNet{KeyLen: 8, KeyHeads: 1, ValueHeads: 2, Values: 16, Inputs: 3, Norm: graph.Norm{Name: "ssm_norm"}}}}}
	g := graph.Spec{Vocabulary: small.vocabulary, Width: small.width, Layers: []graph.Layer{recurrent, recurrent}}
	m, err := infer.NewModel(g, random{Spec: g}.build(1), infer.Options{Threads: 1})
	require.NoError(t, err)
	tokens := small.chunks(6)[0]
	var last [2][]float32
	for i := range last {
		session, err := m.NewSession(len(tokens), gguf.F32)
		require.NoError(t, err)
		_, err = session.Start(t.Context(), tokens[:3])
		require.NoError(t, err)
		for _, id := range tokens[3:] {
			if i == 1 {
				_, err = session.Add(&expiring{t.Context(), 1}, id)
				require.ErrorIs(t, err, context.Canceled)
			}
			logits, err := session.Add(t.Context(), id)
			require.NoError(t, err)
			last[i] = slices.Clone(logits)
		}
	}
	require.Equal(t, last[0], last[1])
}
