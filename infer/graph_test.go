package infer_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// TestGraphs has what a Spec can say and what no family in package arch says, or none so plainly.
func TestGraphs(t *testing.T) {
	norm := func(name string) graph.Norm { return graph.Norm{Name: name, Epsilon: 1e-5} }
	attention := graph.Attention{
		Heads: 4, KVHeads: 2, KeyLen: 6, ValueLen: 5, Scale: 0.4,
		Rope: graph.RopeSpec{Dims: 6, Base: 500, Factor: 1},
	}
	otherBase := attention
	otherBase.Rope.Base = 7
	wide := graph.Attention{
		Heads: 6, KVHeads: 1, KeyLen: 10, ValueLen: 7, QNorm: norm("attn_q_norm"), Scale: 0.3, Cap: 1.5, Window: 9,
		Rope: graph.RopeSpec{Dims: 10, Base: 10000, Factor: 2, NeoX: true},
	}
	narrow := graph.Attention{
		Heads: 3, KVHeads: 3, KeyLen: 4, ValueLen: 12, KNorm: norm("attn_k_norm"), Scale: 0.5, Window: 3,
		Rope: graph.RopeSpec{Dims: 4, Base: 50, Factor: 1},
	}
	network := graph.Network{Hidden: 37}
	mixture := graph.Mixture{Experts: 5, Used: 2, Hidden: 13, WeightsScale: 1.5, Shared: graph.SharedExpert{Hidden: 17}}

	mixers := func(m ...graph.Mixer) []graph.Mixer { return m }
	pre := func(a, n graph.Mixer) graph.Layer {
		return graph.Layer{{Norm: norm("attn_norm"), Mixers: mixers(a)}, {Norm: norm("ffn_norm"), Mixers: mixers(n)}}
	}
	post := graph.Layer{
		{Mixers: mixers(attention), PostNorm: norm("post_attention_norm")},
		{Mixers: mixers(network), PostNorm: norm("post_ffw_norm")},
	}
	bare := graph.Layer{{Mixers: mixers(attention)}, {Mixers: mixers(network)}}
	parallel := graph.Layer{{Norm: norm("attn_norm"), Mixers: mixers(attention, network)}}
	scaled := func(scale float32, layer graph.Layer) graph.Layer {
		layer = slices.Clone(layer)
		for i := range layer {
			layer[i].Scale = scale
		}
		return layer
	}
	layers := func(l ...graph.Layer) graph.Spec { return graph.Spec{Layers: l} }

	for name, g := range map[string]graph.Spec{
		"parallel, as in Command R":      layers(parallel, parallel),
		"parallel with experts":          layers(graph.Layer{{Norm: norm("attn_norm"), Mixers: mixers(attention, network, mixture)}}),
		"parallel, between norms":        layers(graph.Layer{{Norm: norm("attn_norm"), Mixers: mixers(attention, network), PostNorm: norm("post_norm")}}),
		"parallel, of the stream itself": layers(graph.Layer{{Mixers: mixers(network, attention)}}),
		"norms only after, as in OLMo 2": layers(post, post),
		"norms nowhere":                  layers(bare, bare),
		"scaled":                         layers(scaled(0.22, pre(attention, network)), scaled(-0.6, pre(attention, mixture))),
		"scaled after norms":             layers(scaled(1.7, post)),
		"scaled parallel":                layers(scaled(0.4, parallel)),
		"scaled without norms":           layers(scaled(0.5, bare)),
		"one sub-layer, then three": layers(
			graph.Layer{{Norm: norm("attn_norm"), Mixers: mixers(attention)}},
			append(pre(wide, network), graph.Sublayer{Norm: norm("moe_norm"), Mixers: mixers(mixture)}),
		),
		"layers that differ": layers(
			pre(attention, network), pre(wide, graph.Network{Hidden: 11, Activation: graph.GELUTanh}), pre(narrow, graph.Network{Hidden: 70}),
			pre(otherBase, network),
		),
		"scaled embeddings": {EmbeddingScale: 0.3, Layers: []graph.Layer{pre(attention, network)}},
		"capped logits":     {LogitCap: 2, Layers: []graph.Layer{pre(attention, network)}},
		"all at once": {
			EmbeddingScale: 3, LogitCap: 4,
			Layers: []graph.Layer{parallel, scaled(0.5, post), pre(wide, mixture), scaled(0.3, bare), pre(narrow, network)},
		},
	} {
		g.Vocabulary, g.Width, g.OutputNorm = small.vocabulary, small.width, norm("output_norm")
		t.Run(name, func(t *testing.T) {
			src := random{Spec: g, biased: true}.build(1)
			m, err := infer.NewModel(g, src, infer.Options{Threads: 2})
			require.NoError(t, err)
			chunks := small.chunks(20, 101, 0, 1) // the second is longer than a block of queries
			want := make([][][]float64, len(chunks))
			for c, chunk := range chunks {
				want[c] = logitsOf(g, src, chunk)
			}
			requireForward(t, want, m, chunks)
			for _, prompt := range []int{1, 12} {
				requireSession(t, want[0], m, chunks[0], prompt)
			}
		})
	}
}

// requireForward demands logits of every position of chunks.
func requireForward(t *testing.T, want [][][]float64, m *infer.Model, chunks [][]int32) {
	t.Helper()
	visit, logits := collect(t, chunks, 0)
	require.NoError(t, m.Forward(t.Context(), infer.Chunks(chunks, 0), visit))
	for c, got := range logits() {
		require.Len(t, got, len(want[c]))
		for pos := range got {
			require.InDeltaSlice(t, want[c][pos], got[pos], 1e-4, "chunk %d, position %d", c, pos)
		}
	}
}

// requireSession demands logits of a text that starts with a prompt of so many tokens and
// grows by one token after the other.
func requireSession(t *testing.T, want [][]float64, m *infer.Model, tokens []int32, prompt int) {
	t.Helper()
	session, err := m.NewSession(len(tokens), gguf.F32)
	require.NoError(t, err)
	logits, err := session.Start(t.Context(), tokens[:prompt])
	require.NoError(t, err)
	for i := prompt; ; i++ {
		require.InDeltaSlice(t, want[i-1], logits, 1e-4, "%d tokens after %d", i, prompt)
		if i == len(tokens) {
			return
		}
		logits, err = session.Add(t.Context(), tokens[i])
		require.NoError(t, err)
	}
}
