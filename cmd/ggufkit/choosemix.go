package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/allocate"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// mixWindows is how many windows of all texts together a mix is chosen by, at least two
// of each and not more than half.
const mixWindows = 9

// mixReport is what a mix was chosen by, and what it was expected to lose.
type mixReport struct {
	Name string `json:"name"`
	// FileType is what to quantize to, with the recipe.
	FileType  string  `json:"file_type"`
	Windows   int     `json:"windows"`
	Predicted float64 `json:"kld_predicted"`
	// How much closer to the original it is than the best of the types, on the other
	// windows.
	Better      float64  `json:"kld_better"`
	BetterError *float64 `json:"kld_better_error"`
	BetterLow   *float64 `json:"kld_better_low"`
	BetterHigh  *float64 `json:"kld_better_high"`
	Offered     bool     `json:"offered"`
	verdict     string   // if it is not
}

// setAside takes windows to choose a mix by out of the texts. They are not measured on.
func (r *driftRun) setAside(c *cli.Context) ([]drift.Text, error) {
	var aside []drift.Text
	r.tokens = 0
	for i := range r.texts {
		text := &r.texts[i]
		windows := len(text.Tokens) / r.report.Ctx
		if n := c.Int("chunks"); n > 0 {
			windows = min(windows, n)
		}
		if windows < 4 {
			return nil, fmt.Errorf("%s: --mix needs four windows of %d tokens of each text, two to choose by and two to measure on", r.report.Texts[i].File, r.report.Ctx)
		}
		text.Tokens = text.Tokens[:windows*r.report.Ctx]
		chosen, rest := allocate.Split(*text, r.report.Ctx, min(max(2, mixWindows/len(r.texts)), windows/2))
		aside = append(aside, chosen)
		*text = rest
		r.tokens += len(rest.Tokens)
	}
	return aside, nil
}

// tryMix finds the best mix of the considered types that takes no more than there is
// room for, measures it, and offers it to the choice.
func (r *driftRun) tryMix(c *cli.Context, choice *choose.Choice, importance *imatrix.Matrix, texts []drift.Text) (*mixReport, error) {
	var types []gguf.Type
	for _, considered := range choice.Considered {
		for _, t := range considered.Source.Tensors() {
			if recipe.Quantizable(t) && !slices.Contains(types, t.Type) {
				types = append(types, t.Type)
			}
		}
	}
	best := choice.Considered[choice.Chosen]
	budget := best.Bytes
	if choice.MaxKLD == 0 {
		budget = choice.Fit - choice.Memory.Bytes()
	}
	report := &mixReport{Name: "mix"}
	for _, text := range texts {
		report.Windows += len(text.Tokens) / r.report.Ctx
	}
	fileType, err := recipe.ParseFileType(best.Name)
	if err != nil {
		return nil, err
	}
	if base, err := fileType.Base(); err != nil || !base.Quantized() {
		fileType = recipe.Q8_0 // recipes apply to quantized types only
	}
	s, err := r.sensitivity(c, importance, texts, types)
	if err != nil {
		return nil, err
	}
	made, err := s.Fit(budget, fileType)
	if err != nil {
		return nil, err
	}
	report.FileType, report.Predicted = fileType.String(), made.Predicted
	candidate := choose.Candidate{Candidate: drift.Candidate{Name: report.Name, Source: made.View}, Bytes: made.Bytes}
	results, err := r.measure(c, []drift.Candidate{candidate.Candidate})
	if err != nil {
		return nil, err
	}
	better, err := drift.Difference(*best.Result, results[0])
	if err != nil {
		return nil, err
	}
	report.Better, report.BetterError, report.BetterLow, report.BetterHigh = parts(better.Estimate(math.Inf(-1), math.Inf(1)))
	if err := choice.Offer(candidate, &results[0]); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(choice.Considered, func(considered choose.Considered) bool { return considered.Name == report.Name })
	report.Offered, report.verdict = choice.Chosen == at, choice.Considered[at].Reason
	return report, nil
}

// sensitivity measures what the types cost.
func (r *driftRun) sensitivity(c *cli.Context, importance *imatrix.Matrix, texts []drift.Text, types []gguf.Type) (*allocate.Sensitivity, error) {
	progress := newProgress(c, "measuring what each type costs", func(perSecond float64) string { return fmt.Sprintf("%.1f steps/s", perSecond) })
	defer progress.stop()
	engine := r.options.Engine
	engine.Progress = func(done, total int) { progress.update(int64(done), int64(total)) }
	return allocate.Measure(c.Context, r.base, importance, texts, allocate.Options{
		Options: perplexity.Options{Ctx: r.report.Ctx},
		Types:   types,
		Engine:  engine,
	})
}

// sentence says how the mix was found and what to do with it.
func (m *mixReport) sentence() string {
	found := fmt.Sprintf("The mix was chosen by %d windows that nothing was measured on", m.Windows)
	if !m.Offered {
		return fmt.Sprintf("%s. It is not offered: %s.", found, strings.TrimPrefix(m.verdict, "not offered: "))
	}
	return fmt.Sprintf("%s. --recipe writes it for --tensor-type-file; the type to quantize to with it is %s.", found, m.FileType)
}
