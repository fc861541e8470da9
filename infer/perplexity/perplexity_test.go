package perplexity_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// fake is a model whose logits after a position are a function of the tokens
// up to there. Chunks run concurrently, the last first.
type fake func(seen []int32) []float32

func (f fake) Forward(ctx context.Context, chunks []infer.Chunk, visit func(chunk, pos int, logits []float32)) error {
	var g errgroup.Group
	for i, chunk := range slices.Backward(chunks) {
		g.Go(func() error {
			for pos := chunk.From; pos < len(chunk.Tokens); pos++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				logits := f(chunk.Tokens[:pos+1])
				visit(i, pos, logits)
				for j := range logits {
					logits[j] = float32(math.NaN()) // no longer valid
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// uniform gives every one of n tokens the same chance.
func uniform(n int) fake {
	return func([]int32) []float32 { return slices.Repeat([]float32{1.5}, n) }
}

// successor gives the token after the last one seen the chance e / (e + n - 1).
func successor(n int) fake {
	return func(seen []int32) []float32 {
		logits := make([]float32, n)
		logits[(int(seen[len(seen)-1])+1)%n] = 1
		return logits
	}
}

// count returns the tokens 0, 1, 2, ..., counted modulo vocab.
func count(n, vocab int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(i % vocab)
	}
	return tokens
}

func TestUniformModelHasPerplexityOfVocabularySize(t *testing.T) {
	r, err := perplexity.Score(t.Context(), uniform(100), count(1100, 100), -1, perplexity.Options{})
	require.NoError(t, err)
	require.Equal(t, 512, r.Ctx)
	require.Equal(t, 2, r.Chunks)
	require.Equal(t, 2*255, r.ScoredTokens)
	require.InDelta(t, math.Log(100), r.NLL, 1e-12)
	require.InDelta(t, 100, r.PPL, 1e-9)
	require.InDelta(t, 0, r.PPLError, 1e-6)
}

// Every chunk of eight scores the tokens after positions 4, 5 and 6.
func TestScoreByHand(t *testing.T) {
	const vocab = 5
	tokens := count(24, vocab)
	tokens[14] = 0 // 3 4 0 1 2 3 4 0 becomes 3 4 0 1 2 3 0 0: two tokens that do not follow
	r, err := perplexity.Score(t.Context(), successor(vocab), tokens, -1, perplexity.Options{Ctx: 8})
	require.NoError(t, err)

	likely := -math.Log(math.E / (math.E + vocab - 1))
	unlikely := -math.Log(1 / (math.E + vocab - 1))
	mean := (7*likely + 2*unlikely) / 9
	variance := (7*likely*likely+2*unlikely*unlikely)/9 - mean*mean
	require.Equal(t, 3, r.Chunks)
	require.Equal(t, 9, r.ScoredTokens)
	require.InDelta(t, mean, r.NLL, 1e-7)
	require.InDelta(t, math.Exp(mean), r.PPL, 1e-6)
	require.InDelta(t, math.Exp(mean)*math.Sqrt(variance/8), r.PPLError, 1e-6)
	require.Len(t, r.ChunkNLL, 1)
	require.InDeltaSlice(t, []float64{likely, (likely + 2*unlikely) / 3, likely}, r.ChunkNLL[0], 1e-7)
	ppl := interval.Of(r.ChunkNLL...).Exp()
	require.Equal(t, []float64{ppl.Low, ppl.High}, []float64{r.Low, r.High})
	require.InDelta(t, r.PPL, ppl.Value, 1e-9)

	r, err = perplexity.Score(t.Context(), successor(vocab), tokens, -1, perplexity.Options{Ctx: 8, Chunks: 1})
	require.NoError(t, err)
	require.True(t, math.IsNaN(r.Low) && math.IsNaN(r.High), "one chunk does not say how much chunks differ")
}

func TestWindows(t *testing.T) {
	type seen struct {
		first, last int32
		length      int
	}
	tests := map[string]struct {
		tokens int
		bos    int32
		opts   perplexity.Options
		chunks int
		want   []seen // at every visited position
	}{
		"even": {
			tokens: 8, bos: -1, opts: perplexity.Options{Ctx: 4}, chunks: 2,
			want: []seen{{0, 2, 3}, {0, 3, 4}, {4, 6, 3}, {4, 7, 4}},
		},
		"odd, tail dropped": {
			tokens: 14, bos: -1, opts: perplexity.Options{Ctx: 5}, chunks: 2,
			want: []seen{{0, 2, 3}, {0, 3, 4}, {0, 4, 5}, {5, 7, 3}, {5, 8, 4}, {5, 9, 5}},
		},
		"first token replaced": {
			tokens: 8, bos: 99, opts: perplexity.Options{Ctx: 4}, chunks: 2,
			want: []seen{{99, 2, 3}, {99, 3, 4}, {99, 6, 3}, {99, 7, 4}},
		},
		"fewer chunks": {
			tokens: 40, bos: -1, opts: perplexity.Options{Ctx: 4, Chunks: 1}, chunks: 1,
			want: []seen{{0, 2, 3}, {0, 3, 4}},
		},
		"more chunks than there are": {
			tokens: 9, bos: -1, opts: perplexity.Options{Ctx: 3, Chunks: 10}, chunks: 3,
			want: []seen{{0, 1, 2}, {0, 2, 3}, {3, 4, 2}, {3, 5, 3}, {6, 7, 2}, {6, 8, 3}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var got []seen
			model := fake(func(s []int32) []float32 {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, seen{s[0], s[len(s)-1], len(s)})
				return make([]float32, 100)
			})
			tokens := count(test.tokens, 100)
			r, err := perplexity.Score(t.Context(), model, tokens, test.bos, test.opts)
			require.NoError(t, err)
			require.ElementsMatch(t, test.want, got)
			require.Equal(t, test.chunks, r.Chunks)
			require.Equal(t, count(test.tokens, 100), tokens, "the caller's tokens are left alone")
		})
	}
}

// Windows never cross from one text into the next, and all texts together are scored as
// each is on its own.
func TestSeveralTexts(t *testing.T) {
	model := fake(func(seen []int32) []float32 {
		logits := make([]float32, 60)
		for i := range logits {
			logits[i] = float32(math.Sin(float64(int(seen[0])*7 + len(seen)*13 + i)))
		}
		return logits
	})
	texts := []perplexity.Text{
		{Name: "a", Tokens: count(37, 47), BOS: -1}, // 4 chunks and 5 tokens
		{Name: "b", Tokens: count(100, 41), BOS: 50},
		{Name: "c", Tokens: count(16, 60), BOS: -1},
	}
	opts := perplexity.Options{Ctx: 8, Chunks: 6}
	together, each, err := perplexity.ScoreTexts(t.Context(), model, texts, opts)
	require.NoError(t, err)
	var nll [][]float64
	for i, text := range texts {
		want, err := perplexity.Score(t.Context(), model, text.Tokens, text.BOS, opts)
		require.NoError(t, err)
		require.Equal(t, want, each[i], text.Name)
		nll = append(nll, want.ChunkNLL...)
	}
	require.Equal(t, nll, together.ChunkNLL)
	require.Equal(t, 4+6+2, together.Chunks)
	require.Equal(t, 12*3, together.ScoredTokens)
	require.Equal(t, interval.Of(nll...).Exp().High, together.High, "the texts differ, but that is no part of the interval")
	require.InDelta(t, (4*each[0].NLL+6*each[1].NLL+2*each[2].NLL)/12, together.NLL, 1e-12)

	alone, _, err := perplexity.ScoreTexts(t.Context(), model, texts[:1], opts)
	require.NoError(t, err)
	require.Equal(t, each[0], alone, "one text is nothing special")

	texts[1].Tokens = texts[1].Tokens[:15]
	_, _, err = perplexity.ScoreTexts(t.Context(), model, texts, opts)
	require.ErrorContains(t, err, "b: the text has 15 tokens")
	_, _, err = perplexity.ScoreTexts(t.Context(), model, nil, opts)
	require.ErrorContains(t, err, "no text")
}

func TestBOSIsNotScored(t *testing.T) {
	// With BOS in place of the first token nothing that is scored changes.
	plain, err := perplexity.Score(t.Context(), successor(7), count(30, 7), -1, perplexity.Options{Ctx: 6})
	require.NoError(t, err)
	bos, err := perplexity.Score(t.Context(), successor(7), count(30, 7), 3, perplexity.Options{Ctx: 6})
	require.NoError(t, err)
	require.Equal(t, plain, bos)
}

func TestRefused(t *testing.T) {
	tests := map[string]struct {
		tokens int
		opts   perplexity.Options
		want   string
	}{
		"too few tokens":  {1023, perplexity.Options{}, "the text has 1023 tokens, chunks of 512 need at least 1024"},
		"no tokens":       {0, perplexity.Options{Ctx: 4}, "the text has 0 tokens, chunks of 4 need at least 8"},
		"nothing scored":  {100, perplexity.Options{Ctx: 2}, "chunks of 2 tokens have none to score"},
		"negative length": {100, perplexity.Options{Ctx: -1}, "chunks of -1 tokens"},
		"negative chunks": {100, perplexity.Options{Ctx: 4, Chunks: -1}, "-1 chunks"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := perplexity.Score(t.Context(), uniform(10), count(test.tokens, 10), -1, test.opts)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestBadLogits(t *testing.T) {
	for name, bad := range map[string]float32{
		"NaN":  float32(math.NaN()),
		"+Inf": float32(math.Inf(1)),
		"-Inf": float32(math.Inf(-1)),
	} {
		t.Run(name, func(t *testing.T) {
			model := fake(func(seen []int32) []float32 {
				logits := make([]float32, 40)
				if seen[0] == 8 && len(seen) == 6 {
					logits[17] = bad
				}
				return logits
			})
			_, err := perplexity.Score(t.Context(), model, count(40, 40), -1, perplexity.Options{Ctx: 8})
			require.ErrorContains(t, err, "chunk 1, position 5: the logit of token 17 is "+name)
		})
	}
}

func TestTokenOutsideModel(t *testing.T) {
	_, err := perplexity.Score(t.Context(), uniform(10), count(20, 20), -1, perplexity.Options{Ctx: 10})
	require.ErrorContains(t, err, "is not in the model's vocabulary of 10")
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	model := fake(func([]int32) []float32 {
		cancel()
		return make([]float32, 10)
	})
	_, err := perplexity.Score(ctx, model, count(8000, 10), -1, perplexity.Options{Ctx: 8})
	require.ErrorIs(t, err, context.Canceled)
}

func TestModelError(t *testing.T) {
	failure := errors.New("no such layer")
	_, err := perplexity.Score(t.Context(), failing{failure}, count(20, 10), -1, perplexity.Options{Ctx: 8})
	require.ErrorIs(t, err, failure)
}

type failing struct{ err error }

func (f failing) Forward(context.Context, []infer.Chunk, func(int, int, []float32)) error {
	return f.err
}

func TestResultIsReproducible(t *testing.T) {
	model := fake(func(seen []int32) []float32 {
		logits := make([]float32, 50)
		for i := range logits {
			logits[i] = float32(math.Sin(float64(int(seen[0])*7 + len(seen)*13 + i)))
		}
		return logits
	})
	opts := perplexity.Options{Ctx: 16}
	want, err := perplexity.Score(t.Context(), model, count(2000, 47), -1, opts)
	require.NoError(t, err)
	for range 20 {
		got, err := perplexity.Score(t.Context(), model, count(2000, 47), -1, opts)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestRatioIsPaired(t *testing.T) {
	tokens := count(2000, 47)
	sharp := func(scale float64) fake {
		return func(seen []int32) []float32 {
			logits := make([]float32, 50)
			for i := range logits {
				logits[i] = float32(scale * math.Sin(float64(int(seen[0])*7+len(seen)*13+i)))
			}
			return logits
		}
	}
	score := func(m fake) perplexity.Result {
		r, err := perplexity.Score(t.Context(), m, tokens, -1, perplexity.Options{Ctx: 16})
		require.NoError(t, err)
		return r
	}
	a, b := score(sharp(1)), score(sharp(1.01))
	ratio, err := perplexity.Ratio(a, b)
	require.NoError(t, err)
	require.InDelta(t, a.PPL/b.PPL, ratio.Value, 1e-12)
	require.Less(t, ratio.Low, ratio.Value)
	require.Greater(t, ratio.High, ratio.Value)
	require.Less(t, ratio.High-ratio.Low, (a.High/a.PPL-a.Low/a.PPL)/20, "most of the error is common to both")

	ratio, err = perplexity.Ratio(a, a)
	require.NoError(t, err)
	require.Equal(t, interval.Estimate{Value: 1, Low: 1, High: 1}, ratio)
	_, err = perplexity.Ratio(a, perplexity.Result{})
	require.ErrorContains(t, err, "they have 1 and 0 texts")
}

// vocabulary returns metadata with byte tokens only.
func vocabulary(addBOS, addEOS bool) *gguf.Metadata {
	tokens, types := []string{"<unk>", "<s>", "</s>", "▁"}, []int32{2, 3, 3, 1}
	const hex = "0123456789ABCDEF"
	for b := range 256 {
		tokens = append(tokens, "<0x"+hex[b>>4:b>>4+1]+hex[b&15:b&15+1]+">")
		types = append(types, 6)
	}
	return gguf.NewMetadata(
		gguf.KV{Key: "tokenizer.ggml.model", Value: "llama"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: tokens},
		gguf.KV{Key: "tokenizer.ggml.scores", Value: make([]float32, len(tokens))},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: types},
		gguf.KV{Key: "tokenizer.ggml.add_bos_token", Value: addBOS},
		gguf.KV{Key: "tokenizer.ggml.add_eos_token", Value: addEOS},
	)
}

func TestTokens(t *testing.T) {
	const space, newline, a, less = 3, 4 + '\n', 4 + 'a', 4 + '<'
	tests := map[string]struct {
		text   string
		addBOS bool
		bos    int32
		want   []int32
	}{
		"BOS":                  {"a", true, 1, []int32{1, space, a}},
		"no BOS":               {"a", false, -1, []int32{space, a}},
		"newline dropped":      {"a\n", true, 1, []int32{1, space, a}},
		"only one":             {"a\n\n", true, 1, []int32{1, space, a, newline}},
		"special text is text": {"<s>", true, 1, []int32{1, space, less, 4 + 's', 4 + '>'}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tok, err := tokenizer.New(vocabulary(test.addBOS, false))
			require.NoError(t, err)
			tokens, bos, err := perplexity.Tokens(tok, test.text)
			require.NoError(t, err)
			require.Equal(t, test.bos, bos)
			require.Equal(t, test.want, tokens)
		})
	}
	t.Run("EOS is refused", func(t *testing.T) {
		tok, err := tokenizer.New(vocabulary(true, true))
		require.NoError(t, err)
		_, _, err = perplexity.Tokens(tok, "a")
		require.ErrorIs(t, err, gguf.ErrUnsupported)
	})
}

func BenchmarkScore(b *testing.B) {
	logits := make([]float32, 32768)
	for i := range logits {
		logits[i] = float32(math.Sin(float64(i)))
	}
	model := positions(logits)
	tokens := count(64, 60)
	for b.Loop() {
		if _, err := perplexity.Score(b.Context(), model, tokens, -1, perplexity.Options{Ctx: 32}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*30), "µs/token")
}

// positions is a model with the same logits everywhere.
type positions []float32

func (p positions) Forward(_ context.Context, chunks []infer.Chunk, visit func(int, int, []float32)) error {
	for i, chunk := range chunks {
		for pos := chunk.From; pos < len(chunk.Tokens); pos++ {
			visit(i, pos, p)
		}
	}
	return nil
}

// forgetful gives up after some windows.
type forgetful struct {
	perplexity.Model
	after int
}

func (m forgetful) Forward(ctx context.Context, chunks []infer.Chunk, visit func(chunk, pos int, logits []float32)) error {
	if len(chunks) > m.after {
		chunks = chunks[:m.after]
	}
	if err := m.Model.Forward(ctx, chunks, visit); err != nil {
		return err
	}
	return errors.New("it gave up")
}

// What was scored before a run ended is not scored again, and the result is the same.
func TestResultsAreKept(t *testing.T) {
	texts := []perplexity.Text{{Name: "a", Tokens: count(40, 7), BOS: -1}, {Name: "b", Tokens: count(24, 7), BOS: 3}}
	opts := perplexity.Options{Ctx: 6}
	want, wantEach, err := perplexity.ScoreTexts(t.Context(), successor(7), texts, opts)
	require.NoError(t, err)
	opts.Results = &results.Place{Storage: results.Directory(t.TempDir())}
	for range 4 {
		_, _, err := perplexity.ScoreTexts(t.Context(), forgetful{successor(7), 2}, texts, opts)
		require.ErrorContains(t, err, "it gave up")
	}
	got, each, err := perplexity.ScoreTexts(t.Context(), successor(7), texts, opts)
	require.NoError(t, err)
	require.Len(t, got.Cost.Took, 1)
	got.Cost = results.Cost{}
	require.Equal(t, want, got)
	require.Equal(t, wantEach, each)
	again, _, err := perplexity.ScoreTexts(t.Context(), nil, texts, opts)
	require.NoError(t, err, "no model is needed for what is there")
	again.Cost = results.Cost{}
	require.Equal(t, want, again)
}
