package report

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// Perplexity is how well a model predicts texts.
type Perplexity struct {
	Model string `json:"model"`
	// These are Storage's.
	Type         string   `json:"type"`
	Format       string   `json:"format"`
	Layout       string   `json:"layout,omitempty"`
	FileBytes    int64    `json:"file_bytes"`
	QuantizedBPW *float64 `json:"packed_bpw"`
	Ctx          int      `json:"ctx"`
	Chunks       int      `json:"chunks"`
	ScoredTokens int      `json:"scored_tokens"`
	PerplexityFigures
	Compute         string  `json:"compute"`
	Seconds         float64 `json:"seconds"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	// ReadBytes is what was read of the weights, all readings together.
	ReadBytes int64 `json:"read_bytes"`
	// Readings is how often that is all weights.
	Readings float64          `json:"readings"`
	ByText   []PerplexityText `json:"by_text"`
}

// PerplexityText is how well it predicts one of them.
type PerplexityText struct {
	File         string `json:"file"`
	SHA256       string `json:"sha256"`
	Chunks       int    `json:"chunks"`
	ScoredTokens int    `json:"scored_tokens"`
	*Conversations
	PerplexityFigures
}

// PerplexityFigures are those of perplexity.Result.
type PerplexityFigures struct {
	PPL float64 `json:"ppl"`
	// PPLError is llama-perplexity's standard error.
	PPLError float64 `json:"ppl_error"`
	// The ends of the 95 % interval made of the windows, null if there is one of a text.
	PPLLow  *float64 `json:"ppl_low"`
	PPLHigh *float64 `json:"ppl_high"`
	NLL     float64  `json:"nll"`
}

func newPerplexityFigures(r perplexity.Result) PerplexityFigures {
	return PerplexityFigures{r.PPL, r.PPLError, known(r.Low), known(r.High), r.NLL}
}

// NewPerplexity reports on what was measured of a model on texts: on all together, and on each. It computed
// in some way, took so long, and read so many bytes of weights.
func NewPerplexity(path string, model gguf.Source, together perplexity.Result, texts []PerplexityText, compute infer.Compute, took time.Duration,
	read int64) (Perplexity, error) {
	stored, err := newStorage(model)
	weights := gguf.BitsPerWeight(model) / 8 * float64(gguf.Elements(model))
	return Perplexity{
		Model: path, Type: stored.Type, Format: stored.Format, Layout: stored.Layout, FileBytes: stored.Bytes, QuantizedBPW: stored.QuantizedBPW,
		Ctx: together.Ctx, Chunks: together.Chunks, ScoredTokens: together.ScoredTokens,
		PerplexityFigures: newPerplexityFigures(together),
		Compute:           compute.String(), Seconds: took.Seconds(), TokensPerSecond: float64(together.Tokens) / took.Seconds(),
		ReadBytes: read, Readings: float64(read) / weights, ByText: texts,
	}, err
}

// NewPerplexityText reports on a text, and on conversations, if it is made of them.
func NewPerplexityText(file, sha256 string, conversations *Conversations, r perplexity.Result) PerplexityText {
	return PerplexityText{file, sha256, r.Chunks, r.ScoredTokens, conversations, newPerplexityFigures(r)}
}

// Print shows the report on a terminal.
func (r Perplexity) Print(w io.Writer) {
	if len(r.ByText) > 1 {
		r.textTable(w).Render()
	}
	reading := ""
	if r.Readings > 2 { // in several batches
		reading = fmt.Sprintf(", weights read %.1f times at %s", r.Readings, display.ByteRate(float64(r.ReadBytes)/r.Seconds))
	}
	fmt.Fprintf(w, "PPL = %.4f +/- %.5f (%s, %s, %d scored, %s compute, %.0f tokens/s%s)\n",
		r.PPL, r.PPLError, Storage{Type: r.Type, Format: r.Format, Layout: r.Layout}.What(), r.windows(), r.ScoredTokens, r.Compute,
		r.TokensPerSecond, reading)
	if r.PPLLow == nil {
		fmt.Fprintln(w, "One window of a text does not say how much windows differ: there is no interval.")
	} else {
		fmt.Fprintf(w, "95 %% interval for text like this, made of the windows: %.4f to %.4f. +/- is llama-perplexity's error, for which tokens are "+
			"independent.\n", *r.PPLLow, *r.PPLHigh)
	}
}

// windows says what was run.
func (r Perplexity) windows() string {
	conversations := 0
	for _, text := range r.ByText {
		if text.Conversations != nil {
			conversations += text.Chunks
		}
	}
	chunks := fmt.Sprintf("%d chunks of %d tokens", r.Chunks-conversations, r.Ctx)
	switch conversations {
	case 0:
		return chunks
	case r.Chunks:
		return fmt.Sprintf("%d conversations", conversations)
	}
	return fmt.Sprintf("%s and %d conversations", chunks, conversations)
}

// textTable has a row for each text.
func (r Perplexity) textTable(w io.Writer) table.Writer {
	columns := []string{"text", "chunks", "scored", "perplexity"}
	t := display.NewTable(w, columns, columns[1:]...)
	for _, text := range r.ByText {
		t.AppendRow(table.Row{display.Stem(text.File), text.Chunks, text.ScoredTokens, withInterval("%.4f", text.PPL, text.PPLLow, text.PPLHigh)})
	}
	return t
}
