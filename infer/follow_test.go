package infer_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestChunksThatFollow runs texts that begin alike as a tree, in one batch and in many, and demands of each
// position what it has in the whole text, to the last bit.
func TestChunksThatFollow(t *testing.T) {
	norm := graph.Norm{Name: "attn_norm", Epsilon: 1e-5}
	mixes := func(m graph.Mixer) graph.Layer { return graph.Layer{{Norm: norm, Mixers: []graph.Mixer{m}}} }
	recurrent := graph.Spec{
		Vocabulary: small.vocabulary, Width: small.width, OutputNorm: graph.Norm{Name: "output_norm", Epsilon: 1e-5},
		Layers: []graph.Layer{
			mixes(graph.Mamba2{Inner: 64, States: 16, Heads: 2, Groups: 1, Inputs: 2}),
			mixes(graph.DeltaNet{KeyLen: 6, KeyHeads: 2, ValueHeads: 4, Values: 64, Inputs: 3, Norm: graph.Norm{Name: "ssm_norm", Epsilon: 1e-5}, Paired: true}),
			mixes(graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 6, ValueLen: 5, Scale: 0.4, Rope: graph.RopeSpec{Dims: 6, Base: 500, Factor: 1}}),
			mixes(graph.Mamba{Inner: 96, States: 16, Rank: 3, Inputs: 4}),
		},
	}
	latent := graph.MLA{
		Heads: 3, KeyLen: 10, ValueLen: 5, QueryRank: 9, Rank: 12, Absorbed: true, Scale: 0.4,
		QNorm: graph.Norm{Name: "attn_q_a_norm", Epsilon: 1e-5}, KVNorm: graph.Norm{Name: "attn_kv_a_norm", Epsilon: 1e-5},
		Rope: graph.RopeSpec{Dims: 4, Base: 500, Factor: 1},
		Indexer: graph.Indexer{
			Heads: 12, KeyLen: 9, TopK: 6, Norm: graph.Norm{Name: "indexer.k_norm", Kind: graph.LayerNorm, Epsilon: 1e-6},
			Rope: graph.RopeSpec{Dims: 4, Base: 500, Factor: 1, NeoX: true},
		},
	}
	shared := latent
	shared.Indexer.Shared = 1
	indexed := recurrent
	indexed.Layers = []graph.Layer{mixes(latent), mixes(shared)}
	s := small
	for name, model := range map[string]func(infer.Options) (*infer.Model, error){
		"small":   func(o infer.Options) (*infer.Model, error) { return infer.New(small.build(7), o) },
		"windows": func(o infer.Options) (*infer.Model, error) { return infer.New(small.of("gemma2").build(7), o) },
		"experts": func(o infer.Options) (*infer.Model, error) { return infer.New(small.of("deepseek").build(7), o) },
		"recurrent": func(o infer.Options) (*infer.Model, error) {
			return infer.NewModel(recurrent, random{Spec: recurrent}.build(7), o)
		},
		"indexed": func(o infer.Options) (*infer.Model, error) {
			return infer.NewModel(indexed, random{Spec: indexed}.build(7), o)
		},
	} {
		parts := s.chunks(20, 50, 70, 8, 3, 1, 9)
		tree := make([]infer.Chunk, len(parts))
		for i, after := range []int{0, 1, 2, 3, 1, 5, 0} {
			tree[i] = infer.Chunk{Tokens: parts[i], After: after}
		}
		tree[3].From = 5
		isatest.ForEach(t, func(t *testing.T) {
			for _, opts := range []infer.Options{{Threads: 2}, {Memory: 1}, {Compute: infer.Int8}} {
				m, err := model(opts)
				require.NoError(t, err)
				got := visited(t, m, tree)
				n := 0
				for c, chunk := range tree {
					text := slices.Clone(chunk.Tokens)
					for at := chunk.After; at > 0; at = tree[at-1].After {
						text = append(slices.Clone(tree[at-1].Tokens), text...)
					}
					before := len(text) - len(chunk.Tokens)
					whole := visited(t, m, []infer.Chunk{{Tokens: text}})
					for pos := chunk.From; pos < len(chunk.Tokens); pos++ {
						require.Equal(t, whole[[2]int{0, before + pos}], got[[2]int{c, pos}], "%s, chunk %d, position %d", name, c, pos)
						n++
					}
				}
				require.Len(t, got, n)
				requireSideBySide(t, m, unequal(s.chunks(20)[0])...)
			}
		})
	}
}

// visited returns the logits of all positions that are visited, by chunk and position.
func visited(t *testing.T, m *infer.Model, chunks []infer.Chunk) map[[2]int][]float32 {
	t.Helper()
	var mu sync.Mutex
	got := make(map[[2]int][]float32)
	require.NoError(t, m.Forward(t.Context(), chunks, func(chunk, pos int, logits []float32) {
		mu.Lock()
		defer mu.Unlock()
		got[[2]int{chunk, pos}] = slices.Clone(logits)
	}))
	return got
}

func TestChunksFollowThoseBefore(t *testing.T) {
	m, err := infer.New(small.build(1), infer.Options{})
	require.NoError(t, err)
	for _, after := range []int{-1, 2, 3, 4} {
		err := m.Forward(t.Context(), []infer.Chunk{{Tokens: []int32{1}}, {Tokens: []int32{2}, After: 1}, {Tokens: []int32{2}, After: 1}, {After: after}}, func(int, int, []float32) {})
		if after == 3 {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "which the chunk before it does not")
	}
	err = m.Embed(t.Context(), []infer.Chunk{{Tokens: []int32{1}}, {Tokens: []int32{2}, After: 1}}, nil)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
}
