package infer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// engines makes models of the sources ready to run.
func engines(t *testing.T, opts infer.Options, sources ...*source) []*infer.Model {
	t.Helper()
	var models []*infer.Model
	for _, src := range sources {
		m, err := infer.New(src, opts)
		require.NoError(t, err)
		models = append(models, m)
	}
	return models
}

func TestLockstepIsForwardForEachModel(t *testing.T) {
	for name, change := range map[string]func(*spec){
		"dense":        func(*spec) {},
		"mixture":      func(s *spec) { s.experts, s.used = 4, 2 },
		"tied, biased": func(s *spec) { s.tied, s.biased = true, true },
		"qwen2moe":     func(s *spec) { *s = s.of("qwen2moe") },
		"deepseek":     func(s *spec) { *s = s.of("deepseek") },
	} {
		t.Run(name, func(t *testing.T) {
			s := small
			change(&s)
			sources := []*source{s.build(1), s.build(2), s.build(3)}
			chunks, froms := s.chunks(30, 7, 110, 12, 1), []int{0, 5}
			if testing.Short() {
				chunks, froms = s.chunks(12, 7, 30, 1), froms[1:]
			}
			isatest.ForEach(t, func(t *testing.T) {
				for _, opts := range []infer.Options{{Threads: 2}, {Threads: 1, Memory: 1}} {
					for _, from := range froms {
						var want [][][][]float32
						for _, src := range sources {
							want = append(want, forward(t, src, infer.Options{}, chunks, from))
						}
						var mu sync.Mutex
						got := make([][][][]float32, len(sources))
						for i := range got {
							got[i] = make([][][]float32, len(chunks))
							for c, chunk := range chunks {
								if n := len(chunk) - from; n > 0 {
									got[i][c] = make([][]float32, n)
								}
							}
						}
						elapsed, err := infer.Lockstep(t.Context(), engines(t, opts, sources...), infer.Chunks(chunks, from), infer.Observer{
							Logits: func(model, chunk, pos int, logits, reference []float32) {
								mu.Lock()
								defer mu.Unlock()
								got[model][chunk][pos-from] = slices.Clone(logits)
								if !slices.Equal(reference, got[0][chunk][pos-from]) {
									t.Errorf("the reference of model %d at chunk %d, position %d is not the first model's", model, chunk, pos)
								}
							},
						})
						require.NoError(t, err)
						require.Len(t, elapsed, len(sources))
						require.Equal(t, want, got)
					}
				}
			})
		})
	}
}

// TestLockstepOfSeveralWaysToCompute has each model predict what it does alone.
func TestLockstepOfSeveralWaysToCompute(t *testing.T) {
	s := small
	s.experts, s.used = 4, 2
	src := s.build(1)
	chunks := s.chunks(30, 7)
	for _, memory := range []int64{0, 1} {
		var models []*infer.Model
		var want [][][][]float32
		for _, compute := range []infer.Compute{infer.Exact, infer.Int8, infer.Int8All} {
			opts := infer.Options{Compute: compute, Memory: memory}
			m, err := infer.New(src, opts)
			require.NoError(t, err)
			models = append(models, m)
			want = append(want, forward(t, src, opts, chunks, 0))
		}
		require.Equal(t, want[0], want[1], "float32 weights are computed with as they are")
		require.NotEqual(t, want[0], want[2], "unless they are rounded too")
		_, err := infer.Lockstep(t.Context(), models, infer.Chunks(chunks, 0), infer.Observer{
			Logits: func(model, chunk, pos int, logits, _ []float32) {
				if !slices.Equal(want[model][chunk][pos], logits) {
					t.Errorf("model %d, chunk %d, position %d: other logits", model, chunk, pos)
				}
			},
		})
		require.NoError(t, err)
	}
}

// TestLockstepShowsResiduals compares what Lockstep shows with what Forward does.
func TestLockstepShowsResiduals(t *testing.T) {
	s := small
	s.layers = 3
	sources := []*source{s.build(1), s.build(2)}
	chunks := s.chunks(9, 4)
	type place struct{ model, layer, first int }
	collect := func(memory int64) map[place][]float32 {
		got := make(map[place][]float32)
		_, err := infer.Lockstep(t.Context(), engines(t, infer.Options{Memory: memory}, sources...), infer.Chunks(chunks, 0), infer.Observer{
			Residual: func(s infer.Streams) {
				for model, x := range s.Models {
					require.Len(t, x, s.Tokens*small.width)
					got[place{model, s.Layer, s.First}] = slices.Clone(x)
				}
			},
			Logits: func(int, int, int, []float32, []float32) {},
		})
		require.NoError(t, err)
		return got
	}
	together, apart := collect(0), collect(1)
	require.Len(t, together, 2*4)
	require.Len(t, apart, 2*2*4)
	for model, src := range sources {
		opts := infer.Options{Residual: func(r infer.Residual) {
			want := slices.Concat(r.Chunks...)
			require.Equal(t, want, together[place{model, r.Layer, 0}])
			require.Equal(t, want, slices.Concat(apart[place{model, r.Layer, 0}], apart[place{model, r.Layer, 1}]))
		}}
		forward(t, src, opts, chunks, 0)
	}
	require.NotEqual(t, together[place{0, 2, 0}], together[place{0, 3, 0}], "after the last layer")
}

func TestLockstepReportsProgress(t *testing.T) {
	var steps []int
	total := 0
	models := engines(t, infer.Options{Memory: 1, Progress: func(done, n int) {
		steps = append(steps, done)
		total = n
	}}, small.build(5), small.build(6))
	_, err := infer.Lockstep(t.Context(), models, infer.Chunks(small.chunks(4, 4), 0), infer.Observer{Logits: func(int, int, int, []float32, []float32) {}})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, steps)
	require.Equal(t, 12, total)
}

// TestLockstepTellsBatches wants each batch told after all that was said of its chunks, with what it took.
func TestLockstepTellsBatches(t *testing.T) {
	chunks := small.chunks(9, 4, 7)
	sources := []*source{small.build(1), small.build(2)}
	var told []int
	sum := make([]time.Duration, 2)
	visits := make([]int, len(chunks))
	var mu sync.Mutex
	stop := errors.New("stop")
	observer := infer.Observer{
		Logits: func(_, chunk, _ int, _, _ []float32) {
			mu.Lock()
			defer mu.Unlock()
			visits[chunk]++
		},
		Batch: func(first, n int, elapsed []time.Duration) error {
			for c := range visits {
				done := 0
				if c < first+n {
					done = 2 * len(chunks[c])
				}
				require.Equal(t, done, visits[c])
			}
			for i, e := range elapsed {
				sum[i] += e
			}
			told = append(told, first, n)
			return nil
		},
	}
	elapsed, err := infer.Lockstep(t.Context(), engines(t, infer.Options{Memory: 1}, sources...), infer.Chunks(chunks, 0), observer)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 1, 1, 2, 1}, told)
	require.Equal(t, elapsed, sum)
	observer.Batch = func(int, int, []time.Duration) error { return stop }
	_, err = infer.Lockstep(t.Context(), engines(t, infer.Options{Memory: 1}, sources...), infer.Chunks(chunks, 0), observer)
	require.ErrorIs(t, err, stop)
}

func TestLockstepErrors(t *testing.T) {
	silent := infer.Observer{Logits: func(int, int, int, []float32, []float32) {}}
	failed := func(model int, sources []*source, tokens ...int32) error {
		t.Helper()
		_, err := infer.Lockstep(t.Context(), engines(t, infer.Options{}, sources...), []infer.Chunk{{Tokens: tokens}}, silent)
		var e *infer.ModelError
		require.ErrorAs(t, err, &e)
		require.Equal(t, model, e.Model)
		return err
	}
	src := small.build(1)
	for name, change := range map[string]func(*spec){
		"block_count is 1, that of the first 2": func(s *spec) { s.layers = 1 },
		"vocabulary":                            func(s *spec) { s.vocabulary++ },
	} {
		other := small
		change(&other)
		require.ErrorContains(t, failed(1, []*source{src, other.build(2)}, 1), name)
	}
	broken := small.build(3)
	broken.readErr = errors.New("the disk is on fire")
	require.ErrorIs(t, failed(2, []*source{src, src, broken}, 1, 2), broken.readErr)

	models := engines(t, infer.Options{}, src, src)
	_, err := infer.Lockstep(t.Context(), models, infer.Chunks([][]int32{{1}, {0, -1}}, 0), silent)
	require.ErrorContains(t, err, "position 1 of chunk 1")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = infer.Lockstep(cancelled, models, []infer.Chunk{{Tokens: []int32{1}}}, silent)
	require.ErrorIs(t, err, context.Canceled)
}
