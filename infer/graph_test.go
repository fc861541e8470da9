package infer_test

import (
	"maps"
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
	// with returns the attention with something else.
	with := func(change func(*graph.Attention)) graph.Attention {
		a := attention
		change(&a)
		return a
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

	layerNorm := func(name string) graph.Norm { return graph.Norm{Name: name, Kind: graph.LayerNorm, Epsilon: 1e-5} }
	perLayer := graph.PerLayer{Width: 7, Norm: norm("per_layer_proj_norm")}
	xIELU := graph.XIELUNumbers{AlphaP: 0.8, AlphaN: 0.9, Beta: 0.5, Epsilon: -1e-6}
	shortConv := graph.ShortConv{Inputs: 3, Width: small.width}
	mamba := graph.Mamba{Inner: 70, States: 5, Rank: 3, Inputs: 4}
	mamba2 := graph.Mamba2{Inner: 84, States: 11, Heads: 4, Groups: 2, Inputs: 4, Norm: norm("ssm_norm")}
	deltaNet := graph.DeltaNet{KeyLen: 9, KeyHeads: 2, ValueHeads: 4, Values: 140, Inputs: 4, Norm: norm("ssm_norm")}
	// mixes returns a layer of a mixer with something else.
	mixes := func(m graph.Mixer) graph.Spec { return layers(pre(m, network)) }
	attends := func(change func(*graph.Attention)) graph.Spec { return layers(pre(with(change), network)) }
	computes := func(n graph.Network) graph.Spec {
		n.Hidden = 300 // more than are activated at once without a gate
		return layers(pre(attention, n))
	}
	routes := func(change func(*graph.Mixture)) graph.Spec {
		m := graph.Mixture{Experts: 12, Used: 3, Hidden: 13, WeightsScale: 1, Shared: graph.SharedExpert{Hidden: 17}}
		change(&m)
		return layers(pre(attention, m))
	}
	latent := func(change func(*graph.MLA)) graph.Spec {
		m := graph.MLA{
			Heads: 3, KeyLen: 10, ValueLen: 5, QueryRank: 9, Rank: 12, Absorbed: true, QNorm: norm("attn_q_a_norm"), KVNorm: norm("attn_kv_a_norm"),
			Rope: graph.RopeSpec{Dims: 4, Base: 500, Factor: 1}, Scale: 0.4,
		}
		change(&m)
		return layers(pre(m, network), pre(m, network))
	}
	indexer := graph.Indexer{
		Heads: 12, KeyLen: 9, TopK: 6, Norm: layerNorm("indexer.k_norm"), Rope: graph.RopeSpec{Dims: 4, Base: 500, Factor: 1, NeoX: true},
	}
	indexes := func(shared int) graph.MLA {
		m := latent(func(m *graph.MLA) { m.Indexer = indexer }).Layers[0][0].Mixers[0].(graph.MLA)
		m.Indexer.Shared = shared
		return m
	}
	original := func(tokens int) func(*graph.Attention) {
		return func(a *graph.Attention) {
			a.Rope.Factors, a.Rope.LongFactors, a.Rope.Original, a.Rope.Magnitude = "short.weight", "long.weight", tokens, 1.2
		}
	}

	altUp := graph.Spec{EmbeddingScale: 0.8, AltUp: graph.AltUp{Streams: 3, Active: 1, Norm: norm("altup_router_norm")}, Layers: []graph.Layer{
		{
			{Norm: norm("attn_norm"), EndFactor: 0.7, Mixers: mixers(
				graph.Normed{Mixer: with(func(a *graph.Attention) { a.Kept, a.Window = true, 5 }), PostNorm: norm("post_attention_norm")},
				graph.Laurel{Rank: 5, Norm: norm("laurel_post_norm")},
			)},
			{Norm: norm("ffn_norm"), Mixers: mixers(network), PostNorm: norm("post_ffw_norm")},
			{Mixers: mixers(perLayer), PostNorm: norm("post_norm")},
		},
		append(pre(with(func(a *graph.Attention) { a.Shared, a.Window = 1, 5 }), network), graph.Sublayer{Mixers: mixers(perLayer)}),
	}}

	for name, g := range map[string]graph.Spec{
		"no rotary embedding":            attends(func(a *graph.Attention) { a.Rope = graph.RopeSpec{} }),
		"part of a head rotated":         attends(func(a *graph.Attention) { a.Rope.Dims = 4 }),
		"part of a head rotated, halves": attends(func(a *graph.Attention) { a.Rope.Dims, a.Rope.NeoX = 4, true }),
		"YaRN": attends(func(a *graph.Attention) {
			a.Rope.Factor, a.Rope.Original, a.Rope.Magnitude, a.Rope.Yarn = 4, 16, 1.3, graph.Yarn{Fast: 2, Slow: 0.02}
		}),
		"YaRN, between whole pairs": attends(func(a *graph.Attention) {
			a.Rope.Factor, a.Rope.Original, a.Rope.Yarn = 4, 16, graph.Yarn{Fast: 2, Slow: 0.02, Fractional: true}
		}),
		"LongRoPE, long":  attends(original(10)),
		"LongRoPE, short": attends(original(200)),
		"norms of all heads": attends(func(a *graph.Attention) {
			a.QNorm, a.KNorm, a.NormSpan = norm("attn_q_norm"), norm("attn_k_norm"), graph.AllHeads
		}),
		"norms of heads with weights of their own": attends(func(a *graph.Attention) {
			a.QNorm, a.KNorm, a.NormSpan = norm("attn_q_norm"), layerNorm("attn_k_norm"), graph.OwnHead
		}),
		"norms of heads without weights, last": attends(func(a *graph.Attention) {
			a.QNorm, a.KNorm, a.NormLast = norm(""), norm("attn_k_norm"), true
		}),
		"one matrix for queries, keys and values": attends(func(a *graph.Attention) { a.Fused = true }),
		"clamped":                     attends(func(a *graph.Attention) { a.Clamp = 0.4 }),
		"queries that grow":           attends(func(a *graph.Attention) { a.Temperature = graph.Temperature{Scale: 0.5, Length: 7, Offset: 2} }),
		"sinks":                       attends(func(a *graph.Attention) { a.Sinks = true }),
		"sinks, capped in a window":   attends(func(a *graph.Attention) { a.Sinks, a.Cap, a.Window = true, 2, 5 }),
		"biased by distance":          attends(func(a *graph.Attention) { a.Heads, a.KVHeads, a.MaxBias = 3, 1, 6 }),
		"biased by distance, windows": attends(func(a *graph.Attention) { a.Heads, a.KVHeads, a.MaxBias, a.Window = 3, 3, 6, 9 }),
		"no gate":                     computes(graph.Network{Ungated: true}),
		"no gate, GELU with tanh":     computes(graph.Network{Ungated: true, Activation: graph.GELUTanh}),
		"GELU":                        computes(graph.Network{Activation: graph.GELU}),
		"squared ReLU":                computes(graph.Network{Ungated: true, Activation: graph.ReLU2}),
		"xIELU":                       computes(graph.Network{Ungated: true, Activation: graph.XIELU, XIELU: xIELU}),
		"gpt-oss's SwiGLU":            computes(graph.Network{Activation: graph.SwiGLUOAI}),
		"gpt-oss's layers": layers(pre(
			with(func(a *graph.Attention) { a.Sinks, a.Window = true, 5 }),
			graph.Mixture{Experts: 5, Used: 2, Hidden: 13, WeightsScale: 1, NormTopKProb: true, Activation: graph.SwiGLUOAI},
		)),
		"routed by sigmoids": routes(func(m *graph.Mixture) { m.Gating, m.NormTopKProb, m.WeightsScale = graph.SigmoidGating, true, 2.5 }),
		"routed by sigmoids and biases, in groups": routes(func(m *graph.Mixture) {
			m.Gating, m.Biased, m.Groups = graph.SigmoidGating, true, graph.ExpertGroups{Count: 4, Used: 2, Tops: 2}
		}),
		"routed by the best of groups": routes(func(m *graph.Mixture) { m.Groups = graph.ExpertGroups{Count: 4, Used: 3, Tops: 1} }),
		"routed by softmax and biases": routes(func(m *graph.Mixture) { m.Biased, m.NormTopKProb = true, true }),
		"weighed first": routes(func(m *graph.Mixture) {
			m.WeighFirst, m.Gating, m.Used, m.Shared.Gated = true, graph.SigmoidGating, 1, true
		}),
		"experts without gates":                   routes(func(m *graph.Mixture) { m.Ungated, m.Activation = true, graph.ReLU2 }),
		"one matrix for gates and ups of experts": routes(func(m *graph.Mixture) { m.Fused = true }),
		"Gemma 4's experts": layers(graph.Layer{{Mixers: mixers(attention)}, {Mixers: mixers(
			graph.Normed{Norm: norm("ffn_norm"), Mixer: network, PostNorm: norm("post_ffw_norm_1")},
			graph.Normed{PostNorm: norm("post_ffw_norm_2"), Mixer: graph.Mixture{
				Experts: 5, Used: 2, Hidden: 13, WeightsScale: 1, Scaled: true, Router: norm(""), Norm: norm("pre_ffw_norm_2"),
			}},
		), PostNorm: norm("post_ffw_norm")}}),
		"latent attention":                        latent(func(*graph.MLA) {}),
		"latent attention of many heads":          latent(func(m *graph.MLA) { m.Heads = 37 }),
		"latent attention, queries of the token":  latent(func(m *graph.MLA) { m.QueryRank, m.QNorm = 0, graph.Norm{} }),
		"latent attention, not absorbed":          latent(func(m *graph.MLA) { m.Absorbed = false }),
		"latent attention with queries that grow": latent(func(m *graph.MLA) { m.Temperature = graph.Temperature{Scale: 0.5, Length: 7} }),
		"an indexer":                    latent(func(m *graph.MLA) { m.Heads, m.Indexer = 18, indexer }),
		"an indexer, keys of all heads": latent(func(m *graph.MLA) { m.Absorbed, m.Indexer = false, indexer }),
		"an indexer of three layers":    layers(pre(indexes(0), network), pre(indexes(1), network), pre(indexes(2), network)),
		"a gate of the heads":           attends(func(a *graph.Attention) { a.GateApart = true }),
		"in chunks":                     attends(func(a *graph.Attention) { a.Window, a.Chunked = 7, true }),
		"one matrix for gate and up":    computes(graph.Network{Fused: true}),
		"LayerNorm": layers(graph.Layer{
			{Norm: layerNorm("attn_norm"), Mixers: mixers(attention)}, {Norm: layerNorm(""), Mixers: mixers(network), PostNorm: layerNorm("post_norm")},
		}),
		"norms without weights": layers(graph.Layer{{Norm: norm(""), Mixers: mixers(attention)}, {Norm: norm(""), Mixers: mixers(network)}}),
		"parallel, each of its own norm": layers(graph.Layer{{Mixers: mixers(
			graph.Normed{Norm: layerNorm("attn_norm"), Mixer: attention}, graph.Normed{Norm: layerNorm("ffn_norm"), Mixer: network},
		)}}),
		"embeddings of positions": {Positions: 101, EmbeddingScale: 1.5, Layers: []graph.Layer{pre(attention, network)}},
		"types of tokens":         {TokenTypes: 2, Layers: []graph.Layer{pre(attention, network)}},
		"norms of the stream, as in BERT": layers(graph.Layer{
			{Mixers: mixers(attention), EndNorm: layerNorm("attn_output_norm")}, {Mixers: mixers(network), EndNorm: layerNorm("layer_output_norm")},
		}),
		"keys that are values": attends(func(a *graph.Attention) {
			a.KeyValues, a.ValueLen, a.KNorm, a.VNorm = true, a.KeyLen, norm("attn_k_norm"), norm("")
		}),
		"keys and values of other layers": layers(
			pre(with(func(a *graph.Attention) { a.Kept, a.Window = true, 5 }), network),
			pre(with(func(a *graph.Attention) { a.Kept, a.VNorm, a.KeyLen, a.Rope.Dims = true, norm("attn_v_norm"), 8, 8 }), network),
			pre(with(func(a *graph.Attention) { a.Shared, a.Window = 2, 5 }), network),
			pre(with(func(a *graph.Attention) { a.Shared, a.QNorm, a.KeyLen, a.Rope.Dims = 2, norm("attn_q_norm"), 8, 8 }), network),
		),
		"something of each layer's own for a token": {EmbeddingScale: 0.8, Layers: []graph.Layer{
			append(pre(attention, network), graph.Sublayer{Mixers: mixers(perLayer), PostNorm: norm("post_norm"), EndScale: "layer_output_scale"}),
			append(pre(attention, network), graph.Sublayer{Mixers: mixers(perLayer)}),
		}},
		"several streams":            altUp,
		"beside a layer of low rank": layers(graph.Layer{{Norm: norm("attn_norm"), Mixers: mixers(attention, graph.Laurel{Rank: 3, Norm: norm("laurel_post_norm")})}}),
		"sparse gates":               computes(graph.Network{Sparse: true, Cutoff: 0.6, Activation: graph.GELUTanh}),
		"gates above less than mean": computes(graph.Network{Sparse: true, Cutoff: -1.2}),
		"gated attention":            attends(func(a *graph.Attention) { a.Gated, a.ValueLen = true, a.KeyLen }),
		"convolutions":               layers(pre(shortConv, network), pre(attention, network), pre(shortConv, mixture)),
		"Mamba":                      mixes(mamba),
		"Mamba, wide":                mixes(graph.Mamba{Inner: 96, States: 16, Rank: 3, Inputs: 1, StepNorm: norm("dt_norm"), InputNorm: norm("b_norm"), StateNorm: norm("")}),
		"Mamba 2":                    mixes(mamba2),
		"Mamba 2 without a norm":     mixes(graph.Mamba2{Inner: 64, States: 16, Heads: 2, Groups: 1, Inputs: 2}),
		"beside attention":           layers(graph.Layer{{Norm: norm("attn_norm"), Mixers: mixers(mamba2, attention)}, {Norm: norm("ffn_norm"), Mixers: mixers(network)}}),
		"delta rule":                 mixes(deltaNet),
		"delta rule, tiled": mixes(graph.DeltaNet{
			KeyLen: 16, KeyHeads: 2, ValueHeads: 6, Values: 192, Inputs: 2, Norm: norm("ssm_norm"), Tiled: true,
		}),
		"delta rule, paired": mixes(graph.DeltaNet{
			KeyLen: 6, KeyHeads: 2, ValueHeads: 4, Values: 64, Inputs: 3, Norm: norm("ssm_norm"), Paired: true,
		}),
		"hybrid":                         layers(pre(deltaNet, network), pre(mamba2, mixture), pre(attention, network), pre(mamba, network)),
		"norm of embeddings":             {EmbeddingNorm: layerNorm("token_embd_norm"), Layers: []graph.Layer{pre(attention, network)}},
		"scaled logits":                  {LogitScale: 0.3, LogitCap: 1, Layers: []graph.Layer{pre(attention, network)}},
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
			src := random{Spec: g, biased: true, biasedExperts: true}.build(1)
			seen := inputs{}
			m, err := infer.NewModel(g, src, infer.Options{Threads: 2, Input: func(in infer.Input) {
				i := seen.of(in.Tensor, in.Matrix, len(in.Squares))
				i.rows += in.Rows
				add(i.squares, in.Squares, 1)
			}})
			require.NoError(t, err)
			chunks := small.chunks(20, 101, 0, 1) // the second is longer than a block of queries
			want, multiplied := make([][][]float64, len(chunks)), inputs{}
			for c, chunk := range chunks {
				want[c] = logitsOf(g, src, chunk, multiplied)
			}
			requireForward(t, want, m, chunks)
			requireInputs(t, multiplied, seen)
			for _, prompt := range []int{1, 12} {
				requireSession(t, want[0], m, chunks[0], prompt)
			}
			requireSideBySide(t, m, unequal(chunks[0])...)
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

// requireInputs demands that matrices have seen what they should.
func requireInputs(t *testing.T, want, got inputs) {
	t.Helper()
	require.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
	for matrix, in := range want {
		require.Equal(t, in.rows, got[matrix].rows, matrix)
		for c, v := range in.squares {
			require.InDelta(t, v, got[matrix].squares[c], 1e-4*(1+v), "%v, column %d", matrix, c)
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

// TestPositionsEnd has a text that is longer than there are embeddings of positions.
func TestPositionsEnd(t *testing.T) {
	g := graph.Spec{Vocabulary: 5, Width: 4, Positions: 3, OutputNorm: graph.Norm{Name: "output_norm"}}
	m, err := infer.NewModel(g, random{Spec: g}.build(1), infer.Options{})
	require.NoError(t, err)
	visit := func(_, _ int, _ []float32) {}
	require.NoError(t, m.Forward(t.Context(), infer.Chunks([][]int32{{1, 2, 3}}, 0), visit))
	require.ErrorContains(t, m.Forward(t.Context(), infer.Chunks([][]int32{{1, 2, 3, 4}}, 0), visit), "there is no embedding of position 3, only of 3")
	session, err := m.NewSession(9, gguf.F32)
	require.NoError(t, err)
	_, err = session.Start(t.Context(), []int32{1, 2, 3})
	require.NoError(t, err)
	_, err = session.Add(t.Context(), 4)
	require.ErrorContains(t, err, "there is no embedding of position 3, only of 3")
}

// TestInputsOfParts has matrices that are multiplied in parts: what goes into them is told once.
func TestInputsOfParts(t *testing.T) {
	g := graph.Spec{Vocabulary: small.vocabulary, Width: small.width, OutputNorm: graph.Norm{Name: "output_norm"}, Layers: []graph.Layer{{
		{Mixers: []graph.Mixer{graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 6, ValueLen: 5, Fused: true}}},
		{Mixers: []graph.Mixer{graph.Network{Hidden: 11, Fused: true}}},
	}}}
	var told []string
	m, err := infer.NewModel(g, random{Spec: g}.build(1), infer.Options{Input: func(in infer.Input) {
		require.Equal(t, [3]int{0, 1, 7}, [3]int{in.Matrix, in.Matrices, in.Rows}, in.Tensor)
		told = append(told, in.Tensor)
	}})
	require.NoError(t, err)
	require.NoError(t, m.Forward(t.Context(), infer.Chunks(small.chunks(7), 0), func(_, _ int, _ []float32) {}))
	require.Equal(t, []string{"blk.0.attn_qkv.weight", "blk.0.attn_output.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight", "output.weight"}, told)
}

// TestEmbed has embeddings that are what logits are made of.
func TestEmbed(t *testing.T) {
	src := small.build(1)
	m, err := infer.New(src, infer.Options{})
	require.NoError(t, err)
	chunks := small.chunks(9, 0, 4)
	want := make([][][]float64, len(chunks))
	n := naive{source: src, inputs: inputs{}}
	err = m.Embed(t.Context(), infer.Chunks(chunks, 3), func(chunk, pos int, embedding []float32) {
		x := make([]float64, len(embedding))
		for i, v := range embedding {
			x[i] = float64(v)
		}
		require.Len(t, want[chunk], pos)
		want[chunk] = append(want[chunk], n.multiply("output", 0, m.Vocabulary(), x))
	})
	require.NoError(t, err)
	requireForward(t, want, m, chunks)
}

// TestEmbedSeveralStreams has embeddings that several streams make together, and streams that enter a layer.
func TestEmbedSeveralStreams(t *testing.T) {
	norm := graph.Norm{Name: "attn_norm", Epsilon: 1e-5}
	layer := graph.Layer{
		{Norm: norm, Mixers: []graph.Mixer{graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 6, ValueLen: 5, Scale: 0.4}}},
		{Mixers: []graph.Mixer{graph.PerLayer{Width: 7, Norm: graph.Norm{Name: "per_layer_proj_norm", Epsilon: 1e-5}}}},
	}
	g := graph.Spec{
		Vocabulary: small.vocabulary, Width: small.width, EmbeddingScale: 1, AltUp: graph.AltUp{Streams: 3, Norm: graph.Norm{Name: "altup_router_norm"}},
		OutputNorm: graph.Norm{Name: "output_norm", Epsilon: 1e-5}, Layers: []graph.Layer{layer, layer},
	}
	src := random{Spec: g}.build(1)
	chunks := small.chunks(9, 3, 4)
	want := make([][][]float64, len(chunks))
	for c, chunk := range chunks {
		want[c] = logitsOf(g, src, chunk, inputs{})
	}
	m, err := infer.NewModel(g, src, infer.Options{})
	require.NoError(t, err)
	visit, logits := collect(t, chunks, 2)
	require.NoError(t, m.Forward(t.Context(), infer.Chunks(chunks, 2), visit))
	n := naive{source: src, inputs: inputs{}}
	require.NoError(t, m.Embed(t.Context(), infer.Chunks(chunks, 0), func(chunk, pos int, embedding []float32) {
		x := make([]float64, len(embedding))
		for i, v := range embedding {
			x[i] = float64(v)
		}
		require.InDeltaSlice(t, want[chunk][pos], n.multiply("output", 0, g.Vocabulary, x), 1e-4)
	}))
	strands := strandsOf(m, chunks)
	require.NoError(t, strands.Enter(t.Context()))
	require.NoError(t, strands.Advance(t.Context(), 0, 1))
	require.NoError(t, strands.Advance(t.Context(), 1, 2))
	visit, fromStreams := collect(t, chunks, 2)
	require.NoError(t, strands.Logits(t.Context(), 2, visit))
	require.Equal(t, logits(), fromStreams())
}

func TestEncodersHaveNoLogits(t *testing.T) {
	g := graph.Spec{Architecture: "bert", Vocabulary: 5, Width: 4, Encoder: true}
	src := random{Spec: g, tied: true}.build(1)
	m, err := infer.NewModel(g, src, infer.Options{})
	require.NoError(t, err)
	chunks := infer.Chunks([][]int32{{1, 2}}, 0)
	embeddings := make([][]float32, 2)
	require.NoError(t, m.Embed(t.Context(), chunks, func(_, pos int, embedding []float32) { embeddings[pos] = slices.Clone(embedding) }))
	require.Equal(t, [][]float32{src.data[0][4:8], src.data[0][8:12]}, embeddings)

	err = m.Forward(t.Context(), chunks, func(_, _ int, _ []float32) {})
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, "a bert model is an encoder")
	_, err = m.NewSession(9, gguf.F32)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
}

// TestSharedIndexersNeedTheirLayer has layers that share the indexer of none, or run without it.
func TestSharedIndexersNeedTheirLayer(t *testing.T) {
	model := func(change func(*graph.Indexer)) (*infer.Model, error) {
		a := graph.MLA{
			Heads: 1, KeyLen: 4, ValueLen: 2, QueryRank: 3, Rank: 2, Rope: graph.RopeSpec{Dims: 2, Base: 500, Factor: 1},
			KVNorm: graph.Norm{Name: "attn_kv_a_norm"}, QNorm: graph.Norm{Name: "attn_q_a_norm"},
			Indexer: graph.Indexer{Heads: 2, KeyLen: 4, TopK: 1, Norm: graph.Norm{Name: "indexer.k_norm"}, Rope: graph.RopeSpec{Dims: 2, Base: 500, Factor: 1}},
		}
		b := a
		b.Indexer.Shared = 1
		change(&b.Indexer)
		g := graph.Spec{Vocabulary: 5, Width: 4, OutputNorm: graph.Norm{Name: "output_norm"}, Layers: []graph.Layer{
			{{Mixers: []graph.Mixer{a}}}, {{Mixers: []graph.Mixer{b}}},
		}}
		return infer.NewModel(g, random{Spec: g}.build(1), infer.Options{})
	}
	for _, change := range []func(*graph.Indexer){
		func(x *graph.Indexer) { x.Shared = 2 },
		func(x *graph.Indexer) { x.TopK = 2 },
	} {
		_, err := model(change)
		require.ErrorIs(t, err, gguf.ErrCorrupt)
		require.ErrorContains(t, err, "layer 1 cannot share the indexer of layer")
	}
	m, err := model(func(*graph.Indexer) {})
	require.NoError(t, err)
	require.False(t, m.CanBegin(1))
}

// TestSharedKeysNeedTheirLayer has layers that share keys and values with none, or run without it.
func TestSharedKeysNeedTheirLayer(t *testing.T) {
	model := func(change func(*graph.Attention)) (*infer.Model, error) {
		a := graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 6, ValueLen: 5, Kept: true}
		b := a
		b.Kept, b.Shared = false, 1
		change(&b)
		g := graph.Spec{Vocabulary: 5, Width: 4, OutputNorm: graph.Norm{Name: "output_norm"}, Layers: []graph.Layer{
			{{Mixers: []graph.Mixer{a}}}, {{Mixers: []graph.Mixer{b}}},
		}}
		src := random{Spec: g}.build(1)
		for _, name := range []string{"attn_k", "attn_v", "attn_k_norm"} { // published files have them, too
			src.tensors = append(src.tensors, gguf.TensorInfo{Name: "blk.1." + name + ".weight", Type: gguf.F32, Shape: []int64{1}})
			src.data = append(src.data, []float32{1})
		}
		return infer.NewModel(g, src, infer.Options{})
	}
	for _, change := range []func(*graph.Attention){
		func(a *graph.Attention) { a.Shared = 2 },
		func(a *graph.Attention) { a.KVHeads = 1 },
		func(a *graph.Attention) { a.KeyLen = 8 },
		func(a *graph.Attention) { a.Window = 3 },
	} {
		_, err := model(change)
		require.ErrorIs(t, err, gguf.ErrCorrupt)
		require.ErrorContains(t, err, "layer 1 cannot share")
	}
	m, err := model(func(*graph.Attention) {})
	require.NoError(t, err)
	require.True(t, m.CanBegin(0))
	require.False(t, m.CanBegin(1))
	require.True(t, m.CanBegin(2))
	strands := strandsOf(m, [][]int32{{1}})
	require.ErrorIs(t, strands.Advance(t.Context(), 1, 2), gguf.ErrUnsupported)
	require.ErrorIs(t, strands.Advance(t.Context(), 0, 1), gguf.ErrUnsupported)
	require.NoError(t, strands.Advance(t.Context(), 0, 2))
}
