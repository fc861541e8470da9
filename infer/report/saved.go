package report

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
)

// SavedDrift is how far candidates are from what a model predicted once: Drift as far as that tells.
type SavedDrift struct {
	Logits     string      `json:"logits"` // the file
	Base       SavedBase   `json:"base"`
	Texts      []Text      `json:"texts"`
	Ctx        int         `json:"ctx"`
	Compute    string      `json:"compute"`
	Imatrix    string      `json:"imatrix,omitempty"`
	Candidates []Candidate `json:"candidates"`
}

// SavedBase is the perplexity of the model whose predictions were saved.
type SavedBase struct {
	PPL      float64  `json:"ppl"`
	PPLError *float64 `json:"ppl_error"`
	PPLLow   *float64 `json:"ppl_low"`
	PPLHigh  *float64 `json:"ppl_high"`
}

// Add adds models and what was measured of them, of a file with this SHA-256.
func (r *SavedDrift) Add(models []drift.Candidate, measured *drift.SavedReport, sha256 string) error {
	r.Base.PPL, r.Base.PPLError, r.Base.PPLLow, r.Base.PPLHigh = parts(measured.Base.PPL)
	chunks := len(measured.Candidates[0].KLD[0])
	r.Texts = []Text{{File: r.Logits, SHA256: sha256, Chunks: chunks, ScoredTokens: measured.Base.Tokens}}
	for i, result := range measured.Candidates {
		storage, err := newStorage(models[i].Source)
		if err != nil {
			return fmt.Errorf("%s: %w", result.Name, err)
		}
		measures := newMeasures(result.Overall)
		seconds := result.Elapsed.Seconds()
		r.Candidates = append(r.Candidates, Candidate{
			Name: result.Name, Storage: storage, Measures: measures, AboveFloor: true,
			Seconds: seconds, TokensPerSecond: float64(chunks*r.Ctx) / seconds,
			ByText: []TextResult{{File: r.Logits, Measures: measures, KLDWindows: result.KLD[0]}},
		})
	}
	return nil
}

// Print shows the figures.
func (r *SavedDrift) Print(w io.Writer) {
	columns := []string{"model", "size", "bits per weight", "perplexity", "ratio to the saved", "mean KL divergence", "99 %", "largest", "same top token", "RMS Δp"}
	t := display.NewTable(w, columns, columns[1:]...).Spare("RMS Δp", "99 %", "largest", "same top token", "bits per weight", "ratio to the saved", "perplexity")
	t.AppendRow(table.Row{"the saved", "", "", withInterval("%.4f", r.Base.PPL, r.Base.PPLLow, r.Base.PPLHigh)})
	for _, c := range r.Candidates {
		t.AppendRow(table.Row{
			c.Name, display.Bytes(c.Bytes), fmt.Sprintf("%.2f", c.BPW), fmt.Sprintf("%.4f", c.PPL),
			withInterval("%.4f", c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh), withInterval("%.5f", c.KLD, c.KLDLow, c.KLDHigh),
			fmt.Sprintf("%.4f", c.KLDP99), fmt.Sprintf("%.4f", c.KLDMax), percentWithInterval(c.SameTop, c.SameTopLow, c.SameTopHigh),
			fmt.Sprintf("%.2f %%", 100*c.RMSDeltaP),
		})
	}
	t.Render()
	fmt.Fprintln(w)
	display.Line(w, fmt.Sprintf("Compared with what %s has, in 16 bits: %d windows of %d tokens, %d scored, %s compute.", display.Printable(r.Logits), r.Texts[0].Chunks, r.Ctx,
		r.Texts[0].ScoredTokens, r.Compute))
}
