package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// chooseTypes are considered where no types are named: those of them that need an
// importance matrix only with one.
const chooseTypes = "Q8_0,Q6_K,Q5_K_M,Q5_K_S,Q4_K_M,Q4_K_S,IQ4_XS,Q3_K_L,Q3_K_M,IQ3_M,Q3_K_S,IQ3_XXS,Q2_K,IQ2_M,IQ2_XS"

func chooseCommand() *cli.Command {
	var texts []string
	return &cli.Command{
		Name:      "choose",
		Usage:     "which type to quantize a model to",
		ArgsUsage: "MODEL",
		Description: "With --fit: the type that is closest to the original and fits into memory, with a cache for --ctx\n" +
			"tokens. With --max-kld: the smallest that is close enough to the original; with both, one that\n" +
			"fits too. What can be the answer is measured as by drift; nothing is written but what is asked for.",
		Flags: append(fitFlags(),
			textFlag("measure on the text", &texts),
			&cli.Float64Flag{Name: "max-kld", Usage: "mean KL divergence from the original, `X` nats, that is close enough: the upper end of its 95 % interval"},
			&cli.BoolFlag{Name: "every-text", Usage: "ask for --max-kld on each text, not only on all together"},
			&cli.StringFlag{Name: "types", Usage: "choose between file types `A,B,C`; default: " + chooseTypes},
			imatrixFlag(), requantizeFlag(),
			&cli.BoolFlag{Name: "mix", Usage: "try a mix of the types, measured tensor by tensor: takes as long as hundreds of runs of a few windows"},
			chunksFlag("run at most `N` windows of 512 tokens of each text"),
			&cli.StringFlag{Name: "recipe", Usage: "write the type of each tensor to `FILE`, for --tensor-type-file"},
			&cli.StringFlag{Name: "html", Usage: "write a page with charts to `FILE`"},
			&cli.StringFlag{Name: "markdown", Usage: "write tables for a model card to `FILE`"},
			computeFlag(), memoryFlag(),
		),
		Action: func(c *cli.Context) error { return chooseType(c, texts) },
	}
}

// choiceReport is the choice and what it rests on.
type choiceReport struct {
	Model    string   `json:"model"`
	FitBytes *int64   `json:"fit_bytes"` // null without --fit
	MaxKLD   *float64 `json:"max_kld"`   // null without --max-kld
	// EveryText says that MaxKLD is asked for on each text.
	EveryText bool `json:"every_text"`
	fitReport

	Chosen consideredReport `json:"chosen"`
	// Confidence is how likely the choice is right, as choose.Choice has it; null if
	// the windows cannot tell.
	Confidence *float64             `json:"confidence"`
	RunnerUp   *choiceRunnerUp      `json:"runner_up"` // null if there is none
	Summary    []string             `json:"summary"`
	Considered []consideredReport   `json:"considered"`
	Recipe     []choiceRecipeTensor `json:"recipe"`
	Mix        *mixReport           `json:"mix,omitempty"` // with --mix

	Base       driftBase   `json:"base"`
	Texts      []driftText `json:"texts"`
	Window     int         `json:"window"`
	Compute    string      `json:"compute"`
	Imatrix    string      `json:"imatrix,omitempty"`
	Floor      driftFloor  `json:"floor"`
	Provenance *provenance `json:"provenance"`
	// Terms says what the memory is made of, a sentence each.
	Terms []string `json:"-"`

	tensors []gguf.TensorInfo // of Recipe
}

// choiceRunnerUp is choose.Choice.RunnerUp.
type choiceRunnerUp struct {
	Name string `json:"name"`
	// Its mean divergence less that of the chosen, as driftMeasures has figures.
	Difference      float64  `json:"kld_difference"`
	DifferenceError *float64 `json:"kld_difference_error"`
	DifferenceLow   *float64 `json:"kld_difference_low"`
	DifferenceHigh  *float64 `json:"kld_difference_high"`
}

// consideredReport has the figures of drift where they were measured.
type consideredReport struct {
	*driftCandidate
	Name        string  `json:"name"`
	Bytes       int64   `json:"bytes"`
	BPW         float64 `json:"bpw"`
	NeededBytes int64   `json:"needed_bytes"` // with the longest context
	// Contexts has what it takes with each context.
	Contexts []consideredContext `json:"contexts"`
	Chosen   bool                `json:"chosen"`
	Reason   string              `json:"reason"`
}

// Measured reports whether there are figures.
func (c consideredReport) Measured() bool { return c.driftCandidate != nil }

type choiceRecipeTensor struct {
	Tensor string `json:"tensor"`
	Type   string `json:"type"`
}

func chooseType(c *cli.Context, files []string) (err error) {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	limits, err := chooseLimits(c)
	if err != nil {
		return err
	}
	fit, err := parseFit(c)
	if err != nil {
		return err
	}
	in, err := openDrift(c, args[0], nil, files, perplexity.DefaultCtx, "html", "markdown", "recipe")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	types, err := chooseFileTypes(c, in)
	if err != nil {
		return about(in.base, err)
	}
	views, err := in.views(c, types)
	if err != nil {
		return about(in.base, err)
	}
	report := driftReport{Model: args[0], Ctx: perplexity.DefaultCtx, Compute: in.compute.String(), Imatrix: c.String("imatrix")}
	run, err := newDriftRun(c, &report, in)
	if err != nil {
		return err
	}
	var aside []drift.Text
	if c.Bool("mix") {
		if aside, err = run.setAside(c); err != nil {
			return err
		}
	}
	candidates, err := run.candidates(views, &fit)
	if err != nil {
		return err
	}
	made, err := choose.Run(limits, fit.longest().memory, candidates, func(models []drift.Candidate) ([]drift.Result, error) { return run.measure(c, models) })
	if err != nil && !errors.Is(err, choose.ErrNone) {
		return err
	}
	var tried *mixReport
	if err == nil && c.Bool("mix") {
		if tried, err = run.tryMix(c, made, in.importance, aside); err != nil {
			return err
		}
	}
	choice := report.newChoice(made, fit)
	if tried != nil {
		choice.Mix, choice.Terms = tried, append(choice.Terms, tried.sentence())
	}
	if errors.Is(err, choose.ErrNone) && !c.Bool("json") {
		choice.table(c.App.Writer).Render()
	}
	if err != nil {
		return err
	}
	if report.Provenance, err = in.made.wait(); err != nil {
		return err
	}
	choice.Provenance = report.Provenance
	report.choice = choice
	if err := printResults(c, choice, report.print, c.String("html"), c.String("markdown"), c.String("recipe")); err != nil {
		return err
	}
	if path := c.String("recipe"); path != "" {
		if err := choice.writeRecipe(c, path); err != nil {
			return err
		}
	}
	return report.write(c)
}

func chooseLimits(c *cli.Context) (limits choose.Limits, err error) {
	if limits.Fit, err = size(c, "fit"); err != nil {
		return limits, err
	}
	limits.MaxKLD = c.Float64("max-kld")
	switch {
	case c.IsSet("max-kld") && !(limits.MaxKLD > 0):
		return limits, usagef(c, "--max-kld is %v, not above 0", limits.MaxKLD)
	case limits == choose.Limits{}:
		return limits, usagef(c, "a limit is needed: --fit SIZE, --max-kld X, or both")
	case limits.MaxKLD > 0 && c.Int("chunks") == 1:
		return limits, usagef(c, "--max-kld needs two windows of each text at least: one does not say how much windows differ")
	}
	if limits.EveryText = c.Bool("every-text"); limits.EveryText && limits.MaxKLD == 0 {
		return limits, usagef(c, "--every-text says where --max-kld has to hold")
	}
	return limits, nil
}

// chooseFileTypes returns the types to choose between.
func chooseFileTypes(c *cli.Context, in *driftInput) ([]recipe.FileType, error) {
	list := cmp.Or(c.String("types"), chooseTypes)
	types, err := parseFileTypes(c, list)
	if err != nil || c.String("types") != "" {
		return slices.Compact(types), err
	}
	var possible []recipe.FileType
	for _, fileType := range types {
		_, err := newView(c, in.base, fileType, quant.ViewOptions{Importance: in.importance})
		if errors.Is(err, recipe.ErrNeedsImatrix) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fileType, err)
		}
		possible = append(possible, fileType)
	}
	return possible, nil
}

// candidates returns the views with their sizes, and finds out what it takes to run them.
func (r *driftRun) candidates(views []drift.Candidate, fit *fitting) ([]choose.Candidate, error) {
	model, err := engineOf(r.base, r.options.Engine)
	if err != nil {
		return nil, err
	}
	if err := fit.measure(model.Shape()); err != nil {
		return nil, err
	}
	var candidates []choose.Candidate
	for _, view := range views {
		_, size, err := gguf.Layout(view.Source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", view.Name, err)
		}
		candidates = append(candidates, choose.Candidate{Candidate: view, Bytes: size})
	}
	return candidates, nil
}

// newChoice reports on a choice, and sorts what was measured from large to small. If
// nothing was chosen, only the reasons are there.
func (r *driftReport) newChoice(choice *choose.Choice, fit fitting) *choiceReport {
	report := &choiceReport{
		Model: r.Model, fitReport: fit.report(choice),
		Confidence: known(choice.Confidence),
		Base:       r.Base, Texts: r.Texts, Window: r.Ctx, Compute: r.Compute, Imatrix: r.Imatrix, Floor: r.Floor,
	}
	if choice.Fit > 0 {
		report.FitBytes = &choice.Fit
	}
	if choice.MaxKLD > 0 {
		report.MaxKLD, report.EveryText = &choice.MaxKLD, choice.EveryText
	}
	measured := r.Candidates
	r.Candidates = nil
	for i, considered := range choice.Considered {
		candidate := consideredReport{
			Name: considered.Name, Bytes: considered.Bytes, BPW: bitsPerWeight(considered.Source),
			NeededBytes: considered.Needs, Contexts: fit.needs(considered, choice.Fit), Chosen: i == choice.Chosen, Reason: considered.Reason,
		}
		if at := slices.IndexFunc(measured, func(m driftCandidate) bool { return m.Name == considered.Name }); at >= 0 {
			r.Candidates = append(r.Candidates, measured[at])
			candidate.driftCandidate = &measured[at]
		}
		report.Considered = append(report.Considered, candidate)
	}
	if choice.Chosen < 0 {
		return report
	}
	report.Chosen = report.Considered[choice.Chosen]
	report.Summary = choice.Summary()
	report.Terms = fit.terms(choice, r.Base)
	if choice.RunnerUp >= 0 {
		report.RunnerUp = &choiceRunnerUp{Name: choice.Considered[choice.RunnerUp].Name}
		report.RunnerUp.Difference, report.RunnerUp.DifferenceError, report.RunnerUp.DifferenceLow, report.RunnerUp.DifferenceHigh = parts(choice.Difference.Estimate(math.Inf(-1), math.Inf(1)))
	}
	for _, t := range choice.Considered[choice.Chosen].Source.Tensors() {
		if recipe.Quantizable(t) {
			report.tensors = append(report.tensors, t)
			report.Recipe = append(report.Recipe, choiceRecipeTensor{t.Name, t.Type.String()})
		}
	}
	return report
}

// table has a row for every candidate.
func (r *choiceReport) table(w io.Writer) table.Writer {
	fit := r.FitColumns()
	columns := slices.Concat([]string{"candidate", "size", "bits per weight"}, fit, []string{"mean KL divergence"})
	spare := append([]string{"bits per weight"}, fit[:max(0, len(fit)-1)]...) // the most memory is what counts
	t := newTable(w, append(columns, "verdict"), columns[1:]...).spare(spare...)
	for _, c := range r.Considered {
		row := table.Row{c.Name, bytesText(c.Bytes), fmt.Sprintf("%.2f", c.BPW)}
		for _, cell := range r.fitCells(c) {
			row = append(row, cell)
		}
		kld := ""
		if c.Measured() {
			kld = withInterval("%.5f", c.KLD, c.KLDLow, c.KLDHigh)
		}
		t.AppendRow(append(row, kld, c.Reason))
	}
	return t
}

// writeRecipe writes the types of the chosen one for --tensor-type-file.
func (r *choiceReport) writeRecipe(c *cli.Context, path string) error {
	var lines strings.Builder
	for _, t := range r.tensors {
		override, err := recipe.OverrideOf(t)
		if err != nil {
			return err
		}
		fmt.Fprintln(&lines, override)
	}
	return saveReport(c, path, lines.String())
}
