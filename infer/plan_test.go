package infer_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// TestMemoryIsBounded runs long texts through models of every kind of mixer in little memory, one and several in lock-step, and counts what
// is held meanwhile: no more than the plan says, and that is no more than is allowed.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("counts bytes of long texts")
	}
	norm := graph.Norm{Name: "attn_norm", Epsilon: 1e-5}
	network := graph.Sublayer{Norm: graph.Norm{Name: "ffn_norm", Epsilon: 1e-5}, Mixers: []graph.Mixer{graph.Network{Hidden: 600}}}
	rope := graph.RopeSpec{Dims: 8, Base: 500, Factor: 1}
	attention := graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 16, ValueLen: 16, Scale: 0.25, Rope: rope}
	window := attention
	window.Window = 100
	for name, mixer := range map[string]graph.Mixer{
		"attention": attention,
		"windows":   window,
		"latent": graph.MLA{
			Heads: 3, KeyLen: 16, ValueLen: 16, QueryRank: 9, Rank: 12, Absorbed: true, Scale: 0.25,
			QNorm: graph.Norm{Name: "attn_q_a_norm", Epsilon: 1e-5}, KVNorm: graph.Norm{Name: "attn_kv_a_norm", Epsilon: 1e-5}, Rope: rope,
		},
		"delta net": graph.DeltaNet{KeyLen: 6, KeyHeads: 2, ValueHeads: 4, Values: 64, Inputs: 3, Norm: graph.Norm{Name: "ssm_norm", Epsilon: 1e-5}, Paired: true},
		"Mamba":     graph.Mamba{Inner: 96, States: 16, Rank: 3, Inputs: 4},
		"Mamba 2":   graph.Mamba2{Inner: 64, States: 16, Heads: 2, Groups: 1, Inputs: 2},
		"mixture":   graph.Mixture{Experts: 8, Used: 2, Hidden: 300},
	} {
		layer := graph.Layer{{Norm: norm, Mixers: []graph.Mixer{mixer}}, network}
		spec := graph.Spec{Vocabulary: small.vocabulary, Width: 64, OutputNorm: graph.Norm{Name: "output_norm", Epsilon: 1e-5}, Layers: []graph.Layer{layer, layer}}
		src := random{Spec: spec}.build(1)
		for _, n := range []int{1, 3} {
			for _, compute := range []infer.Compute{infer.Exact, infer.Int8All} {
				t.Run(fmt.Sprintf("%s/%d/%s", name, n, compute), func(t *testing.T) {
					const text = 600
					m, err := infer.NewModel(spec, src, infer.Options{Threads: 2, Compute: compute})
					require.NoError(t, err)
					least := m.LeastMemory(n, text)
					require.Less(t, m.LeastMemory(n, 32<<10), least+33*1024*(least-m.LeastMemory(n, 0))/text, "memory grows with the text, not with its square")
					var want []float32
					for _, memory := range []int64{1 << 30, least + 1<<20, least} {
						var logits []float32
						var models []*infer.Model
						for range n {
							m, err := infer.NewModel(spec, src, infer.Options{Threads: 2, Compute: compute, Memory: memory})
							require.NoError(t, err)
							models = append(models, m)
						}
						var mu sync.Mutex
						taken, planned, err := infer.MemoryOf(t.Context(), models, infer.Chunks(small.chunks(text, 50), text-1), func(l []float32) {
							mu.Lock()
							defer mu.Unlock()
							logits = append(logits, l...)
						})
						require.NoError(t, err)
						require.LessOrEqual(t, taken, planned)
						require.LessOrEqual(t, planned, memory)
						if want == nil {
							want = logits
						}
						require.True(t, slices.Equal(want, logits))
					}
				})
			}
		}
	}
}
