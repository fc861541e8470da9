package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/eval"
)

// Eval is how a model, and other forms of it, score on tasks.
type Eval struct {
	Model   string `json:"model"`
	Profile string `json:"profile"`
	// Harness is the program whose rules the profile has.
	Harness   string   `json:"harness"`
	Compute   string   `json:"compute"`
	BOS       bool     `json:"bos"`
	MaxLength int      `json:"max_length"`
	Seed      uint64   `json:"seed"`
	Limit     *float64 `json:"limit"` // null for all documents
	Samples   bool     `json:"samples_chosen"`
	// Chat is how prompts were made conversations: "", "single" or "multiturn".
	Chat   string `json:"chat"`
	System string `json:"system_instruction"`
	// TokenizerSHA256 is that of the vocabulary's metadata.
	TokenizerSHA256 string `json:"tokenizer_sha256"`
	// DataSHA256 has the files of data that were read.
	DataSHA256 map[string]string `json:"data_sha256"`
	Bytes      int64             `json:"bytes"`
	BPW        float64           `json:"bpw"`
	Parameters int64             `json:"parameters"`
	// Imatrix is the importance matrix that types were quantized with.
	Imatrix    string             `json:"imatrix,omitempty"`
	Results    []eval.Result      `json:"results"`
	Groups     []eval.Group       `json:"groups"`
	Averages   map[string]float64 `json:"averages"`
	Candidates []EvalCandidate    `json:"candidates"`
	// Version is the program's, ISA the instructions that it computed with.
	Version string `json:"ggufkit"`
	ISA     string `json:"isa"`
	// ModelSHA256 is that of the file, or of the data of all tensors, as hash has it, or that which ProvenanceModel has of its files.
	ModelSHA256 string `json:"model_sha256"`
}

// EvalCandidate is another form of the model, on the same documents.
type EvalCandidate struct {
	Name     string             `json:"name"`
	Bytes    int64              `json:"bytes"`
	BPW      float64            `json:"bpw"`
	Results  []eval.Result      `json:"results"`
	Groups   []eval.Group       `json:"groups"`
	Averages map[string]float64 `json:"averages"`
	Paired   []eval.Paired      `json:"paired"`
}

// Provenance lists what somebody else needs to make the report again, a name and a value each.
func (e *Eval) Provenance() [][2]string {
	lines := [][2]string{{"model", filepath.Base(e.Model)}, {"SHA-256 of the model", e.ModelSHA256}, {"SHA-256 of the vocabulary", e.TokenizerSHA256}}
	for _, name := range slices.Sorted(maps.Keys(e.DataSHA256)) {
		lines = append(lines, [2]string{"SHA-256 of " + name, e.DataSHA256[name]})
	}
	return append(lines, [2]string{"made with", fmt.Sprintf("ggufkit %s, %s instructions", e.Version, e.ISA)})
}

// Add fills in what was found of a model and of others, which are named.
func (e *Eval) Add(found *eval.Evaluation, model gguf.Source, names []string, candidates []gguf.Source) error {
	stored, err := newStorage(model)
	if err != nil {
		return err
	}
	e.TokenizerSHA256 = vocabularyHash(model.Metadata())
	first := found.Models[0]
	e.BOS, e.MaxLength, e.Bytes, e.BPW, e.Parameters = found.BOS, found.MaxLength, stored.Bytes, stored.BPW, gguf.Elements(model)
	e.Results, e.Groups, e.Averages = first.Results, first.Groups, first.Averages
	for i, source := range candidates {
		if stored, err = newStorage(source); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
		m := found.Models[i+1]
		e.Candidates = append(e.Candidates, EvalCandidate{names[i], stored.Bytes, stored.BPW, m.Results, m.Groups, m.Averages, m.Paired})
	}
	return nil
}

// vocabularyHash is the SHA-256 of what metadata say of tokens.
func vocabularyHash(meta *gguf.Metadata) string {
	h := sha256.New()
	for _, kv := range meta.All() {
		if strings.HasPrefix(kv.Key, "tokenizer.") {
			fmt.Fprintf(h, "%s %v\n", kv.Key, kv.Value)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Partial reports whether some documents were left out, so that scores are not those of the tasks.
func (e *Eval) Partial() bool { return e.Limit != nil || e.Samples }

// evalRow is a line of a table of scores: a figure of a task, or the average of a suite.
type evalRow struct{ Task, Version, Metric, Value, PlusMinus, Stderr string }

// evalRows lists scores as the harnesses' tables have them.
func evalRows(results []eval.Result, averages map[string]float64) []evalRow {
	var rows []evalRow
	for _, r := range byTask(results) {
		task, version := r.Task, r.Version
		for _, m := range r.Metrics {
			row := evalRow{Task: task, Version: version, Metric: m.Label(), Value: evalFigure(m.Name, m.Value)}
			if m.Stderr != nil {
				row.PlusMinus, row.Stderr = "±", evalFigure(m.Name, *m.Stderr)
			}
			rows = append(rows, row)
			task, version = "", ""
		}
	}
	for _, suite := range slices.Sorted(maps.Keys(averages)) {
		rows = append(rows, evalRow{Task: "average of " + suite, Value: fmt.Sprintf("%.2f", 100*averages[suite])})
	}
	return rows
}

func byTask(results []eval.Result) []eval.Result {
	return slices.SortedFunc(slices.Values(results), func(a, b eval.Result) int { return strings.Compare(a.Task, b.Task) })
}

// evalFigure is a part in percent; perplexities and bits are as they are.
func evalFigure(metric string, value float64) string {
	if strings.Contains(metric, "perplexity") || metric == "bits_per_byte" {
		return fmt.Sprintf("%.4f", value)
	}
	return fmt.Sprintf("%.2f", 100*value)
}

// scoreTable has the scores of a model.
func scoreTable(w io.Writer, results []eval.Result, averages map[string]float64) table.Writer {
	t := display.NewTable(w, []string{"Task", "Version", "Metric", "Value", "", "Stderr"}, "Value", "Stderr")
	for _, r := range evalRows(results, averages) {
		t.AppendRow(table.Row{r.Task, r.Version, r.Metric, r.Value, r.PlusMinus, r.Stderr})
	}
	return t
}

// scoreMarkdown writes the scores of a model as cards have them.
func scoreMarkdown(b *strings.Builder, results []eval.Result, averages map[string]float64) {
	b.WriteString("|Task|Version|Metric|Value|   |Stderr|\n|---|---|---|---:|---|---:|\n")
	for _, r := range evalRows(results, averages) {
		fmt.Fprintf(b, "|%s|%s|%s|%s|%s|%s|\n", r.Task, r.Version, r.Metric, r.Value, r.PlusMinus, r.Stderr)
	}
}

// EvalDifference is how a candidate's score on a task differs from the model's, in words and figures.
type EvalDifference struct {
	eval.Paired
	Candidate string
}

// Points is the difference in points of percent, with its interval.
func (d EvalDifference) Points() string {
	return fmt.Sprintf("%+.2f (%+.2f to %+.2f)", 100*d.Delta, 100*d.CI95[0], 100*d.CI95[1])
}

// Verdict says what the documents tell of the difference, and what they could have told.
func (d EvalDifference) Verdict() string {
	switch {
	case d.DeltaStderr == nil:
		return "one document says nothing"
	case *d.DeltaStderr == 0 && d.Delta == 0:
		// So many of all would differ in one of them, 19 times of 20.
		return fmt.Sprintf("no difference found in any of %d documents (it may be in up to %.1f %% of all)", d.N, 100*(1-math.Pow(0.05, 1/float64(d.N))))
	case d.CI95[1] < 0:
		return "worse"
	case d.CI95[0] > 0:
		return "better"
	}
	return fmt.Sprintf("no difference found (n = %d, could have seen %.1f points or more)", d.N, 100*2.8**d.DeltaStderr)
}

// McNemarText is the probability of McNemar's test, "" where there is none.
func (d EvalDifference) McNemarText() string {
	if d.McNemar == nil {
		return ""
	}
	return fmt.Sprintf("%.3g", *d.McNemar)
}

// Changed is the part of answers that are others.
func (d EvalDifference) Changed() string {
	return fmt.Sprintf("%.1f %%", 100**d.ChangedAnswers)
}

// Differences lists those of all candidates in the figures that stand for tasks, and over all of them.
func (e *Eval) Differences() []EvalDifference {
	var all []EvalDifference
	for _, c := range e.Candidates {
		for _, p := range c.Paired {
			all = append(all, EvalDifference{p, c.Name})
		}
	}
	return all
}

func (e *Eval) differenceTable(w io.Writer) table.Writer {
	t := display.NewTable(w, []string{"candidate", "task", "metric", "difference, points", "p", "other answers", "verdict"}, "difference, points", "p", "other answers").
		Spare("p", "metric")
	last := ""
	for _, d := range e.Differences() {
		name := d.Candidate
		if name == last {
			name = ""
		}
		last = d.Candidate
		t.AppendRow(table.Row{name, d.Task, d.Metric, d.Points(), d.McNemarText(), d.Changed(), d.Verdict()})
	}
	return t
}

// Warning says why the scores are not those of cards, "" if they are.
func (e *Eval) Warning() string {
	if e.Partial() {
		return "Of some of the documents only: not comparable with scores of all."
	}
	return ""
}

// Method says how scores were made.
func (e *Eval) Method() []string {
	bos := "without a BOS token"
	if e.BOS {
		bos = "with a BOS token"
	}
	lines := []string{
		fmt.Sprintf("Documents, examples, prompts and figures are those of profile %s: %s. Texts are %s, of at most %d tokens; compute is %s.",
			e.Profile, e.Harness, bos, e.MaxLength, e.Compute),
		"Standard errors are over documents, as the harness has them.",
	}
	if e.Chat != "" {
		lines = append(lines, "Prompts are conversations ("+e.Chat+"), by the model's template.")
	}
	if len(e.Candidates) > 0 {
		lines = append(lines,
			"Differences are on the same documents, candidate less model; in parentheses the 95 % interval, of 10,000 draws of the documents. "+
				"p is McNemar's test, exact and two-sided, of single figures: among many, some are small by chance.",
			"Other answers are those that differ at all, right or wrong. They move long before scores do.")
	}
	if warning := e.Warning(); warning != "" {
		lines = append(lines, warning)
	}
	return lines
}

// Print shows the scores, and how candidates differ.
func (e *Eval) Print(w io.Writer) {
	scoreTable(w, e.Results, e.Averages).Render()
	for _, g := range e.Groups {
		stderr := ""
		if g.Stderr != nil {
			stderr = " ± " + evalFigure(g.Metric, *g.Stderr)
		}
		fmt.Fprintf(w, "%s: %s %s%s\n", g.Name, g.Metric, evalFigure(g.Metric, g.Value), stderr)
	}
	if len(e.Candidates) > 0 {
		fmt.Fprintln(w)
		e.differenceTable(w).Render()
	}
	if warning := e.Warning(); warning != "" {
		fmt.Fprintln(w, warning)
	}
}

// Markdown returns the tables of a model card.
func (e *Eval) Markdown() string {
	var b strings.Builder
	scoreMarkdown(&b, e.Results, e.Averages)
	for _, c := range e.Candidates {
		fmt.Fprintf(&b, "\n### %s\n\n", display.Printable(c.Name))
		scoreMarkdown(&b, c.Results, c.Averages)
	}
	if len(e.Candidates) > 0 {
		b.WriteString("\n### Differences\n\n")
		e.differenceTable(&b).RenderMarkdown()
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, line := range e.Method() {
		fmt.Fprintf(&b, "* %s\n", line)
	}
	return b.String()
}
