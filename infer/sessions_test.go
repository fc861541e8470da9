package infer_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// growing is a text that begins with a prompt.
type growing struct {
	tokens []int32
	prompt int
}

// requireSideBySide demands that texts have side by side the logits that each has alone, to the last bit. Those that end make room
// for the next, at most three are under way.
func requireSideBySide(t *testing.T, m *infer.Model, texts ...growing) {
	t.Helper()
	want := make([][][]float32, len(texts))
	room := 0
	for _, text := range texts {
		room = max(room, len(text.tokens))
	}
	for i, text := range texts {
		session, err := m.NewSession(room, gguf.F32)
		require.NoError(t, err)
		logits, err := session.Start(t.Context(), text.tokens[:text.prompt])
		require.NoError(t, err)
		want[i] = append(want[i], slices.Clone(logits))
		for _, id := range text.tokens[text.prompt:] {
			logits, err = session.Add(t.Context(), id)
			require.NoError(t, err)
			want[i] = append(want[i], slices.Clone(logits))
		}
	}
	places, err := m.NewSessions(min(3, len(texts)), room, gguf.F32)
	require.NoError(t, err)
	compared, next, of := 0, 0, make(map[*infer.Session]int)
	require.NotEmpty(t, texts)
	for next < len(texts) || len(of) > 0 {
		var free infer.Sessions
		var prompts [][]int32
		for _, s := range places {
			if _, ok := of[s]; !ok && next < len(texts) {
				of[s] = next
				free, prompts = append(free, s), append(prompts, texts[next].tokens[:texts[next].prompt])
				next++
			}
		}
		if len(free) > 0 {
			require.NoError(t, free.Start(t.Context(), prompts))
		}
		var growing infer.Sessions
		var tokens []int32
		for _, s := range places {
			i, ok := of[s]
			if !ok {
				continue
			}
			text := texts[i]
			require.Equal(t, want[i][s.Len()-text.prompt], s.Logits(), "text %d, %d tokens", i, s.Len())
			compared++
			if s.Len() == len(text.tokens) {
				delete(of, s)
				continue
			}
			growing, tokens = append(growing, s), append(tokens, text.tokens[s.Len()])
		}
		if len(growing) > 0 {
			require.NoError(t, growing.Add(t.Context(), tokens))
		}
	}
	all := 0
	for _, logits := range want {
		all += len(logits)
	}
	require.Equal(t, all, compared)
}

// unequal returns texts of unequal lengths, some of which begin alike, in part or in whole, and end early.
func unequal(tokens []int32) []growing {
	fork := slices.Concat(tokens[:5], tokens[:6])
	return []growing{{tokens[:17], 9}, {fork, 8}, {tokens[:2], 1}, {tokens[:7], 5}, {tokens[3:20], 12}, {tokens[:17], 9}, {tokens[:12], 9}}
}

// TestSessionsSideBySideOfQuantized has rows of blocks multiplied with several vectors, of experts that differ.
func TestSessionsSideBySideOfQuantized(t *testing.T) {
	s := small
	s.width, s.hidden, s.experts, s.used, s.keyLen, s.valueLen = 256, 256, 4, 2, 64, 64
	src := s.build(3)
	texts := unequal(s.chunks(20)[0])
	for _, ft := range []recipe.FileType{recipe.F16, recipe.BF16, recipe.Q8_0, recipe.Q4_K_M, recipe.Q3_K_S, recipe.IQ4_XS, recipe.Q4_0} {
		rows := stored(t, quantized(t, src, ft))
		t.Run(ft.String(), func(t *testing.T) {
			isatest.ForEach(t, func(t *testing.T) {
				if isa.Current() == isa.Generic && ft != recipe.Q8_0 {
					t.Skip("slow, and as those with another type")
				}
				for _, compute := range []infer.Compute{infer.Exact, infer.Int8} {
					m, err := infer.New(rows, infer.Options{Threads: 2, Compute: compute})
					require.NoError(t, err)
					requireSideBySide(t, m, texts[:4]...)
				}
			})
		})
	}
}

// TestSessionsReadCachesAsStored has heads whose keys and values are multiplied as they are stored, where there are kernels for that: of all
// positions, of windows that begin anywhere in the cache, of values that are parts of keys, and of what an indexer chose.
func TestSessionsReadCachesAsStored(t *testing.T) {
	norm := func(name string) graph.Norm { return graph.Norm{Name: name, Epsilon: 1e-5} }
	attention := graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 32, ValueLen: 16, Scale: 0.4, Rope: graph.RopeSpec{Dims: 32, Base: 500, Factor: 1}}
	window, sinks := attention, attention
	window.Window, sinks.Sinks, sinks.KeyLen, sinks.ValueLen = 7, true, 80, 112
	latent := graph.MLA{
		Heads: 3, KeyLen: 20, ValueLen: 5, QueryRank: 9, Rank: 16, Absorbed: true, QNorm: norm("attn_q_a_norm"), KVNorm: norm("attn_kv_a_norm"),
		Rope: graph.RopeSpec{Dims: 16, Base: 500, Factor: 1}, Scale: 0.4,
	}
	indexed := latent
	indexed.Indexer = graph.Indexer{Heads: 12, KeyLen: 16, TopK: 6, Norm: norm("indexer.k_norm"), Rope: graph.RopeSpec{Dims: 4, Base: 500, Factor: 1}}
	g := graph.Spec{Vocabulary: small.vocabulary, Width: small.width, OutputNorm: norm("output_norm")}
	for _, m := range []graph.Mixer{attention, window, sinks, latent, indexed} {
		g.Layers = append(g.Layers, graph.Layer{{Norm: norm("attn_norm"), Mixers: []graph.Mixer{m}}})
	}
	src, tokens := random{Spec: g}.build(1), small.chunks(20)[0]
	want := logitsOf(g, src, tokens, inputs{})
	isatest.ForEach(t, func(t *testing.T) {
		m, err := infer.NewModel(g, src, infer.Options{Threads: 2})
		require.NoError(t, err)
		for _, prompt := range []int{1, 12} {
			requireSession(t, want, m, tokens, prompt)
		}
		requireSideBySide(t, m, unequal(tokens)...)
	})
}

// rowsInMemory is a Source of rows as they are in files.
type rowsInMemory struct {
	gguf.Source
	rows [][]byte
}

// stored reads all rows of a Source.
func stored(t *testing.T, src gguf.Source) gguf.Source {
	t.Helper()
	s := rowsInMemory{src, nil}
	for i, info := range src.Tensors() {
		s.rows = append(s.rows, make([]byte, info.Rows()*info.RowBytes()))
		require.NoError(t, src.ReadRows(s.rows[i], i, 0, info.Rows()))
	}
	return s
}

func (s rowsInMemory) ReadRows(dst []byte, tensor int, first, _ int64) error {
	copy(dst, s.rows[tensor][first*s.Tensors()[tensor].RowBytes():])
	return nil
}

// TestSessionsThatFailChangeNothing has one of several tokens that cannot be added.
func TestSessionsThatFailChangeNothing(t *testing.T) {
	m, err := infer.New(small.build(1), infer.Options{})
	require.NoError(t, err)
	sessions, err := m.NewSessions(2, 3, gguf.F32)
	require.NoError(t, err)
	require.ErrorContains(t, sessions.Start(t.Context(), [][]int32{{1}}), "2 sessions for 1 texts")
	require.ErrorContains(t, sessions.Start(t.Context(), [][]int32{{1}, {}}), "the prompt is empty")
	require.ErrorIs(t, sessions.Start(t.Context(), [][]int32{{1}, {1, 2, 3, 4}}), infer.ErrContextFull)
	require.NoError(t, sessions.Start(t.Context(), [][]int32{{1, 2, 3}, {1}}))
	require.ErrorIs(t, sessions.Add(t.Context(), []int32{1, 1}), infer.ErrContextFull)
	require.ErrorContains(t, sessions[1:].Add(t.Context(), []int32{41}), "token 41")
	require.ErrorContains(t, sessions[:0].Add(t.Context(), nil), "0 sessions for 0 texts")
	require.ErrorContains(t, infer.Sessions{sessions[1], sessions[1]}.Add(t.Context(), []int32{1, 1}), "made together")
	other, err := m.NewSessions(1, 3, gguf.F32)
	require.NoError(t, err)
	require.ErrorContains(t, infer.Sessions{sessions[1], other[0]}.Add(t.Context(), []int32{1, 1}), "made together")
	require.Equal(t, 3, sessions[0].Len())
	require.Equal(t, 1, sessions[1].Len())
	require.ErrorIs(t, sessions[1:].Add(&expiring{t.Context(), 1}, []int32{2}), context.Canceled)
	require.NoError(t, sessions[1:].Add(t.Context(), []int32{2}))
	require.NoError(t, sessions[1:].Add(t.Context(), []int32{3}))
	require.InDeltaSlice(t, sessions[0].Logits(), sessions[1].Logits(), 1e-4)
}

// TestSessionsThatFit has places within half of the memory that a run leaves.
func TestSessionsThatFit(t *testing.T) {
	m := func(memory int64) *infer.Model {
		m, err := infer.New(small.build(1), infer.Options{Memory: memory, Threads: 1})
		require.NoError(t, err)
		return m
	}
	require.Equal(t, 1, m(1).SessionsThatFit(1000, gguf.F32))
	few, more := m(1<<30).SessionsThatFit(1e5, gguf.F32), m(2<<30).SessionsThatFit(1e5, gguf.F32)
	perToken := 4 * 2 * 2 * (6 + 5) // layers, heads
	require.InDelta(t, (2<<30-1<<30)/2/(1e5*perToken), more-few, 3)
	require.Less(t, m(1<<30).SessionsThatFit(1e5, gguf.F32), m(1<<30).SessionsThatFit(1e5, gguf.F16))
	windows, err := infer.New(small.of("gemma2").build(1), infer.Options{Threads: 1})
	require.NoError(t, err)
	require.Greater(t, windows.SessionsThatFit(1e5, gguf.F32), m(0).SessionsThatFit(1e5, gguf.F32))
}

// TestTree has what texts begin with once.
func TestTree(t *testing.T) {
	none := infer.NoLogits
	chunks, last := infer.Tree([][]int32{{1, 2, 3}, {1, 2}, {4}, {}, {1, 2, 5, 6}, {1, 2}, {4}})
	require.Equal(t, []infer.Chunk{
		{Tokens: []int32{1, 2}, From: none},
		{Tokens: []int32{3}, From: none, After: 1},
		{Tokens: []int32{5, 6}, From: none, After: 1},
		{Tokens: []int32{4}, From: none},
	}, chunks)
	require.Equal(t, []int{1, 0, 3, -1, 2, 0, 3}, last)
	chunks, last = infer.Tree(nil)
	require.Empty(t, chunks)
	require.Empty(t, last)
}
