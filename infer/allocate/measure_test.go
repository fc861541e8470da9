package allocate_test

import (
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/allocate"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// window is short, so that the tests are.
const window = 64

type fixture struct {
	base       convert.Model
	importance *imatrix.Matrix
	text       drift.Text
}

func open(t *testing.T) fixture {
	t.Helper()
	base, err := convert.OpenModel(t.Context(), reference.MoE(t), convert.Options{})
	require.NoError(t, err)
	importance, err := imatrix.Open("../../quant/imatrix/testdata/moe.imatrix")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, base.Close())
		require.NoError(t, importance.Close())
	})
	vocab, err := tokenizer.New(base.Metadata())
	require.NoError(t, err)
	data, err := os.ReadFile("../../testdata/texts/story.txt")
	require.NoError(t, err)
	tokens, bos, err := perplexity.Tokens(vocab, string(data))
	require.NoError(t, err)
	return fixture{base, importance, drift.Text{Name: "story", Tokens: tokens, BOS: bos}}
}

// options are those of a measurement that takes a second or two.
func options(types ...gguf.Type) allocate.Options {
	return allocate.Options{Options: perplexity.Options{Ctx: window, Chunks: 2}, Types: types}
}

func (f fixture) measure(t *testing.T, opts allocate.Options) *allocate.Sensitivity {
	t.Helper()
	s, err := allocate.Measure(t.Context(), f.base, f.importance, []drift.Text{f.text}, opts)
	require.NoError(t, err)
	return s
}

func size(t *testing.T, src gguf.Source) int64 {
	t.Helper()
	_, bytes, err := gguf.Layout(src)
	require.NoError(t, err)
	return bytes
}

func TestMixBeatsThePresetOfItsSize(t *testing.T) {
	if testing.Short() {
		t.Skip("runs thirty models")
	}
	f := open(t)
	preset, err := quant.NewView(f.base, recipe.Q4_K_M, quant.ViewOptions{Importance: f.importance})
	require.NoError(t, err)
	chosen, rest := allocate.Split(f.text, window, 3)
	f.text = chosen
	opts := options(gguf.IQ4_XS, gguf.Q5_K, gguf.Q6_K)
	opts.Chunks = 0
	m, err := f.measure(t, opts).Fit(size(t, preset), recipe.Q4_K_M)
	require.NoError(t, err)
	require.Equal(t, size(t, m.View), m.Bytes)
	require.LessOrEqual(t, m.Bytes, size(t, preset))
	require.Greater(t, m.Bytes, size(t, preset)*99/100)

	report, err := drift.Measure(t.Context(), f.base, []drift.Candidate{{Name: "preset", Source: preset}, {Name: "mix", Source: m.View}}, []drift.Text{rest},
		drift.Options{Options: perplexity.Options{Ctx: window, Chunks: 12}})
	require.NoError(t, err)
	t.Logf("predicted %.5f, measured %.5f, the preset %.5f", m.Predicted, report.Candidates[1].Overall.KLD, report.Candidates[0].Overall.KLD)
	require.Less(t, report.Candidates[1].Overall.KLD.Value, 0.85*report.Candidates[0].Overall.KLD.Value)

	// The recipe makes the same model.
	var lines []string
	for _, info := range m.View.Tensors() {
		if recipe.Quantizable(info) {
			o, err := recipe.OverrideOf(info)
			require.NoError(t, err)
			lines = append(lines, o.String())
		}
	}
	overrides, err := recipe.ReadOverrides(strings.NewReader(strings.Join(lines, "\n")))
	require.NoError(t, err)
	again, err := quant.NewView(f.base, recipe.Q4_K_M, quant.ViewOptions{Recipe: recipe.Options{Overrides: overrides}, Importance: f.importance})
	require.NoError(t, err)
	require.Equal(t, m.View.Tensors(), again.Tensors())
	require.Equal(t, m.View.Metadata(), again.Metadata())
}

// TestCostsAreCalibrated compares with divergences by the book: costs of the swaps are together that of the model with all
// tensors swapped, and they are to each other as those of models with one tensor swapped each, on a part of a chunk.
func TestCostsAreCalibrated(t *testing.T) {
	if testing.Short() {
		t.Skip("runs forty models")
	}
	f := open(t)
	f.importance = nil
	s := f.measure(t, options(gguf.Q4_0)) // which is the swap, too
	chunks, err := perplexity.Chunks(f.text.Tokens, f.text.BOS, perplexity.Options{Ctx: window, Chunks: 2})
	require.NoError(t, err)
	const from = window / allocate.WarmUp
	logits := func(src gguf.Source, chunks [][]int32) (logits [][]float32) {
		m, err := infer.New(src, infer.Options{})
		require.NoError(t, err)
		scored := len(chunks[0]) - 1 - from
		logits = make([][]float32, len(chunks)*scored)
		require.NoError(t, m.Forward(t.Context(), infer.Chunks(chunks, from), func(chunk, pos int, l []float32) {
			if pos-from < scored {
				logits[chunk*scored+pos-from] = slices.Clone(l)
			}
		}))
		return logits
	}
	// mean is the divergence of the model with the tensors that a pattern matches swapped.
	mean := func(pattern string, chunks [][]int32) (mean float64) {
		var overrides []recipe.Override
		for _, o := range []string{pattern + "=q4_0", ".=bf16"} {
			override, err := recipe.ParseOverride(o)
			require.NoError(t, err)
			overrides = append(overrides, override)
		}
		view, err := quant.NewView(f.base, recipe.Q8_0, quant.ViewOptions{Recipe: recipe.Options{Overrides: overrides}})
		require.NoError(t, err)
		base, changed := logits(f.base, chunks), logits(view, chunks)
		for i := range base {
			mean += divergence(base[i], changed[i]) / float64(len(base))
		}
		return mean
	}
	all := 0.0
	for _, info := range f.base.Tensors() {
		if recipe.Quantizable(info) {
			all += s.Cost(info.Name, gguf.Q4_0)
		}
	}
	require.InEpsilon(t, mean(".", chunks), all, 1e-4)
	// With two chunks, groups are measured on the first half of each, and have two layers.
	halves := [][]int32{chunks[0][:window/2], chunks[1][:window/2]}
	output := mean(`^output\.`, halves)
	for pattern, tensors := range map[string][]string{
		`^token_embd\.`:                 {"token_embd.weight"},
		`^blk\.[01]\.attn_k\.`:          {"blk.0.attn_k.weight", "blk.1.attn_k.weight"},
		`^blk\.[23]\.ffn_down_exps\.`:   {"blk.2.ffn_down_exps.weight", "blk.3.ffn_down_exps.weight"},
		`^blk\.[23]\.attn_output\.weig`: {"blk.2.attn_output.weight", "blk.3.attn_output.weight"},
	} {
		cost := 0.0
		for _, tensor := range tensors {
			cost += s.Cost(tensor, gguf.Q4_0)
		}
		require.InEpsilon(t, mean(pattern, halves)/output, cost/s.Cost("output.weight", gguf.Q4_0), 1e-3, pattern)
	}
}

// divergence is Σ p·(log p - log q).
func divergence(base, logits []float32) (sum float64) {
	logTotal := func(logits []float32) float64 {
		var total float64
		for _, v := range logits {
			total += math.Exp(float64(v))
		}
		return math.Log(total)
	}
	b, l := logTotal(base), logTotal(logits)
	for i, v := range base {
		logP, logQ := float64(v)-b, float64(logits[i])-l
		sum += math.Exp(logP) * (logP - logQ)
	}
	return sum
}

// TestLittleMemoryScoresFewerTokens has room for the predictions of half of the tokens.
func TestLittleMemoryScoresFewerTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("measures two times")
	}
	f := open(t)
	opts := options(gguf.Q5_K)
	opts.Engine.Memory = 2 * 4 * 4096 * window // 2 windows, half of it
	few := f.measure(t, opts).Cost("output.weight", gguf.Q5_K)
	opts.Engine.Memory = 0
	all := f.measure(t, opts).Cost("output.weight", gguf.Q5_K)
	require.NotEqual(t, all, few)
	require.InEpsilon(t, all, few, 0.5)
}

// TestMemoryAndProgress measures chunk by chunk, and says how far it is.
func TestMemoryAndProgress(t *testing.T) {
	if testing.Short() {
		t.Skip("measures two times")
	}
	f := open(t)
	opts := options(gguf.Q5_K)
	together := f.measure(t, opts)
	opts.Engine.Memory = 64 << 20 // little more than two models take without any chunk
	opts.Engine.Threads = 1
	last, all := 0, 0
	opts.Engine.Progress = func(done, total int) {
		require.Greater(t, done, last)
		last, all = done, total
	}
	apart := f.measure(t, opts)
	require.Positive(t, all)
	require.Equal(t, all, last)
	for _, tensor := range []string{"token_embd.weight", "output.weight", "blk.1.ffn_up_exps.weight"} {
		require.InEpsilon(t, together.Cost(tensor, gguf.Q5_K), apart.Cost(tensor, gguf.Q5_K), 1e-9)
	}
}

func TestMeasureErrors(t *testing.T) {
	f := open(t)
	s := f.measure(t, options(gguf.Q4_K))
	_, err := s.Fit(1<<20, recipe.Q2_K)
	require.ErrorIs(t, err, allocate.ErrTooSmall)
	whole, err := s.Fit(1<<30, recipe.Q8_0)
	require.NoError(t, err)
	require.Zero(t, whole.Predicted, "all tensors as they are")
	require.Equal(t, gguf.BF16, whole.View.Tensors()[0].Type)

	failing := func(message string, ctx context.Context, base gguf.Source, opts allocate.Options) {
		t.Helper()
		_, err := allocate.Measure(ctx, base, f.importance, []drift.Text{f.text}, opts)
		require.ErrorContains(t, err, message)
	}
	opts := options(gguf.Q4_K)
	opts.Engine.Memory = 1 << 17
	failing("half of the memory, 128 KiB", t.Context(), f.base, opts)
	opts = options(gguf.Q4_K)
	opts.Ctx = 1 << 20
	failing("story", t.Context(), f.base, opts)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	failing("canceled", cancelled, f.base, options(gguf.Q4_K))
	q8, err := quant.NewView(f.base, recipe.Q8_0, quant.ViewOptions{})
	require.NoError(t, err)
	failing("requantizing", t.Context(), q8, options(gguf.Q4_K))
	failing("no tensor", t.Context(), f.base, options(gguf.BF16))
	_, err = allocate.Measure(t.Context(), f.base, f.importance, nil, options(gguf.Q4_K))
	require.ErrorContains(t, err, "no text")
}

func TestSplit(t *testing.T) {
	text := drift.Text{Name: "text", BOS: 7}
	for i := range int32(47) {
		text.Tokens = append(text.Tokens, i)
	}
	chosen, rest := allocate.Split(text, 5, 3)
	require.Equal(t, "text", chosen.Name)
	require.Equal(t, int32(7), rest.BOS)
	require.Len(t, chosen.Tokens, 3*5)
	require.Len(t, rest.Tokens, 6*5)
	all := slices.Concat(chosen.Tokens, rest.Tokens)
	slices.Sort(all)
	require.Equal(t, text.Tokens[:45], all)
	for i, token := range chosen.Tokens {
		require.Equal(t, chosen.Tokens[i/5*5]+int32(i%5), token, "windows are whole")
	}
	chosen, rest = allocate.Split(text, 5, 20)
	require.Len(t, chosen.Tokens, 45)
	require.Empty(t, rest.Tokens)
}
