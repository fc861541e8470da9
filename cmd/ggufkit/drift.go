package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// driftTypes are measured where neither types nor candidates are named.
const driftTypes = "Q8_0,Q6_K,Q5_K_M,Q4_K_M,IQ4_XS,Q3_K_M,Q2_K"

func driftCommand() *cli.Command {
	var texts, candidates []string
	text := one(itself)
	return &cli.Command{
		Name:      "drift",
		Usage:     "how far each way to quantize a model takes it from the original",
		ArgsUsage: "MODEL",
		Description: "Runs the model and all candidates side by side on the texts, and compares what they predict.\n" +
			"Types are quantized on the way; nothing is written but the reports that are asked for.",
		Flags: []cli.Flag{
			textFlag("measure on the text", &texts),
			&cli.StringFlag{Name: "types", Usage: "quantize to file types `A,B,C`; default without candidates: " + driftTypes},
			repeatedFlag("candidate", "measure `MODEL` as it is; may be repeated", &candidates, text),
			imatrixFlag(), requantizeFlag(),
			&cli.StringFlag{Name: "html", Usage: "write a page with charts to `FILE`"},
			&cli.StringFlag{Name: "markdown", Usage: "write tables for a model card to `FILE`"},
			&cli.BoolFlag{Name: "until-separated", Usage: "stop as soon as it is clear which candidate is closer to the original than which"},
			ctxFlag(perplexity.DefaultCtx, "`N` tokens in a window, the second half of which is scored"),
			chunksFlag("run at most `N` windows of each text"),
			computeFlag(), memoryFlag(),
		},
		Action: func(c *cli.Context) error { return measureDrift(c, texts, candidates) },
	}
}

func measureDrift(c *cli.Context, files, candidates []string) (err error) {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	types, err := driftFileTypes(c, candidates)
	if err != nil {
		return err
	}
	in, err := openDrift(c, args[0], candidates, files, c.Int("ctx"), "html", "markdown")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	models, err := in.views(c, types)
	if err != nil {
		return about(in.base, err)
	}
	for _, path := range candidates {
		model, err := openModel(c, path)
		if err != nil {
			return err
		}
		defer model.Close()
		models = append(models, drift.Candidate{Name: strings.TrimSuffix(filepath.Base(path), ".gguf"), Source: model})
	}
	measured := report.Drift{Model: args[0], Ctx: c.Int("ctx"), Compute: in.compute.String(), Imatrix: c.String("imatrix")}
	run, err := newDriftRun(c, &measured, in)
	if err != nil {
		return err
	}
	if _, err := run.measure(c, models); err != nil {
		return err
	}
	if measured.Provenance, err = in.hashing.Wait(); err != nil {
		return err
	}
	if err := printResults(c, measured, measured.Print, c.String("html"), c.String("markdown")); err != nil {
		return err
	}
	return saveReports(c, &measured)
}

// driftInput is what candidates are made of.
type driftInput struct {
	base       *model
	importance *imatrix.Matrix // or nil
	compute    infer.Compute
	texts      []textFile
	hashing    *report.Hashing
}

// openDrift checks the flags that drift and choose have in common, outputs among
// them, and opens what they read but for candidates: texts for windows of so many tokens.
// The caller must close it.
func openDrift(c *cli.Context, model string, candidates, files []string, window int, outputs ...string) (in *driftInput, err error) {
	if len(files) == 0 {
		return nil, usagef(c, "a text is needed: --file FILE")
	}
	in = &driftInput{}
	if in.compute, err = infer.ParseCompute(c.String("compute")); err != nil {
		return nil, asUsage(c, err)
	}
	var paths []string
	for _, flag := range outputs {
		paths = append(paths, c.String(flag))
	}
	if err := checkOutputs(c, paths, slices.Concat([]string{model, c.String("imatrix")}, candidates, files)); err != nil {
		return nil, err
	}
	if in.texts, err = readTexts(c, files, window); err != nil {
		return nil, err
	}
	if in.importance, err = openImportance(c, quantizeFlags{}); err != nil {
		return nil, err
	}
	if in.base, err = openModel(c, model); err != nil {
		return nil, errors.Join(err, in.close())
	}
	in.hashing = newProvenance(c, in.base, in.importance)
	return in, nil
}

func (in *driftInput) close() (err error) {
	if in.hashing != nil {
		in.hashing.Stop()
	}
	if in.base != nil {
		err = in.base.Close()
	}
	if in.importance != nil {
		err = errors.Join(err, in.importance.Close())
	}
	return err
}

// saveReports writes the files that are asked for.
func saveReports(c *cli.Context, r interface {
	Page() (string, error)
	Markdown() string
}) error {
	if path := c.String("html"); path != "" {
		page, err := r.Page()
		if err != nil {
			return err
		}
		if err := saveReport(c, path, page); err != nil {
			return err
		}
	}
	if path := c.String("markdown"); path != "" {
		return saveReport(c, path, r.Markdown())
	}
	return nil
}

// driftFileTypes returns what to quantize to.
func driftFileTypes(c *cli.Context, candidates []string) ([]recipe.FileType, error) {
	list := c.String("types")
	if list == "" && len(candidates) == 0 {
		list = driftTypes
	}
	return parseFileTypes(c, list)
}

// parseFileTypes reads the names in --types, or its default.
func parseFileTypes(c *cli.Context, list string) ([]recipe.FileType, error) {
	var types []recipe.FileType
	for _, name := range splitList(list) {
		fileType, err := parseFileType(c, strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		types = append(types, fileType)
	}
	return types, nil
}

// views returns the base quantized to each type.
func (in *driftInput) views(c *cli.Context, types []recipe.FileType) ([]drift.Candidate, error) {
	var views []drift.Candidate
	for _, fileType := range types {
		view, err := newView(c, in.base, fileType, quant.ViewOptions{Importance: in.importance})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fileType, err)
		}
		var notes []string
		for _, note := range view.Notes() {
			notes = append(notes, fmt.Sprintf("%s: %s", fileType, note))
		}
		printNotes(c, notes)
		views = append(views, drift.Candidate{Name: fileType.String(), Source: view})
	}
	return views, nil
}

// driftRun measures models on texts, for a report.
type driftRun struct {
	report  *report.Drift
	base    gguf.Source
	texts   []drift.Text
	tokens  int // that a model is run on
	options drift.Options
}

// newDriftRun makes tokens of the texts.
func newDriftRun(c *cli.Context, measured *report.Drift, in *driftInput) (*driftRun, error) {
	texts, err := tokensOf(c, in.base, in.texts, measured.Ctx)
	if err != nil {
		return nil, err
	}
	memory, err := engineMemory(c)
	if err != nil {
		return nil, err
	}
	noteContext(c, in.base, measured.Ctx)
	for i, text := range in.texts {
		texts[i].Name = display.Stem(text.file)
		measured.Texts = append(measured.Texts, report.Text{File: text.file, SHA256: text.sha256})
	}
	return &driftRun{report: measured, base: in.base, texts: texts, tokens: windowTokens(c, texts, measured.Ctx), options: drift.Options{
		Options:        perplexity.Options{Ctx: measured.Ctx, Chunks: c.Int("chunks")},
		UntilSeparated: c.Bool("until-separated"),
		Engine:         infer.Options{Threads: c.Int("threads"), Compute: in.compute, Memory: memory},
	}}, nil
}

// measure runs models on the texts and adds them to the report.
func (r *driftRun) measure(c *cli.Context, models []drift.Candidate) ([]drift.Result, error) {
	progress := newProgress(c, fmt.Sprintf("measuring %d models", 1+len(models)), display.TokenRate)
	defer progress.stop()
	options := r.options
	options.Engine.Progress = tokenProgress(progress, r.tokens)
	if _, err := engineOf(r.base, options.Engine); err != nil {
		return nil, err
	}
	for _, m := range models {
		if _, err := engineOf(m.Source, options.Engine); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	measured, err := drift.Measure(c.Context, r.base, models, r.texts, options)
	if err != nil {
		subject := r.base
		for _, m := range models {
			if _, file := m.Source.(*model); file && strings.HasPrefix(err.Error(), "drift: "+m.Name+": ") {
				subject = m.Source
			}
		}
		return nil, about(subject, err)
	}
	sources := []gguf.Source{r.base}
	for _, m := range models {
		sources = append(sources, m.Source)
	}
	if err := gguf.Unchanged(sources...); err != nil {
		return nil, err
	}
	return measured.Candidates, r.report.Add(r.base, models, measured)
}
