package infer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// chunks returns random token ids: chunks of the given lengths.
func (s spec) chunks(lengths ...int) [][]int32 {
	rng := rand.New(rand.NewPCG(77, 0))
	out := make([][]int32, len(lengths))
	for i, n := range lengths {
		for range n {
			out[i] = append(out[i], rng.Int32N(int32(s.vocabulary)))
		}
	}
	return out
}

// forward returns the logits of every visited position of every chunk.
func forward(t *testing.T, src gguf.Source, opts infer.Options, chunks [][]int32, from int) [][][]float32 {
	t.Helper()
	m, err := infer.New(src, opts)
	require.NoError(t, err)
	visit, logits := collect(t, chunks, from)
	require.NoError(t, m.Forward(context.Background(), infer.Chunks(chunks, from), visit))
	return logits()
}

// collect returns a function that keeps the logits it is called with, and one that returns
// those of every position of every chunk from `from` on, once each was visited once.
func collect(t *testing.T, chunks [][]int32, from int) (visit func(chunk, pos int, logits []float32), logits func() [][][]float32) {
	t.Helper()
	from = max(0, from)
	var mu sync.Mutex
	out, visits, want := make([][][]float32, len(chunks)), 0, 0
	for c, chunk := range chunks {
		if n := len(chunk) - from; n > 0 {
			out[c] = make([][]float32, n)
			want += n
		}
	}
	visit = func(chunk, pos int, logits []float32) {
		mu.Lock()
		defer mu.Unlock()
		visits++
		out[chunk][pos-from] = slices.Clone(logits)
	}
	return visit, func() [][][]float32 {
		require.Equal(t, want, visits)
		return out
	}
}

func TestForwardComputesTheGraph(t *testing.T) {
	change := func(f func(*spec)) spec {
		s := small
		f(&s)
		return s
	}
	for name, s := range map[string]spec{
		"grouped-query attention": small,
		"multi-head attention":    change(func(s *spec) { s.kvHeads = s.heads }),
		"one key head":            change(func(s *spec) { s.kvHeads = 1 }),
		"wide heads":              change(func(s *spec) { s.keyLen, s.valueLen = 34, 65 }),
		"tied output":             change(func(s *spec) { s.tied = true }),
		"biases":                  change(func(s *spec) { s.biased = true }),
		"scaled positions":        change(func(s *spec) { s.ropeScale = 4 }),
		"frequency factors":       change(func(s *spec) { s.ropeFactors = []float32{1, 2.5, 8} }),
		"2 of 4 experts":          change(func(s *spec) { s.experts, s.used = 4, 2 }),
		"1 of 2 experts":          change(func(s *spec) { s.experts, s.used = 2, 1 }),
		"3 of 3 experts":          change(func(s *spec) { s.experts, s.used = 3, 3 }),
		"qwen2":                   small.of("qwen2"),
		"qwen3":                   small.of("qwen3"),
		"qwen2moe":                small.of("qwen2moe"),
		"qwen3moe":                small.of("qwen3moe"),
		"deepseek":                small.of("deepseek"),
		"gemma2":                  small.of("gemma2"),
		"gemma2, wide window":     change(func(s *spec) { *s = s.of("gemma2"); s.window = 50 }),
		"no shared expert":        change(func(s *spec) { *s = s.of("deepseek"); s.sharedHidden = 0 }),
	} {
		t.Run(name, func(t *testing.T) {
			src := s.build(1)
			// The second is longer than the block of queries that attention
			// takes at once.
			chunks := s.chunks(5, 101, 0, 1)
			want := make([][][]float64, len(chunks))
			for c, chunk := range chunks {
				want[c] = logitsOf(s.graph(), src, chunk, inputs{})
			}
			isatest.ForEach(t, func(t *testing.T) {
				m, err := infer.New(src, infer.Options{Threads: 2})
				require.NoError(t, err)
				requireForward(t, want, m, chunks)
			})
		})
	}
}

// TestRouterTies has experts whose router rows are equal, 0 and 2, 1 and 3: the
// one with the higher index is never used.
func TestRouterTies(t *testing.T) {
	s := small
	s.layers, s.experts, s.used = 1, 4, 1
	src := s.build(2)
	router := src.get("blk.0.ffn_gate_inp.weight")
	copy(router[2*s.width:], router[:2*s.width])
	chunks := s.chunks(40)
	want := forward(t, src, infer.Options{}, chunks, 0)
	for _, name := range []string{"blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_down_exps.weight"} {
		experts := src.get(name)
		clear(experts[len(experts)/2:])
	}
	require.Equal(t, want, forward(t, src, infer.Options{}, chunks, 0))
}

// TestForwardIsDeterministic demands the same bits however the work is cut.
func TestForwardIsDeterministic(t *testing.T) {
	s := small
	s.experts, s.used = 4, 2
	src := s.build(3)
	chunks := s.chunks(30, 7, 110, 12, 1)
	isatest.ForEach(t, func(t *testing.T) {
		want := forward(t, src, infer.Options{Threads: 1}, chunks, 0)
		require.Equal(t, want, forward(t, src, infer.Options{Threads: 5}, chunks, 0), "five threads")
		require.Equal(t, want, forward(t, src, infer.Options{Threads: 2, Memory: 1}, chunks, 0), "each chunk a batch")
		for c, chunk := range chunks {
			require.Equal(t, want[c], forward(t, src, infer.Options{}, [][]int32{chunk}, 0)[0], "chunk %d alone", c)
		}
	})
}

func TestForwardOfNothing(t *testing.T) {
	src := small.build(4)
	got := forward(t, src, infer.Options{Memory: 1}, [][]int32{{}, {3}, {}}, 0) // each a batch
	require.Empty(t, got[0])
	require.Len(t, got[1], 1)
	require.Empty(t, got[2])
}

func TestForwardVisitsFrom(t *testing.T) {
	src := small.build(4)
	chunks := small.chunks(9, 3, 6)
	all := forward(t, src, infer.Options{}, chunks, -1)
	for from := range 10 {
		got := forward(t, src, infer.Options{}, chunks, from)
		for c := range chunks {
			require.Equal(t, len(all[c][min(from, len(all[c])):]), len(got[c]))
			if len(got[c]) > 0 {
				require.Equal(t, all[c][from:], got[c])
			}
		}
	}
}

// TestForwardVisitsFromEach has another first position in each chunk.
func TestForwardVisitsFromEach(t *testing.T) {
	texts := small.chunks(9, 3, 6)
	m, err := infer.New(small.build(4), infer.Options{})
	require.NoError(t, err)
	var mu sync.Mutex
	visited := make([][]int, len(texts))
	chunks := []infer.Chunk{{Tokens: texts[0], From: 8}, {Tokens: texts[1], From: infer.NoLogits}, {Tokens: texts[2], From: 3}}
	require.NoError(t, m.Forward(t.Context(), chunks, func(chunk, pos int, _ []float32) {
		mu.Lock()
		defer mu.Unlock()
		visited[chunk] = append(visited[chunk], pos)
	}))
	slices.Sort(visited[2])
	require.Equal(t, [][]int{{8}, nil, {3, 4, 5}}, visited)
}

func TestForwardReportsProgress(t *testing.T) {
	var steps []int
	total := 0
	opts := infer.Options{Memory: 1, Progress: func(done, n int) {
		steps = append(steps, done)
		total = n
	}}
	forward(t, small.build(5), opts, small.chunks(4, 4), 0)
	require.Equal(t, 2*(small.layers+1), total)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6}, steps)
}

func TestForwardErrors(t *testing.T) {
	visit := func(int, int, []float32) {}
	src := small.build(6)
	m, err := infer.New(src, infer.Options{})
	require.NoError(t, err)
	ctx := context.Background()

	for _, id := range []int32{-1, int32(small.vocabulary)} {
		err := m.Forward(ctx, infer.Chunks([][]int32{{0}, {1, id}}, 0), visit)
		require.ErrorContains(t, err, "position 1 of chunk 1")
	}
	require.NoError(t, m.Forward(ctx, nil, visit))

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, m.Forward(cancelled, []infer.Chunk{{Tokens: []int32{1}}}, visit), context.Canceled)

	during, cancel := context.WithCancel(ctx)
	err = m.Forward(during, infer.Chunks([][]int32{{1}, {2}, {3}}, 0), func(int, int, []float32) { cancel() })
	require.ErrorIs(t, err, context.Canceled)

	src.readErr = errors.New("the disk is on fire")
	require.ErrorIs(t, m.Forward(ctx, []infer.Chunk{{Tokens: []int32{1}}}, visit), src.readErr)
}

func TestNewRefuses(t *testing.T) {
	set := func(key string, value any) func(*source) { return func(s *source) { s.meta.Set(key, value) } }
	shape := func(name string, shape ...int64) func(*source) {
		return func(s *source) { s.tensors[s.find(name)].Shape = shape }
	}
	for _, c := range []struct {
		name  string
		spoil func(*source)
		want  error
		says  string
	}{
		{"no architecture", func(s *source) { s.meta.Delete("general.architecture") }, gguf.ErrNoKey, "general.architecture"},
		{"another architecture", set("general.architecture", "whisper"), gguf.ErrUnsupported, "whisper"},
		{"sigmoid gates", set("llama.expert_gating_func", uint32(2)), gguf.ErrUnsupported, "llama.expert_gating_func"},
		{"more dense blocks than there are", set("llama.leading_dense_block_count", uint32(3)), gguf.ErrCorrupt, "blocks are dense"},
		{"no width", func(s *source) { s.meta.Delete("llama.embedding_length") }, gguf.ErrNoKey, "llama.embedding_length"},
		{"a width of 0", set("llama.embedding_length", uint32(0)), gguf.ErrCorrupt, "llama.embedding_length"},
		{"a huge width", set("llama.embedding_length", uint64(1<<63)), gguf.ErrCorrupt, "llama.embedding_length"},
		{"a negative width", set("llama.embedding_length", int32(-1)), gguf.ErrCorrupt, "llama.embedding_length"},
		{"a width in words", set("llama.embedding_length", "wide"), gguf.ErrCorrupt, "llama.embedding_length"},
		{"another width", set("llama.embedding_length", uint32(23)), gguf.ErrCorrupt, "token_embd.weight"},
		{"millions of blocks", set("llama.block_count", uint32(1<<24)), gguf.ErrCorrupt, "blocks"},
		{"fewer blocks", set("llama.block_count", uint32(1)), gguf.ErrUnsupported, "blk.1."},
		{"other heads in a layer", set("llama.attention.head_count_kv", []uint32{2, 1}), gguf.ErrCorrupt, "blk.1.attn_k.weight"},
		{"heads of one of two layers", set("llama.attention.head_count_kv", []uint32{2}), gguf.ErrCorrupt, "1 values for 2 layers"},
		{"heads in words", set("llama.attention.head_count_kv", []string{"2", "2"}), gguf.ErrCorrupt, "llama.attention.head_count_kv"},
		{"negative heads in a layer", set("llama.attention.head_count_kv", []int32{2, -2}), gguf.ErrCorrupt, "llama.attention.head_count_kv"},
		{"key lengths by layer", set("llama.attention.key_length", []uint32{6, 6}), gguf.ErrUnsupported, "llama.attention.key_length"},
		{"three key heads", set("llama.attention.head_count_kv", uint32(3)), gguf.ErrCorrupt, "key heads"},
		{"odd heads", set("llama.attention.key_length", uint32(7)), gguf.ErrCorrupt, "pairs"},
		{"more elements rotated than there are", set("llama.rope.dimension_count", uint32(8)), gguf.ErrCorrupt, "8 of the 6 elements"},
		{"epsilon of 0", set("llama.attention.layer_norm_rms_epsilon", float32(0)), gguf.ErrCorrupt, "epsilon"},
		{"an unknown scaling of positions", set("llama.rope.scaling.type", "ntk"), gguf.ErrUnsupported, "ntk"},
		{"an encoder", set("llama.attention.causal", false), gguf.ErrUnsupported, "causal"},
		{"more experts used than there are", set("llama.expert_used_count", uint32(5)), gguf.ErrCorrupt, "experts"},
		{"a missing weight", func(s *source) { s.delete("blk.1.attn_v.weight") }, gguf.ErrCorrupt, "blk.1.attn_v.weight"},
		{"a missing norm", func(s *source) { s.delete("output_norm.weight") }, gguf.ErrCorrupt, "output_norm.weight"},
		{"millions of experts", set("llama.expert_count", uint32(1<<24)), gguf.ErrCorrupt, "blk.0.ffn_gate_inp.weight"},
		{"missing experts", func(s *source) { s.delete("blk.0.ffn_up_exps.weight") }, gguf.ErrCorrupt, "blk.0.ffn_up_exps.weight"},
		{"a weight on its side", shape("blk.0.attn_k.weight", 12, 22), gguf.ErrCorrupt, "blk.0.attn_k.weight"},
		{"too few experts", shape("blk.0.ffn_down_exps.weight", 37, 22, 3), gguf.ErrCorrupt, "blk.0.ffn_down_exps.weight"},
		{"a short norm", shape("blk.0.ffn_norm.weight", 21), gguf.ErrCorrupt, "blk.0.ffn_norm.weight"},
		{"an unknown tensor", func(s *source) { s.tensors[s.find("output.weight")].Name = "blk.0.ffn_gate.0.weight" }, gguf.ErrUnsupported, "blk.0.ffn_gate.0.weight"},
		{"a bias that llama models do not have", func(s *source) { s.tensors[s.find("output.weight")].Name = "token_embd.bias" }, gguf.ErrUnsupported, "token_embd.bias"},
		{"integers", func(s *source) { s.tensors[s.find("output.weight")].Type = gguf.I32 }, gguf.ErrUnsupported, "output.weight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := small
			s.experts, s.used = 4, 2
			src := s.build(7)
			c.spoil(src)
			_, err := infer.New(src, infer.Options{})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestNewRefusesArchitectures(t *testing.T) {
	for _, c := range []struct {
		arch  string
		spoil func(*source)
		says  string
	}{
		{"qwen3", func(s *source) { s.delete("blk.1.attn_k_norm.weight") }, "blk.1.attn_k_norm.weight"},
		{"qwen2moe", func(s *source) { s.delete("blk.0.ffn_gate_inp_shexp.weight") }, "blk.0.ffn_gate_inp_shexp.weight"},
		{"qwen2moe", func(s *source) { s.meta.Delete("qwen2moe.expert_feed_forward_length") }, "qwen2moe.expert_feed_forward_length"},
		{"qwen2moe", func(s *source) { s.meta.Set("qwen2moe.expert_shared_feed_forward_length", uint32(44)) }, "blk.0.ffn_gate_shexp.weight"},
		{"qwen3moe", func(s *source) { s.tensors[s.find("blk.0.attn_q_norm.weight")].Shape[0] = 24 }, "blk.0.attn_q_norm.weight"},
		{"deepseek", func(s *source) { s.meta.Set("deepseek.leading_dense_block_count", uint32(0)) }, "blk.0.ffn_gate"},
		{"deepseek", func(s *source) { s.meta.Set("deepseek.expert_shared_count", uint32(1<<24)) }, "shared experts"},
		{"deepseek", func(s *source) { s.meta.Delete("deepseek.expert_shared_count") }, "deepseek.expert_shared_count"},
		{"deepseek", func(s *source) { s.delete("blk.2.ffn_up_shexp.weight") }, "blk.2.ffn_up_shexp.weight"},
	} {
		t.Run(c.arch+"/"+c.says, func(t *testing.T) {
			src := small.of(c.arch).build(7)
			c.spoil(src)
			_, err := infer.New(src, infer.Options{})
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Sums are those of the squares, and the same to the last bit however many chunks run together.
func TestSumsDoNotDependOnBatches(t *testing.T) {
	spec := small
	spec.experts, spec.used = 4, 2
	src := spec.build(1)
	chunks := infer.Chunks(spec.chunks(30, 7, 41), 0)
	want, inputs := make(map[string][]float64), make(map[string][]float64)
	name := func(in infer.Input) string { return fmt.Sprint(in.Tensor, in.Matrix) }
	into := func(sums map[string][]float64, in infer.Input) []float64 {
		if sums[name(in)] == nil {
			sums[name(in)] = make([]float64, in.Cols)
		}
		return sums[name(in)]
	}
	run := func(opts infer.Options) {
		m, err := infer.New(src, opts)
		require.NoError(t, err)
		require.NoError(t, m.Forward(t.Context(), chunks, func(int, int, []float32) {}))
	}
	run(infer.Options{Input: func(in infer.Input) {
		for i, v := range in.Squares {
			into(inputs, in)[i] += v
		}
	}})
	run(infer.Options{Threads: 3, Sums: func(in infer.Input) []float64 {
		require.Nil(t, in.Squares)
		return into(want, in)
	}})
	require.Len(t, want, len(inputs))
	for name, sums := range inputs {
		require.InEpsilonSlice(t, sums, want[name], 1e-12)
	}
	got := make(map[string][]float64)
	run(infer.Options{Threads: 1, Memory: 1, Sums: func(in infer.Input) []float64 { return into(got, in) }})
	require.Equal(t, want, got)
	run(infer.Options{Sums: func(infer.Input) []float64 { return nil }})
	_, err := infer.New(src, infer.Options{Compute: infer.Int8, Sums: func(infer.Input) []float64 { return nil }})
	require.ErrorContains(t, err, "exact compute")
}

// Every matrix of the blocks is told of, with all tokens that it multiplied.
func TestInputOfArchitectures(t *testing.T) {
	for _, arch := range []string{"qwen3", "qwen2moe", "deepseek"} {
		t.Run(arch, func(t *testing.T) {
			s := small.of(arch)
			src := s.build(8)
			rows := make(map[string]int)
			opts := infer.Options{Input: func(in infer.Input) { rows[in.Tensor] += in.Rows }}
			forward(t, src, opts, s.chunks(30, 10), 1000)
			want := make(map[string]int)
			for _, info := range src.Tensors() {
				switch {
				case !strings.HasPrefix(info.Name, "blk.") || strings.HasSuffix(info.Name, "norm.weight") || strings.HasSuffix(info.Name, ".bias"):
				case strings.Contains(info.Name, "_exps."):
					want[info.Name] = 40 * s.used
				default:
					want[info.Name] = 40
				}
			}
			require.Equal(t, want, rows)
		})
	}
}
