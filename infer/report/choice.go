package report

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Choice is which candidate to use, and what that rests on.
type Choice struct {
	Model    string   `json:"model"`
	FitBytes *int64   `json:"fit_bytes"` // null without a limit
	MaxKLD   *float64 `json:"max_kld"`   // null without a limit
	// EveryText says that MaxKLD is asked for on each text.
	EveryText bool `json:"every_text"`
	Room

	Chosen Considered `json:"chosen"`
	// Confidence is how likely the choice is right, as choose.Choice has it; null if
	// the windows cannot tell.
	Confidence *float64       `json:"confidence"`
	RunnerUp   *RunnerUp      `json:"runner_up"` // null if there is none
	Summary    []string       `json:"summary"`
	Considered []Considered   `json:"considered"`
	Recipe     []RecipeTensor `json:"recipe"`
	Mix        *Mix           `json:"mix,omitempty"` // if one was tried

	// These are Drift's.
	Base       Base        `json:"base"`
	Texts      []Text      `json:"texts"`
	Window     int         `json:"window"`
	Compute    string      `json:"compute"`
	Imatrix    string      `json:"imatrix,omitempty"`
	Floor      Floor       `json:"floor"`
	Provenance *Provenance `json:"provenance"`

	// Terms says what the memory is made of, a sentence each.
	Terms []string `json:"-"`
	// Drift has what was measured, the candidates as Considered has them.
	Drift *Drift `json:"-"`

	tensors []gguf.TensorInfo // of Recipe
}

// RunnerUp is choose.Choice.RunnerUp.
type RunnerUp struct {
	Name string `json:"name"`
	// Its mean divergence less that of the chosen, as Measures has figures.
	Difference      float64  `json:"kld_difference"`
	DifferenceError *float64 `json:"kld_difference_error"`
	DifferenceLow   *float64 `json:"kld_difference_low"`
	DifferenceHigh  *float64 `json:"kld_difference_high"`
}

// Considered has the figures of a candidate where they were measured.
type Considered struct {
	*Candidate
	Name        string  `json:"name"`
	Bytes       int64   `json:"bytes"`
	BPW         float64 `json:"bpw"`
	NeededBytes int64   `json:"needed_bytes"` // with the longest context
	// Contexts has what it takes with each context.
	Contexts []ContextNeeds `json:"contexts"`
	Chosen   bool           `json:"chosen"`
	Reason   string         `json:"reason"`
}

// Measured reports whether there are figures.
func (c Considered) Measured() bool { return c.Candidate != nil }

// RecipeTensor is the type that a tensor is to have.
type RecipeTensor struct {
	Tensor string `json:"tensor"`
	Type   string `json:"type"`
}

// NewChoice reports on a choice between candidates, and on the mix that was tried, if it is not nil.
// If nothing was chosen, only the reasons are there.
func NewChoice(measured *Drift, choice *choose.Choice, fit Fit, mix *Mix) *Choice {
	drift := *measured
	drift.Candidates = nil
	c := &Choice{
		Model: drift.Model, Room: fit.room(choice), Confidence: known(choice.Confidence), Mix: mix,
		Base: drift.Base, Texts: drift.Texts, Window: drift.Ctx, Compute: drift.Compute, Imatrix: drift.Imatrix, Floor: drift.Floor,
		Provenance: drift.Provenance,
		Drift:      &drift,
	}
	if choice.Fit > 0 {
		c.FitBytes = &choice.Fit
	}
	if choice.MaxKLD > 0 {
		c.MaxKLD, c.EveryText = &choice.MaxKLD, choice.EveryText
	}
	for i, considered := range choice.Considered {
		candidate := Considered{
			Name: considered.Name, Bytes: considered.Bytes, BPW: gguf.BitsPerWeight(considered.Source),
			NeededBytes: considered.Needs, Contexts: fit.needs(considered, choice.Fit), Chosen: i == choice.Chosen, Reason: considered.Reason,
		}
		if at := slices.IndexFunc(measured.Candidates, func(m Candidate) bool { return m.Name == considered.Name }); at >= 0 {
			drift.Candidates = append(drift.Candidates, measured.Candidates[at])
			candidate.Candidate = &measured.Candidates[at]
		}
		c.Considered = append(c.Considered, candidate)
	}
	if choice.Chosen < 0 {
		return c
	}
	c.Chosen = c.Considered[choice.Chosen]
	c.Summary = choice.Summary()
	c.Terms = append(drift.Base.caution(), fit.terms(choice, drift.Base)...)
	if mix != nil {
		c.Terms = append(c.Terms, mix.sentence())
	}
	if choice.RunnerUp >= 0 {
		c.RunnerUp = &RunnerUp{Name: choice.Considered[choice.RunnerUp].Name}
		difference := choice.Difference.Estimate(math.Inf(-1), math.Inf(1))
		c.RunnerUp.Difference, c.RunnerUp.DifferenceError, c.RunnerUp.DifferenceLow, c.RunnerUp.DifferenceHigh = parts(difference)
	}
	for _, t := range choice.Considered[choice.Chosen].Source.Tensors() {
		if recipe.Quantizable(t) {
			c.tensors = append(c.tensors, t)
			c.Recipe = append(c.Recipe, RecipeTensor{t.Name, t.Type.String()})
		}
	}
	return c
}

// PrintTable shows what became of each candidate.
func (c *Choice) PrintTable(w io.Writer) { c.table(w).Render() }

// table has a row for every candidate.
func (c *Choice) table(w io.Writer) table.Writer {
	fit := c.FitColumns()
	columns := slices.Concat([]string{"candidate", "size", "bits per weight"}, fit, []string{"mean KL divergence"})
	spare := append([]string{"bits per weight"}, fit[:max(0, len(fit)-1)]...) // the most memory is what counts
	t := display.NewTable(w, append(columns, "verdict"), columns[1:]...).Spare(spare...)
	for _, considered := range c.Considered {
		row := table.Row{considered.Name, display.Bytes(considered.Bytes), fmt.Sprintf("%.2f", considered.BPW)}
		for _, cell := range c.fitCells(considered) {
			row = append(row, cell)
		}
		kld := ""
		if considered.Measured() {
			kld = withInterval("%.5f", considered.KLD, considered.KLDLow, considered.KLDHigh)
		}
		t.AppendRow(append(row, kld, considered.Reason))
	}
	return t
}

// TypeFile returns the types of the tensors of the chosen one, as quantize takes them with
// --recipe-file and --tensor-type-file.
func (c *Choice) TypeFile() (string, error) {
	fileType, err := recipe.ParseFileType(c.Chosen.Name)
	switch {
	case c.Mix != nil && c.Mix.Offered:
		fileType, err = recipe.ParseFileType(c.Mix.FileType)
	case err == nil && !fileType.TakesOverrides():
		fileType = recipe.Copy
	}
	if err != nil {
		return "", err
	}
	file := recipe.File{Name: c.Chosen.Name, Type: fileType.Of()}
	for _, t := range c.tensors {
		override, err := recipe.OverrideOf(t)
		if err != nil {
			return "", err
		}
		file.Overrides = append(file.Overrides, override)
	}
	return file.String(), nil
}
