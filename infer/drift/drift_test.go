package drift_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

func open(t *testing.T, path string) convert.Model {
	t.Helper()
	m, err := convert.OpenModel(t.Context(), path, convert.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// texts encodes files of testdata/texts.
func texts(t *testing.T, model gguf.Source, names ...string) []drift.Text {
	t.Helper()
	vocab, err := tokenizer.New(model.Metadata())
	require.NoError(t, err)
	var texts []drift.Text
	for _, name := range names {
		data, err := os.ReadFile("../../testdata/texts/" + name + ".txt")
		require.NoError(t, err)
		tokens, bos, err := perplexity.Tokens(vocab, string(data))
		require.NoError(t, err)
		texts = append(texts, drift.Text{Name: name, Tokens: tokens, BOS: bos})
	}
	return texts
}

func view(t *testing.T, src gguf.Source, types ...recipe.FileType) []drift.Candidate {
	t.Helper()
	var views []drift.Candidate
	for _, ft := range types {
		v, err := quant.NewView(src, ft, quant.ViewOptions{})
		require.NoError(t, err)
		views = append(views, drift.Candidate{Name: ft.String(), Source: v})
	}
	return views
}

func measure(t *testing.T, base gguf.Source, candidates []drift.Candidate, texts []drift.Text, opts drift.Options) *drift.Report {
	t.Helper()
	report, err := drift.Measure(t.Context(), base, candidates, texts, opts)
	require.NoError(t, err)
	for i := range report.Candidates {
		require.Positive(t, report.Candidates[i].Elapsed)
		report.Candidates[i].Elapsed = 0 // the rest is always the same
	}
	report.Base.Elapsed, report.Floor.Elapsed = 0, 0
	return report
}

// skipLong skips, in a short run, a test of figures: others measure by as many goroutines.
func skipLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long, and is of figures")
	}
}

// few is enough to see what is measured.
var few = drift.Options{Options: perplexity.Options{Ctx: 96, Chunks: 2}}

func TestTheOriginalHasNoDrift(t *testing.T) {
	base := open(t, reference.MoE(t))
	report := measure(t, base, append(view(t, base, recipe.BF16), drift.Candidate{Name: "itself", Source: base}), texts(t, base, "math", "chat"), few)
	require.Equal(t, []int{2, 2}, report.Chunks)
	require.Zero(t, report.Floor.Overall.KLD.Value)
	require.Zero(t, report.Floor.Overall.Max)
	require.Equal(t, 2*2*47, report.Floor.Overall.Tokens)
	for _, c := range report.Candidates {
		for _, m := range append(c.Texts, c.Overall) {
			require.InDelta(t, 1, m.Correlation, 1e-12)
			m.Correlation = 1
			one := interval.Estimate{Value: 1, Low: 1, High: 1}
			require.Equal(t, drift.Stats{Tokens: m.Tokens, PPL: m.PPL, Ratio: one, Correlation: 1, SameTop: one}, m.Stats)
			require.Equal(t, make([]float64, 5), m.Hidden)
			require.Equal(t, []drift.Agreement{{1, 1}, {1, 1}, {1, 1}, {1, 1}}, m.Routing)
			require.Equal(t, 1.0, m.Router())
		}
		require.Equal(t, report.Base.Overall.PPL, c.Overall.PPL)
	}
}

// TestFloorIsWhatRoundingTakes compares with what the original in float32 predicts. It has no
// quantized weights, but what is made of it will be computed with rounded activations.
func TestFloorIsWhatRoundingTakes(t *testing.T) {
	skipLong(t)
	base := open(t, reference.MoE(t))
	opts := drift.Options{Options: perplexity.Options{Ctx: 128, Chunks: 5}, Engine: infer.Options{Compute: infer.Int8}}
	report := measure(t, base, append(view(t, base, recipe.Q8_0, recipe.Q4_K_M), drift.Candidate{Name: "itself", Source: base}),
		texts(t, base, "math", "chat"), opts)
	floor := report.Floor.Overall
	require.Equal(t, 2*4*63, floor.Tokens, "the first chunks of each text")
	require.Greater(t, floor.KLD.Value, 5e-5)
	require.Less(t, floor.KLD.Value, 1e-3)
	require.Positive(t, floor.KLD.Low)
	require.False(t, report.AboveFloor(report.Candidates[0]), "Q8_0 loses less than the arithmetic")
	require.True(t, report.AboveFloor(report.Candidates[1]))
	require.False(t, report.AboveFloor(report.Candidates[2]))

	opts.Engine.Compute = infer.Exact
	report = measure(t, base, append(view(t, base, recipe.Q8_0), drift.Candidate{Name: "itself", Source: base}), texts(t, base, "math"), opts)
	require.Zero(t, report.Floor.Overall.KLD.Value)
	require.True(t, report.AboveFloor(report.Candidates[0]), "what is the same is exactly the same")
	require.False(t, report.AboveFloor(report.Candidates[1]))
}

func TestPerplexityIsThatOfScore(t *testing.T) {
	skipLong(t)
	base := open(t, reference.MoE(t))
	text := texts(t, base, "math", "story")
	q4 := view(t, base, recipe.Q4_K_M)
	report := measure(t, base, q4, text, few)
	for i, text := range text {
		for _, c := range []struct {
			src gguf.Source
			got drift.Measures
		}{{base, report.Base.Texts[i]}, {q4[0].Source, report.Candidates[0].Texts[i]}} {
			m, err := infer.New(c.src, infer.Options{})
			require.NoError(t, err)
			want, err := perplexity.Score(t.Context(), m, text.Tokens, text.BOS, few.Options)
			require.NoError(t, err)
			require.Equal(t, want.ScoredTokens, c.got.Tokens)
			require.InEpsilon(t, want.PPL, c.got.PPL.Value, 1e-6)
		}
	}
	overall := report.Candidates[0].Overall
	require.Equal(t, report.Candidates[0].Texts[0].Tokens+report.Candidates[0].Texts[1].Tokens, overall.Tokens)
	require.InEpsilon(t, (report.Candidates[0].Texts[0].KLD.Value+report.Candidates[0].Texts[1].KLD.Value)/2, overall.KLD.Value, 1e-12)
	require.Equal(t, []string{"", "math", "story"}, []string{overall.Text, report.Candidates[0].Texts[0].Text, report.Candidates[0].Texts[1].Text})
}

func TestFewerBitsDriftFurther(t *testing.T) {
	skipLong(t)
	base := open(t, reference.MoE(t))
	report := measure(t, base, view(t, base, recipe.Q8_0, recipe.Q4_K_M, recipe.Q2_K), texts(t, base, "code"),
		drift.Options{Options: perplexity.Options{Ctx: 128, Chunks: 5}})
	for i, c := range report.Candidates[1:] {
		before, now := report.Candidates[i].Overall, c.Overall
		difference, err := drift.Difference(c, report.Candidates[i])
		require.NoError(t, err)
		require.True(t, difference.Positive(interval.Level))
		require.Less(t, before.P99, now.P99)
		require.Less(t, before.RMSDeltaP.Value, now.RMSDeltaP.Value)
		require.Greater(t, before.SameTop.Value, now.SameTop.Value)
		require.Greater(t, before.Router(), now.Router())
		for l := range now.Hidden {
			require.Less(t, before.Hidden[l], now.Hidden[l])
		}
		for _, a := range now.Routing {
			require.Less(t, a.Experts, 1.0)
			require.Greater(t, a.Experts, 0.5)
		}
	}
}

// TestByNameIsByFile demands of a view what is demanded of the file made of it.
func TestByNameIsByFile(t *testing.T) {
	skipLong(t)
	base := open(t, reference.MoE(t))
	for _, compute := range []infer.Compute{infer.Exact, infer.Int8} {
		opts := few
		opts.Engine.Compute = compute
		views := view(t, base, recipe.Q4_K_M, recipe.Q3_K_S)
		var files []drift.Candidate
		for _, v := range views {
			path := filepath.Join(t.TempDir(), v.Name+".gguf")
			_, err := gguf.Write(t.Context(), path, v.Source, gguf.WriteOptions{})
			require.NoError(t, err)
			files = append(files, drift.Candidate{Name: v.Name, Source: open(t, path)})
		}
		text := texts(t, base, "math", "code")
		require.Equal(t, measure(t, base, views, text, opts), measure(t, base, files, text, opts))
	}
}

func TestResultsAreReproducible(t *testing.T) {
	base := open(t, reference.MoE(t))
	candidates, text := view(t, base, recipe.Q4_K_M, recipe.Q2_K), texts(t, base, "math", "wiki")
	few := few
	if testing.Short() {
		few.Ctx = 16
	}
	want := measure(t, base, candidates, text, few)
	for _, engine := range []infer.Options{{Threads: 1}, {Threads: 5}, {Memory: 1}} {
		opts := few
		opts.Engine = engine
		require.Equal(t, want, measure(t, base, candidates, text, opts))
	}
	alone := measure(t, base, candidates[1:], text, few)
	require.Equal(t, want.Candidates[1:], alone.Candidates, "without the other")
}

func TestUntilSeparated(t *testing.T) {
	base := open(t, reference.MoE(t))
	text := texts(t, base, "math", "code")
	opts := drift.Options{Options: perplexity.Options{Ctx: 64}, UntilSeparated: true}
	var steps, total int
	opts.Engine.Progress = func(done, n int) {
		require.Greater(t, done, steps)
		steps, total = done, n
	}
	far := measure(t, base, view(t, base, recipe.Q8_0, recipe.Q2_K), text, opts)
	require.Equal(t, far.Chunks[0], far.Chunks[1])
	n := far.Chunks[0]
	require.Less(t, n, len(text[0].Tokens)/64)
	require.Equal(t, 2*n*31, far.Candidates[0].Overall.Tokens)
	require.Equal(t, n*31, far.Candidates[0].Texts[1].Tokens)
	const floor = 2 * 5 * 2 * 2 // models x layers and output x chunks
	require.Equal(t, floor+3*5*2*n, steps)
	require.Equal(t, floor+3*5*(len(text[0].Tokens)/64+len(text[1].Tokens)/64), total)

	// So many chunks of each text, without looking, are the same.
	opts = drift.Options{Options: perplexity.Options{Ctx: 64, Chunks: n}}
	require.Equal(t, far, measure(t, base, view(t, base, recipe.Q8_0, recipe.Q2_K), text, opts))

	// What is equal is never separated.
	opts = drift.Options{Options: perplexity.Options{Ctx: 64, Chunks: 6}, UntilSeparated: true}
	equal := measure(t, base, view(t, base, recipe.Q2_K, recipe.Q2_K), text, opts)
	require.Equal(t, []int{6, 6}, equal.Chunks)
}

// changed is a source with other metadata, or with a tensor full of NaN.
type changed struct {
	gguf.Source
	meta   *gguf.Metadata
	broken string
}

func (c changed) Metadata() *gguf.Metadata { return c.meta }

func (c changed) ReadRows(dst []byte, tensor int, first, n int64) error {
	if c.Source.Tensors()[tensor].Name != c.broken {
		return c.Source.ReadRows(dst, tensor, first, n)
	}
	for i := range dst {
		dst[i] = 0xFF // NaN in BF16
	}
	return nil
}

func TestRefused(t *testing.T) {
	base := open(t, reference.MoE(t))
	text := texts(t, base, "math")
	refused := func(candidate gguf.Source, says string) {
		t.Helper()
		_, err := drift.Measure(t.Context(), base, []drift.Candidate{{Name: "other", Source: candidate}}, text, few)
		require.ErrorContains(t, err, "drift: other: ")
		require.ErrorContains(t, err, says)
	}
	tokens, err := gguf.Value[[]string](base.Metadata(), "tokenizer.ggml.tokens")
	require.NoError(t, err)
	swapped := append([]string{}, tokens...)
	swapped[100], swapped[200] = swapped[200], swapped[100]
	with := func(key string, value any) *gguf.Metadata {
		meta := base.Metadata().Clone()
		meta.Set(key, value)
		return meta
	}
	refused(changed{Source: base, meta: with("tokenizer.ggml.tokens", swapped)}, "tokenizer.ggml.tokens: token")
	refused(changed{Source: base, meta: with("llama.rope.freq_base", float32(1e6))}, "llama.rope.freq_base is 1e+06, that of the first 10000")
	refused(changed{Source: base, meta: with("llama.block_count", uint32(3))}, "blk.3.")
	refused(changed{Source: base, meta: base.Metadata(), broken: "output.weight"}, "the logit of token 0 is NaN")

	_, err = drift.Measure(t.Context(), base, nil, nil, few)
	require.ErrorContains(t, err, "there is no text")
	_, err = drift.Measure(t.Context(), base, nil, []drift.Text{{Name: "short", Tokens: text[0].Tokens[:100]}}, few)
	require.ErrorContains(t, err, "drift: short: the text has 100 tokens")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = drift.Measure(cancelled, base, nil, text, few)
	require.ErrorIs(t, err, context.Canceled)
}

func TestWithoutExpertsThereIsNoRouting(t *testing.T) {
	require.True(t, math.IsNaN(drift.Measures{}.Router()))
}

func TestDifferenceIsPaired(t *testing.T) {
	skipLong(t)
	base := open(t, reference.MoE(t))
	text := texts(t, base, "math", "code")
	report := measure(t, base, view(t, base, recipe.Q4_K_M, recipe.Q4_K_S), text, few)
	a, b := report.Candidates[1], report.Candidates[0]
	require.Len(t, a.KLD, 2)
	for i, windows := range a.KLD {
		require.Len(t, windows, 2)
		require.InEpsilon(t, a.Texts[i].KLD.Value, (windows[0]+windows[1])/2, 1e-12)
	}

	difference, err := drift.Difference(a, b)
	require.NoError(t, err)
	require.InDelta(t, a.Overall.KLD.Value-b.Overall.KLD.Value, difference.Value, 1e-15)
	require.Positive(t, difference.Error)
	require.Less(t, difference.Error, a.Overall.KLD.Error, "what is hard for one is hard for the other")
	difference, err = drift.Difference(a, a)
	require.NoError(t, err)
	require.Zero(t, difference)

	_, err = drift.Difference(a, measure(t, base, view(t, base, recipe.Q2_K), text[:1], few).Candidates[0])
	require.ErrorContains(t, err, "Q4_K_S and Q2_K: they have 2 and 1 texts")
	more := few
	more.Chunks = 3
	_, err = drift.Difference(a, measure(t, base, view(t, base, recipe.Q2_K), text, more).Candidates[0])
	require.ErrorContains(t, err, "of text 0, they have 2 and 3 windows")
}

// TestWindowsOfDifferentLengths measures windows together, and each alone.
func TestWindowsOfDifferentLengths(t *testing.T) {
	base := open(t, reference.MoE(t))
	tokens := texts(t, base, "math")[0].Tokens
	windows := []perplexity.Window{
		{Tokens: tokens[:9], Scored: []int{2, 3, 7}}, {Tokens: tokens[20:51], Scored: []int{0, 4, 5, 6, 29}}, {Tokens: tokens[60:64], Scored: []int{0}},
	}
	candidates := view(t, base, recipe.Q4_0)
	of := func(windows []perplexity.Window, opts drift.Options) *drift.Report {
		return measure(t, base, candidates, []drift.Text{{Name: "chats", Windows: windows}}, opts)
	}
	together := of(windows, drift.Options{})
	require.Equal(t, together, of(windows, drift.Options{Engine: infer.Options{Memory: 1}}))
	require.Equal(t, []int{3}, together.Chunks)
	require.Equal(t, []int{9 + 31 + 4}, together.Tokens)
	got := together.Candidates[0]
	require.Equal(t, [][]int{{3, 5, 1}}, got.Scored)
	require.Equal(t, 9, got.Overall.Tokens)
	var kld, router, hidden float64
	for i, w := range windows {
		alone := of([]perplexity.Window{w}, drift.Options{}).Candidates[0]
		require.Equal(t, alone.KLD[0][0], got.KLD[0][i])
		kld += alone.Overall.KLD.Value * float64(len(w.Scored)) / 9
		router += alone.Overall.Router() * float64(len(w.Tokens)) / 44
		hidden += alone.Overall.Hidden[1] * alone.Overall.Hidden[1] * float64(len(w.Tokens)) / 44
	}
	require.InEpsilon(t, kld, got.Overall.KLD.Value, 1e-12)
	require.InEpsilon(t, router, got.Overall.Router(), 1e-12)
	require.InEpsilon(t, math.Sqrt(hidden), got.Overall.Hidden[1], 1e-12)
	require.Equal(t, got.Divergence(), got.TextDivergence(0))
	require.Equal(t, got.Overall.KLD, got.Divergence().Estimate(0, math.Inf(1)))
	require.Equal(t, []int{2}, of(windows, drift.Options{Options: perplexity.Options{Chunks: 2}}).Chunks)
}
