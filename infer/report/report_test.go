package report_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/routing"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// header is a model of which nobody reads the weights: two matrices of a type.
type header struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
}

func newHeader(name recipe.FileType, t gguf.Type) header {
	meta := gguf.NewMetadata()
	meta.Set("general.architecture", "llama")
	meta.Set("general.name", "A model")
	meta.Set("general.file_type", uint32(name))
	return header{meta, []gguf.TensorInfo{
		{Name: "blk.0.attn_q.weight", Type: t, Shape: []int64{4096, 4096}},
		{Name: "blk.0.attn_norm.weight", Type: gguf.F32, Shape: []int64{4096}},
	}}
}

func (h header) Metadata() *gguf.Metadata                 { return h.meta }
func (h header) Tensors() []gguf.TensorInfo               { return h.tensors }
func (h header) ReadRows([]byte, int, int64, int64) error { panic("nobody reads the weights") }

// result is what was measured of a model, with these mean divergences of the windows of each text.
func result(name string, texts ...[]float64) drift.Result {
	measures := func(text string, windows ...[]float64) drift.Measures {
		m := drift.Measures{Text: text, Hidden: []float64{0.01, 0.02}, Routing: []drift.Agreement{{Experts: 0.9, First: 0.95}}}
		m.KLD = interval.Of(windows...).Estimate(0, math.Inf(1))
		m.PPL, m.Ratio = interval.Estimate{Value: 5, Error: 0.1, Low: 4.8, High: 5.2}, interval.Estimate{Value: 1.01, Error: math.NaN(), Low: math.NaN(),
			High: math.NaN()}
		m.SameTop, m.RMSDeltaP = interval.Estimate{Value: 0.97, Low: 0.96, High: 0.98}, interval.Estimate{Value: 0.02, Low: 0.01, High: 0.03}
		m.Correlation, m.Tokens, m.Max = math.NaN(), 255*len(windows[0]), 0.5
		return m
	}
	r := drift.Result{Name: name, KLD: texts, Elapsed: 2 * time.Second, Overall: measures("", texts...)}
	for i, windows := range texts {
		r.Texts = append(r.Texts, measures([]string{"chat", "code"}[i], windows))
	}
	return r
}

// small, middle and large are what was measured of three types.
var (
	small  = result("Q4_0", []float64{0.02, 0.022, 0.021}, []float64{0.03, 0.032, 0.031})
	middle = result("Q6_K", []float64{0.005, 0.006, 0.0055}, []float64{0.006, 0.007, 0.0065})
	large  = result("Q8_0", []float64{0.0005, 0.0006, 0.00055}, []float64{0.0006, 0.0007, 0.00065})
)

// candidates are those of these results.
func candidates() []drift.Candidate {
	return []drift.Candidate{
		{Name: "Q4_0", Source: newHeader(recipe.Q4_0, gguf.Q4_0)}, {Name: "Q6_K", Source: newHeader(recipe.Q6_K, gguf.Q6_K)}, {Name: "Q8_0", Source: newHeader(recipe.Q8_0, gguf.Q8_0)},
	}
}

// measured is a report on them, from small to large.
func measured(t testing.TB) *report.Drift {
	r := &report.Drift{
		Model: "models/a-model.gguf", Ctx: 512, Compute: "exact", Imatrix: "some/matrix.gguf",
		Texts: []report.Text{{File: "texts/chat.txt", SHA256: strings.Repeat("ab", 32)}, {File: "texts/code.txt", SHA256: strings.Repeat("cd", 32)}},
	}
	base := result("", []float64{0, 0, 0}, []float64{0, 0, 0})
	for i, c := range candidates() {
		require.NoError(t, r.Add(newHeader(recipe.BF16, gguf.BF16), []drift.Candidate{c},
			&drift.Report{Chunks: []int{3, 3}, Tokens: []int{1536, 1536}, Base: base, Floor: base, Candidates: []drift.Result{[]drift.Result{small, middle, large}[i]}}))
	}
	return r
}

// chosen is the choice between them: the smallest with a mean divergence of 0.01.
func chosen(t testing.TB, r *report.Drift) *report.Choice {
	var considered []choose.Candidate
	for _, c := range candidates() {
		_, size, err := gguf.Layout(c.Source)
		require.NoError(t, err)
		considered = append(considered, choose.Candidate{Candidate: c, Bytes: size})
	}
	spec := &graph.Spec{Width: 4096, Vocabulary: 32000, Layers: []graph.Layer{{{Mixers: []graph.Mixer{
		graph.Attention{Heads: 32, KVHeads: 8, KeyLen: 128, ValueLen: 128}, graph.Network{Hidden: 14336},
	}}}}}
	fit, err := report.NewFit(spec, []choose.Setting{{Context: 512, Keys: gguf.F16, Values: gguf.F16, FlashAttention: true}}, 0)
	require.NoError(t, err)
	choice, err := choose.Decide(choose.Limits{MaxKLD: 0.01}, fit.Memory(), considered, []drift.Result{small, middle, large})
	require.NoError(t, err)
	return report.NewChoice(r, choice, fit, nil)
}

// keys returns the names in a JSON object in their order.
func keys(t *testing.T, document any) (names []string) {
	data, err := json.Marshal(document)
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(data))
	_, err = d.Token()
	require.NoError(t, err)
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		names = append(names, name.(string))
		var value json.RawMessage
		require.NoError(t, d.Decode(&value))
	}
	return names
}

// The names in the JSON are read by programs: they stay, and so does their order.
func TestJSONKeepsItsNames(t *testing.T) {
	r := measured(t)
	c := chosen(t, r)
	estimate := func(name string) []string { return []string{name, name + "_error", name + "_low", name + "_high"} }
	kld := []string{"kld_mean", "kld_error", "kld_low", "kld_high", "kld_p50", "kld_p90", "kld_p95", "kld_p99", "kld_p999", "kld_max"}
	figures := slices.Concat(estimate("ppl"), estimate("ppl_ratio"), []string{"nll_correlation"}, kld, estimate("same_top"), estimate("rms_delta_p"),
		[]string{"router_agreement", "layers", "embedding_error"})
	for _, test := range []struct {
		document any
		names    []string
	}{
		{r, []string{"model", "base", "texts", "ctx", "compute", "imatrix", "floor", "candidates", "provenance"}},
		{r.Base, slices.Concat([]string{"type", "format", "bytes", "bpw", "packed_bpw", "quantized"}, estimate("ppl"), []string{"seconds", "tokens_per_second", "by_text"})},
		{r.Base.ByText[0], append([]string{"file"}, estimate("ppl")...)},
		{r.Texts[0], []string{"file", "sha256", "chunks", "scored_tokens"}},
		{r.Floor, []string{"kld_mean", "kld_low", "kld_high", "kld_max", "same_top", "scored_tokens"}},
		{r.Candidates[0], slices.Concat([]string{"name", "type", "format", "bytes", "bpw", "packed_bpw"}, figures, []string{"above_floor", "seconds", "tokens_per_second", "by_text"})},
		{r.Candidates[0].ByText[0], slices.Concat([]string{"file"}, figures, []string{"kld_windows"})},
		{r.Candidates[0].Layers[0], []string{"layer", "hidden_error", "same_experts", "same_first_expert"}},
		{c, []string{"model", "fit_bytes", "max_kld", "every_text", "ctx", "cache_bytes", "compute_bytes", "flash_attn", "cache_type_k", "cache_type_v", "gpu_bytes", "contexts",
			"chosen", "confidence", "runner_up", "summary", "considered", "recipe", "base", "texts", "window", "compute", "imatrix", "floor", "provenance"}},
		{c.Considered[0], slices.Concat([]string{"type", "format", "packed_bpw"}, figures, []string{"above_floor", "seconds", "tokens_per_second", "by_text", "name", "bytes", "bpw", "needed_bytes", "contexts", "chosen", "reason"})},
		{c.RunnerUp, []string{"name", "kld_difference", "kld_difference_error", "kld_difference_low", "kld_difference_high"}},
		{c.Contexts[0], []string{"ctx", "cache_bytes", "compute_bytes", "fits"}},
		{c.Considered[0].Contexts[0], []string{"ctx", "needed_bytes", "fits", "llama_cpp"}},
		{c.Recipe[0], []string{"tensor", "type"}},
		{report.Mix{}, []string{"name", "file_type", "windows", "kld_predicted", "kld_better", "kld_better_error", "kld_better_low", "kld_better_high", "offered"}},
		{report.TwentyReport().Provenance, []string{"ggufkit", "date", "command", "cpu", "isa", "model", "imatrix"}},
		{report.TwentyReport().Provenance.Model, []string{"name", "file", "architecture", "parameters", "file_sha256"}},
		{report.Perplexity{}, []string{"model", "type", "format", "file_bytes", "packed_bpw", "ctx", "chunks", "scored_tokens", "ppl", "ppl_error", "ppl_low", "ppl_high", "nll", "compute", "seconds", "tokens_per_second", "read_bytes", "readings", "by_text"}},
		{report.PerplexityText{}, []string{"file", "sha256", "chunks", "scored_tokens", "ppl", "ppl_error", "ppl_low", "ppl_high", "nll"}},
		{report.Imatrix{File: "a", Coverage: make([]report.Coverage, 1)}, []string{"file", "chunks", "ctx", "tensors", "coverage"}},
		{report.Coverage{}, []string{"layer", "tokens", "experts", "router_entropy", "below_min_tokens"}},
		{report.Inspection{}, []string{"file", "version", "alignment", "kv", "tensors"}},
		{report.KV{}, []string{"key", "type", "value"}},
		{report.Tensor{}, []string{"name", "type", "shape", "offset", "bytes"}},
		{report.Type{}, []string{"name", "number", "bpw", "bytes", "needs_imatrix", "kld_mean", "kld_mean_imatrix", "description"}},
	} {
		require.Equal(t, test.names, keys(t, test.document), "%T", test.document)
	}
}

func TestDriftFigures(t *testing.T) {
	r := measured(t)
	require.Len(t, r.Candidates, 3)
	require.Equal(t, "BF16", r.Base.Type)
	require.InDelta(t, 16, r.Base.BPW, 0.01)
	require.Equal(t, 3*512*2/2., r.Base.TokensPerSecond)
	require.Equal(t, 3, r.Texts[1].Chunks)
	c := r.Candidates[0]
	require.Equal(t, "Q4_0", c.Type)
	require.InDelta(t, 4.5, c.BPW, 0.01)
	require.InDelta(t, 0.026, c.KLD, 1e-9)
	require.Nil(t, c.PPLRatioLow, "not a number")
	require.Nil(t, c.Correlation)
	require.Equal(t, []float64{0.03, 0.032, 0.031}, c.ByText[1].KLDWindows)
	require.Equal(t, 0.9, *c.Layers[0].SameExperts)

	// What was written can be read and shown again.
	data, err := json.Marshal(r)
	require.NoError(t, err)
	var again report.Drift
	require.NoError(t, json.Unmarshal(data, &again))
	require.Equal(t, *r, again)
}

func TestDriftInWords(t *testing.T) {
	r := measured(t)
	var out strings.Builder
	r.Print(&out)
	in(t, out.String(), "the original, BF16", "32.0 MiB", "\nQ8_0 ", "\nQ6_K ", "\nQ4_0 ", "0.02600 (0.0", "97.00 (96.00–98.00) %", "2.00 %", "90.00 %",
		"mean KL divergence", "chat", "code",
		"1530 scored tokens, the second halves of 6 windows of 512, of chat.txt (SHA-256 abababababab), code.txt (SHA-256 cdcdcdcdcdcd).",
		"exact compute; types quantized with importance matrix matrix.gguf.", "In brackets: 95 % intervals", "Noise floor: the original run a second time has a KL divergence of 0")
	meaning := "Q6_K is the smallest that keeps to a mean KL divergence of 0.01 on these texts: 0.00600"
	in(t, r.Markdown(), "# a-model, quantized", "* "+meaning, "; on code, the worst, 0.00650", "* The choice is one of size", "## Files", "| Q8_0 |",
		"## How to run it", "llama-cli -m a-model-Q6_K.gguf\n", "## Drift by text", "## How it was measured")
	page, err := r.Page()
	require.NoError(t, err)
	in(t, page, "<h1>Drift of a-model</h1>", "which is BF16, 32.0 MiB, 16.00 bits per weight", meaning, "Size against drift", "Drift by text", "Routers",
		`class="chosen"><td>Q6_K`)
	require.NotContains(t, page, "The choice:")
}

func TestMeaningOfWhatCannotBeTold(t *testing.T) {
	first := func(r *report.Drift) []string {
		_, list, _ := strings.Cut(r.Markdown(), "quantized\n\n")
		list, _, _ = strings.Cut(list, "\n\n")
		return strings.Split(list, "\n")
	}
	r := measured(t)
	r.Texts = r.Texts[:1]
	r.Candidates = r.Candidates[:1]
	require.Equal(t, "* No candidate is sure to keep to a mean KL divergence of 0.01 on this text.", first(r)[0])

	// A smaller one that is closer beats a larger one.
	r = measured(t)
	r.Candidates[0].Bytes = 2 * r.Candidates[2].Bytes
	require.Equal(t, "* There is no reason to take Q4_0: another candidate is at most as large and closer to the original, by more than chance.", first(r)[1])

	// Two that differ by chance only.
	r = measured(t)
	for i := range r.Candidates[1].ByText {
		r.Candidates[1].ByText[i].KLDWindows = []float64{0.03, 0.02, 0.025}
		r.Candidates[0].ByText[i].KLDWindows = []float64{0.02, 0.03, 0.0255}
	}
	require.Equal(t, "* More text would be needed to tell Q6_K from Q4_0.", first(r)[1])
}

func TestChoiceInWords(t *testing.T) {
	r := measured(t)
	c := chosen(t, r)
	require.Equal(t, "Q6_K", c.Chosen.Name)
	require.Equal(t, []string{"Q4_0", "Q6_K", "Q8_0"}, []string{r.Candidates[0].Name, r.Candidates[1].Name, r.Candidates[2].Name},
		"what was measured stays as it is")
	require.Nil(t, c.FitBytes)
	require.Equal(t, "Q4_0", c.RunnerUp.Name)
	var out strings.Builder
	c.Print(&out)
	in(t, out.String(), "candidate", "\nQ8_0 ", "good enough, but larger than Q6_K", "\nQ6_K ", "chosen: the smallest that is good enough", "\nQ4_0 ", "> 0.01",
		"Q6_K is the smallest that keeps to a mean KL divergence of 0.01 on these texts", "Q4_0, the next smaller one, is further", "the original, BF16", "Noise floor")
	in(t, c.Markdown(), "* Q6_K is the smallest", "## Files", "## The choice", "llama-cli -m a-model-Q6_K.gguf -c 512")
	page, err := c.Page()
	require.NoError(t, err)
	in(t, page, "<h2>The choice: Q6_K</h2>", `<tr class="chosen"><td>Q6_K</td>`, "chosen: the smallest that is good enough")
	lines, err := c.TypeFile()
	require.NoError(t, err)
	require.Equal(t, "#name:Q6_K=f32\n#type:q6_k=f32\n^blk\\.0\\.attn_q\\.weight$=q6_k\n", lines)
}

func TestPerplexity(t *testing.T) {
	result := perplexity.Result{PPL: 4.25, PPLError: 0.125, Low: 4, High: 4.5, NLL: 1.4469, Chunks: 4, Ctx: 512, ScoredTokens: 1020, Tokens: 2048}
	texts := []report.PerplexityText{report.NewPerplexityText("texts/chat.txt", "ab", nil, result), report.NewPerplexityText("texts/code.txt", "cd", nil, result)}
	r, err := report.NewPerplexity("a.gguf", newHeader(recipe.Q4_0, gguf.Q4_0), result, texts, infer.Int8, 2*time.Second, 1<<30)
	require.NoError(t, err)
	require.Equal(t, 1024., r.TokensPerSecond)
	var out strings.Builder
	r.Print(&out)
	in(t, out.String(), "chat", "code", "4.2500 (4.0000–4.5000)",
		"PPL = 4.2500 +/- 0.12500 (Q4_0, 4 chunks of 512 tokens, 1020 scored, int8 compute, 1024 tokens/s, weights read 113.", "times at 0.54 GB/s)",
		"95 % interval for text like this, made of the windows: 4.0000 to 4.5000.")
	result.Low, result.High = math.NaN(), math.NaN()
	r, err = report.NewPerplexity("a.gguf", newHeader(recipe.Q4_0, gguf.Q4_0), result, texts[:1], infer.Exact, time.Second, 0)
	require.NoError(t, err)
	out.Reset()
	r.Print(&out)
	in(t, out.String(), "exact compute, 2048 tokens/s)\n", "there is no interval")
}

func TestCoverage(t *testing.T) {
	r := report.Imatrix{Coverage: report.NewCoverage([]routing.Layer{{Layer: 3, Tokens: 1000, Chosen: []int64{1000, 990, 10}, Entropy: 1.25}}, 100)}
	require.Equal(t, []int{2}, r.Coverage[0].Few)
	var out strings.Builder
	r.PrintCoverage(&out, 100)
	in(t, out.String(), "layer", "expert 2", "router entropy", "100.0 %", "99.0 %", "1.0 %", "1.25 bits", "10\n", "1 experts saw fewer than 100 tokens")
	out.Reset()
	report.Imatrix{}.PrintCoverage(&out, 100)
	require.Equal(t, "the model has no experts\n", out.String())
}

func TestInspection(t *testing.T) {
	h := newHeader(recipe.Q4_0, gguf.Q4_0)
	h.meta.Set("a.nan", float32(math.NaN()))
	h.meta.Set("a.list", []uint8{1, 2, 3, 4, 5, 6, 7, 8})
	h.meta.Set("a.text", "one\ntwo\x1b "+strings.Repeat("long ", 40))
	r, err := report.NewInspection("a.gguf", h)
	require.NoError(t, err)
	data, err := json.Marshal(r)
	require.NoError(t, err)
	in(t, string(data), `{"key":"a.nan","type":"FLOAT32","value":"NaN"}`, `"value":[1,2,3,4,5,6,7,8]`,
		`"name":"blk.0.attn_q.weight","type":"Q4_0","shape":[4096,4096],"offset":`)
	var out strings.Builder
	r.Print(&out)
	in(t, out.String(), "GGUF version 3, alignment 32, 6 metadata pairs, 2 tensors", `"llama"`, "[1, 2, 3, 4, 5, 6, ... 8 in all]", `"one\ntwo\x1b`, " ... ",
		"4096 x 4096", "9437184")
	out.Reset()
	r.PrintValues(&out)
	in(t, out.String(), "a.list:\n1\n2\n", "one\ntwo\\x1b long")
}
