package report_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/eval"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// zeros is a model whose weights are all 0.
type zeros struct{ header }

func (z zeros) ReadRows(dst []byte, _ int, _, _ int64) error {
	clear(dst)
	return nil
}

// cardFile writes a small model, and describes the file.
func cardFile(t testing.TB, name string, as recipe.FileType, of gguf.Type, more ...gguf.KV) *report.CardFile {
	h := newHeader(as, of)
	for i := range h.tensors {
		h.tensors[i].Shape = slices.Repeat([]int64{256}, len(h.tensors[i].Shape))
	}
	for _, kv := range more {
		h.meta.Set(kv.Key, kv.Value)
	}
	path := filepath.Join(t.TempDir(), name)
	_, err := gguf.Write(t.Context(), path, zeros{h}, gguf.WriteOptions{})
	require.NoError(t, err)
	f, err := gguf.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	file, err := report.NewCardFile(path, f)
	require.NoError(t, err)
	return file
}

// origin is what the metadata of a model say of where it comes from.
func origin() []gguf.KV {
	return []gguf.KV{
		{Key: "general.license", Value: "apache-2.0"},
		{Key: "general.base_model.count", Value: uint32(1)},
		{Key: "general.base_model.0.name", Value: "Base"},
		{Key: "general.base_model.0.organization", Value: "Someone"},
		{Key: "general.base_model.0.repo_url", Value: "https://huggingface.co/someone/base"},
		{Key: "general.tags", Value: []string{"math", "text-generation"}},
		{Key: "general.languages", Value: []string{"en", "no"}},
		{Key: "llama.context_length", Value: uint32(4096)},
	}
}

// evaluated is what was measured of the model and of two types, of three tasks.
func evaluated() *report.Eval {
	number := func(v float64) *float64 { return &v }
	results := func(arc, mc2 float64) []eval.Result {
		return []eval.Result{
			{
				Task: "truthfulqa_mc", Group: "truthfulqa", Groups: []string{"truthfulqa", "openllm"}, Version: "1", N: 24, Main: "mc2",
				Metrics: []eval.Metric{
					{Name: "mc1", Filter: "none", Value: 0.25, Stderr: number(0.09), HigherIsBetter: true},
					{Name: "mc2", Filter: "none", Value: mc2, Stderr: number(0.1), HigherIsBetter: true},
				},
			},
			{
				Task: "arc_challenge", Group: "gpt4all", Groups: []string{"gpt4all", "openllm"}, Version: "0", Shots: 25, N: 24, Main: "acc_norm",
				Metrics: []eval.Metric{
					{Name: "acc", Filter: "none", Value: 0.25, Stderr: number(0.09), HigherIsBetter: true},
					{Name: "acc_norm", Filter: "none", Value: arc, Stderr: number(0.09), HigherIsBetter: true},
				},
			},
			{Task: "wikitext", Version: "1", N: 4, Main: "word_perplexity", Metrics: []eval.Metric{{Name: "word_perplexity", Filter: "none", Value: 12.5}}},
		}
	}
	candidate := func(name string, bpw, delta float64) report.EvalCandidate {
		paired := func(task, metric string) eval.Paired {
			zero, one := 0, 1.0
			return eval.Paired{
				Task: task, Metric: metric, N: 24, Delta: delta, DeltaStderr: number(0.01), CI95: [2]float64{delta - 0.02, delta + 0.02},
				OnlyBaseRight: &zero, OnlyCandidateRight: &zero, McNemar: &one, ChangedAnswers: number(0.05),
			}
		}
		return report.EvalCandidate{
			Name: name, BPW: bpw, Results: results(0.375+delta, 0.5+delta), Averages: map[string]float64{"truthfulqa": 0.5 + delta},
			Paired: []eval.Paired{paired("truthfulqa_mc", "mc1"), paired("truthfulqa_mc", "mc2"), paired("arc_challenge", "acc_norm"), paired(eval.AllTasks, "score")},
		}
	}
	return &report.Eval{
		Model: "models/a-model", Profile: "openllm-v1", Harness: "lm-evaluation-harness b281b0921b63", Compute: "exact", MaxLength: 4096, Parameters: 256*256 + 256,
		Results: results(0.375, 0.5), Averages: map[string]float64{"truthfulqa": 0.5}, DataSHA256: map[string]string{"arc_challenge/test.jsonl": strings.Repeat("ef", 32)},
		Candidates: []report.EvalCandidate{candidate("Q4_0", smallBPW(gguf.Q4_0), -0.05), candidate("Q8_0", smallBPW(gguf.Q8_0), 0.001)},
		Version:    "1.0.0", ISA: "avx2", ModelSHA256: strings.Repeat("01", 32),
	}
}

// smallBPW are the bits per weight of a card's file of a type.
func smallBPW(of gguf.Type) float64 {
	h := newHeader(recipe.Q4_0, of)
	for i := range h.tensors {
		h.tensors[i].Shape = slices.Repeat([]int64{256}, len(h.tensors[i].Shape))
	}
	return gguf.BitsPerWeight(h)
}

// driftJSON is what drift prints of these files.
func driftJSON(t testing.TB) []byte {
	d := measured(t)
	for i, of := range []gguf.Type{gguf.Q4_0, gguf.Q6_K, gguf.Q8_0} {
		d.Candidates[i].BPW = smallBPW(of)
	}
	d.Imatrix = ""
	d.Provenance = report.TwentyReport().Provenance
	d.Provenance.Model.Parameters = 256*256 + 256
	data, err := json.Marshal(d)
	require.NoError(t, err)
	return data
}

func document(t testing.TB, v any) []byte {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return data
}

// TestModelCard holds a card against testdata/card.md (-update writes it).
func TestModelCard(t *testing.T) {
	files := []*report.CardFile{
		cardFile(t, "a-model-Q4_0.gguf", recipe.Q4_0, gguf.Q4_0, origin()...), cardFile(t, "a-model-Q8_0.gguf", recipe.Q8_0, gguf.Q8_0, origin()...),
	}
	files[0].Parts[0].SHA256, files[1].Parts[0].SHA256 = strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	c, err := report.NewModelCard(t.Context(), "1.0.0", files...)
	require.NoError(t, err)
	c.Repository, c.BaseModels = "me/a-model-GGUF", []string{"someone/a-model"}
	d, err := report.ReadDrift(driftJSON(t))
	require.NoError(t, err)
	require.NoError(t, c.AddDrift(d))
	e, err := report.ReadEval(document(t, evaluated()))
	require.NoError(t, err)
	require.NoError(t, c.AddEval(e))
	require.Empty(t, c.Notes())
	card, err := c.Markdown()
	require.NoError(t, err)
	require.NotContains(t, card, "lossless")
	const golden = "testdata/card.md"
	if *report.Update {
		require.NoError(t, os.WriteFile(golden, []byte(card), 0o666))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), card)
}

// TestModelCardOfAChoice has the sentences of choose.
func TestModelCardOfAChoice(t *testing.T) {
	r := measured(t)
	data := document(t, chosen(t, r))
	c, err := report.NewModelCard(t.Context(), "1.0.0", cardFile(t, "a.gguf", recipe.Q6_K, gguf.Q6_K))
	require.NoError(t, err)
	d, err := report.ReadDrift(data)
	require.NoError(t, err)
	require.NoError(t, c.AddDrift(d))
	card, err := c.Markdown()
	require.NoError(t, err)
	in(t, card, "Q6_K is the smallest that keeps to a mean KL divergence of 0.01 on these texts", "| Q4_0 | 9.02 MiB |")
	require.Equal(t, []string{
		"the model does not say under which licence it is", "the model does not say what it was made of: --base-model does", "there are no figures of drift for a.gguf",
	}, c.Notes(), "what was measured has more bits per weight")
}

// codeSpans are what Markdown shows as it is.
var codeSpans = regexp.MustCompile("(?s)\n```+.*?\n```+\n|`[^`\n]*`")

// TestModelCardOfHostileTexts takes texts from metadata and documents for texts.
func TestModelCardOfHostileTexts(t *testing.T) {
	for _, text := range []string{
		"<script>alert(1)</script>", "a\n---\n# b", "a | b", "[x](javascript:alert(1))", "``` \n# x", "![x](http://example.org/x.png)", "*a* _b_ __c__ ~~d~~", "&lt;",
		"yes", "null", "- a", "{a: b}", "'\"", "# a", "a: b # c", "1. a", "\x1b[31m", "\u202e", "\\", "é", "@a", "!!str a", strings.Repeat("a", 10000),
	} {
		kvs := append(origin(),
			gguf.KV{Key: "general.name", Value: text}, gguf.KV{Key: "general.license", Value: text}, gguf.KV{Key: "general.license.link", Value: text},
			gguf.KV{Key: "general.base_model.0.name", Value: text}, gguf.KV{Key: "general.base_model.0.repo_url", Value: text},
			gguf.KV{Key: "general.tags", Value: []string{text}}, gguf.KV{Key: "general.description", Value: text},
			gguf.KV{Key: "quantize.imatrix.file", Value: text}, gguf.KV{Key: "quantize.imatrix.dataset", Value: text},
		)
		c, err := report.NewModelCard(t.Context(), text, cardFile(t, "a.gguf", recipe.Q4_0, gguf.Q4_0, kvs...))
		require.NoError(t, err)
		var d map[string]any
		require.NoError(t, json.Unmarshal(driftJSON(t), &d))
		d["candidates"].([]any)[0].(map[string]any)["name"] = text
		d["texts"].([]any)[0].(map[string]any)["file"] = text
		drift, err := report.ReadDrift(document(t, d))
		require.NoError(t, err)
		require.NoError(t, c.AddDrift(drift))
		e := evaluated()
		e.Profile, e.Harness, e.Candidates[0].Name, e.Candidates[0].Paired[0].Task = text, text, text, text
		e.Results[0].Task, e.Candidates[0].Results[0].Task, e.Candidates[1].Results[0].Task = text, text, text
		scores, err := report.ReadEval(document(t, e))
		require.NoError(t, err)
		require.NoError(t, c.AddEval(scores))
		card, err := c.Markdown()
		require.NoError(t, err)
		front, body, ok := strings.Cut(strings.TrimPrefix(card, "---\n"), "\n---\n")
		require.True(t, ok)
		var data struct {
			License string   `yaml:"license"`
			Tags    []string `yaml:"tags"`
			Quants  any      `yaml:"quantized_by"`
		}
		require.NoError(t, yaml.Unmarshal([]byte(front), &data), front)
		require.Len(t, data.Tags, 4, front)
		if len(text) < 100 && text == strings.TrimSpace(text) && !strings.ContainsAny(text, "\n\x1b\u202e") {
			require.Equal(t, text, data.License)
			require.Equal(t, text, data.Tags[0])
		}
		outside := codeSpans.ReplaceAllString(body, "")
		for _, bad := range []string{"<script", "](javascript", "![", "```\n#", "\x1b", "\u202e", "\n# b", "*a*", "_b_", "~~d", "\n- a", "(<http://ex"} {
			require.NotContains(t, outside, bad, text)
		}
		for _, table := range strings.Split(outside, "\n\n") {
			if lines := strings.Split(strings.TrimSpace(table), "\n"); strings.HasPrefix(lines[0], "|") {
				for _, line := range lines {
					require.Equal(t, strings.Count(lines[0], "|"), strings.Count(line, "|"), "%q in %s", text, line)
				}
			}
		}
	}
}

// TestCardsOfSomethingElse are refused.
func TestCardsOfSomethingElse(t *testing.T) {
	one := cardFile(t, "a.gguf", recipe.Q4_0, gguf.Q4_0)
	c, err := report.NewModelCard(t.Context(), "1.0.0", one)
	require.NoError(t, err)
	e := evaluated()
	e.Parameters = 7
	scores, err := report.ReadEval(document(t, e))
	require.NoError(t, err)
	require.ErrorContains(t, c.AddEval(scores), "it is of another model: 7 parameters, a.gguf has 65792")
	_, err = report.NewModelCard(t.Context(), "1.0.0", one, cardFile(t, "b.gguf", recipe.Q4_0, gguf.Q4_0, gguf.KV{Key: "general.architecture", Value: "qwen2"}))
	require.ErrorContains(t, err, "a.gguf and b.gguf are not the same model")
	for _, text := range []string{"", "[]", "{}", "null", `{"texts":[],"candidates":[]}`, `{"texts":[{}],"candidates":[{}]}`, `{"texts":[{}],"considered":[{"kld_mean":1}]}`} {
		_, err := report.ReadDrift([]byte(text))
		require.Error(t, err, text)
		_, err = report.ReadEval([]byte(text))
		require.Error(t, err, text)
	}
	e = evaluated()
	e.Candidates[0].Results = e.Candidates[0].Results[:1]
	_, err = report.ReadEval(document(t, e))
	require.ErrorContains(t, err, `"Q4_0" was not evaluated on the same tasks`)
}

// TestScoresPage has a chart for each suite that is whole, and one for each other form of the model.
func TestScoresPage(t *testing.T) {
	page, err := evaluated().Page()
	require.NoError(t, err)
	in(t, page, "<h3>truthfulqa: 50.00 in the mean</h3>", "<h3>other tasks</h3>", "arc_challenge, Q4_0: 32.50 (14.86 to 50.14)", "<h3>All tasks together</h3>",
		"all, Q4_0: -5.00 (-7.00 to -3.00) points, worse", "<h3>Q8_0</h3>")
	require.NotContains(t, page, "wikitext, Q4_0")
}

// FuzzMeasured: whatever a document of drift, choose or eval says, a card is made of it or there is an error.
func FuzzMeasured(f *testing.F) {
	file := cardFile(f, "a-model-Q4_0.gguf", recipe.Q4_0, gguf.Q4_0, origin()...)
	f.Add(driftJSON(f))
	f.Add(document(f, chosen(f, measured(f))))
	f.Add(document(f, evaluated()))
	f.Add([]byte(`{"texts":[{}],"considered":[null,{"by_text":[null]}]}`))
	f.Add([]byte(`{"profile":"p","results":[null],"candidates":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := report.NewModelCard(t.Context(), "1.0.0", file)
		require.NoError(t, err)
		if d, err := report.ReadDrift(data); err == nil && c.AddDrift(d) == nil {
			_, err := d.Page()
			require.NoError(t, err)
		}
		if e, err := report.ReadEval(data); err == nil {
			_ = c.AddEval(e) // it may be of another model
		}
		_, err = c.Markdown()
		require.NoError(t, err)
	})
}
