package graph_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// A difference is named by its key, and by its layer if it is in one.
func TestDifference(t *testing.T) {
	spec := func(change func(*graph.Spec)) *graph.Spec {
		s := &graph.Spec{Architecture: "llama", Vocabulary: 9, Width: 8}
		for range 2 {
			s.Layers = append(s.Layers, graph.Layer{
				{Norm: graph.Norm{Name: "attn_norm", Epsilon: 1e-5}, Mixers: []graph.Mixer{graph.Attention{Heads: 4, KVHeads: 2}}},
				{Mixers: []graph.Mixer{graph.Network{Hidden: 12}}},
			})
		}
		change(s)
		return s
	}
	first := spec(func(*graph.Spec) {})
	require.NoError(t, first.Difference(spec(func(*graph.Spec) {})))
	for want, change := range map[string]func(*graph.Spec){
		"is a qwen2 model, the first a llama":                                               func(s *graph.Spec) { s.Architecture = "qwen2" },
		"the vocabulary has 10 tokens, that of the first 9":                                 func(s *graph.Spec) { s.Vocabulary = 10 },
		"llama.embedding_length is 16, that of the first 8":                                 func(s *graph.Spec) { s.Width = 16 },
		"llama.block_count is 1, that of the first 2":                                       func(s *graph.Spec) { s.Layers = s.Layers[:1] },
		"layer 1: llama.attention.head_count_kv is 1, that of the first 2":                  func(s *graph.Spec) { s.Layers[1][0].Mixers[0] = graph.Attention{Heads: 4, KVHeads: 1} },
		"layer 0: llama.attention.layer_norm_rms_epsilon is 1e-06, that of the first 1e-05": func(s *graph.Spec) { s.Layers[0][0].Norm.Epsilon = 1e-6 },
		"layer 0: llama.expert_count is 4, that of the first 0":                             func(s *graph.Spec) { s.Layers[0][1].Mixers[0] = graph.Mixture{Experts: 4} },
		"layer 1: llama.Scale is 0.5, that of the first 0":                                  func(s *graph.Spec) { s.Layers[1][1].Scale = 0.5 },
	} {
		require.EqualError(t, first.Difference(spec(change)), want)
	}
}
