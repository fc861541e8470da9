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

// compareFlags are what drift and choose have in common.
type compareFlags struct {
	textFlags
	types      string
	imatrix    string
	requantize bool
	html       string
	markdown   string
}

type driftFlags struct {
	compareFlags
	candidates     []string
	untilSeparated bool
}

func driftCommand() *cli.Command {
	var f driftFlags
	return &cli.Command{
		Name:      "drift",
		Usage:     "how far each way to quantize a model takes it from the original",
		ArgsUsage: "MODEL",
		Description: "Runs the model and all candidates side by side on the texts, and compares what they predict.\n" +
			"Types are quantized on the way; nothing is written but the reports that are asked for.",
		Flags: []cli.Flag{
			f.textFlag("measure on the text"),
			&cli.StringFlag{Name: "types", Usage: "quantize to file types `A,B,C`; default without candidates: " + driftTypes, Destination: &f.types},
			repeatedFlag("candidate", "measure `MODEL` as it is; may be repeated", &f.candidates, one(itself)),
			imatrixFlag(&f.imatrix), requantizeFlag(&f.requantize),
			f.htmlFlag(), f.markdownFlag(),
			&cli.BoolFlag{Name: "until-separated", Usage: "stop as soon as it is clear which candidate is closer to the original than which", Destination: &f.untilSeparated},
			ctxFlag(&f.ctx, perplexity.DefaultCtx, "`N` tokens in a window, the second half of which is scored"),
			chunksFlag(&f.chunks, "run at most `N` windows of each text"),
			computeFlag(&f.compute), memoryFlag(&f.memory),
		},
		Action: action(func(c *call) error { return measureDrift(c, f) }),
	}
}

func (f *compareFlags) htmlFlag() cli.Flag {
	return &cli.StringFlag{Name: "html", Usage: "write a page with charts to `FILE`", Destination: &f.html}
}

func (f *compareFlags) markdownFlag() cli.Flag {
	return &cli.StringFlag{Name: "markdown", Usage: "write tables for a model card to `FILE`", Destination: &f.markdown}
}

func measureDrift(c *call, f driftFlags) (err error) {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	list := f.types
	if list == "" && len(f.candidates) == 0 {
		list = driftTypes
	}
	types, err := parseFileTypes(c, list)
	if err != nil {
		return err
	}
	in, err := f.open(c, args[0], f.candidates)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	models, err := in.views(c, types)
	if err != nil {
		return about(in.base, err)
	}
	for _, path := range f.candidates {
		model, err := openModel(c, path)
		if err != nil {
			return err
		}
		defer model.Close()
		models = append(models, drift.Candidate{Name: strings.TrimSuffix(filepath.Base(path), ".gguf"), Source: model})
	}
	measured := f.report(args[0])
	run, err := newDriftRun(c, measured, in)
	if err != nil {
		return err
	}
	run.options.UntilSeparated = f.untilSeparated
	if _, err := run.measure(c, models); err != nil {
		return err
	}
	if measured.Provenance, err = in.hashing.Wait(); err != nil {
		return err
	}
	if err := printResults(c, measured, measured.Print, f.html, f.markdown); err != nil {
		return err
	}
	return f.save(c, measured)
}

// report is what is to be filled in.
func (f *compareFlags) report(model string) *report.Drift {
	return &report.Drift{Model: model, Ctx: f.ctx, Compute: f.compute.String(), Imatrix: f.imatrix}
}

// driftInput is what candidates are made of, and what they are measured on.
type driftInput struct {
	base       *model
	importance *imatrix.Matrix // or nil
	requantize bool
	windows    perplexity.Options
	engine     infer.Options
	texts      []textFile
	hashing    *report.Hashing
}

// open checks the flags that drift and choose have in common, outputs among them, beside others that
// there are, and opens what they read but for candidates. The caller must close it.
func (f *compareFlags) open(c *call, model string, candidates []string, outputs ...string) (in *driftInput, err error) {
	if err := f.need(c); err != nil {
		return nil, err
	}
	outputs = append([]string{f.html, f.markdown}, outputs...)
	if err := checkOutputs(c, outputs, slices.Concat([]string{model, f.imatrix}, candidates, f.files)); err != nil {
		return nil, err
	}
	limitMemory(f.memory)
	in = &driftInput{requantize: f.requantize, windows: f.windows(), engine: f.engine(c)}
	if in.texts, err = f.read(); err != nil {
		return nil, err
	}
	if in.importance, err = openImportance(c, f.imatrix); err != nil {
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

// save writes the reports that are asked for.
func (f *compareFlags) save(c *call, r interface {
	Page() (string, error)
	Markdown() string
}) error {
	if f.html != "" {
		page, err := r.Page()
		if err != nil {
			return err
		}
		if err := saveReport(c, f.html, page); err != nil {
			return err
		}
	}
	if f.markdown != "" {
		return saveReport(c, f.markdown, r.Markdown())
	}
	return nil
}

// parseFileTypes reads the names in --types, or its default.
func parseFileTypes(c *call, list string) ([]recipe.FileType, error) {
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

// view returns the base quantized to a type.
func (in *driftInput) view(fileType recipe.FileType) (*quant.View, error) {
	view, err := quant.NewView(in.base, fileType, quant.ViewOptions{Importance: in.importance, AllowRequantize: in.requantize})
	return view, requantizeHint(err)
}

// views returns the base quantized to each type.
func (in *driftInput) views(c *call, types []recipe.FileType) ([]drift.Candidate, error) {
	var views []drift.Candidate
	for _, fileType := range types {
		view, err := in.view(fileType)
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
func newDriftRun(c *call, measured *report.Drift, in *driftInput) (*driftRun, error) {
	texts, err := tokensOf(in.base, in.texts, in.windows)
	if err != nil {
		return nil, err
	}
	noteContext(c, in.base, in.windows.Ctx)
	for i, text := range in.texts {
		texts[i].Name = display.Stem(text.file)
		measured.Texts = append(measured.Texts, report.Text{File: text.file, SHA256: text.sha256})
	}
	return &driftRun{
		report: measured, base: in.base, texts: texts, tokens: windowTokens(texts, in.windows),
		options: drift.Options{Options: in.windows, Engine: in.engine},
	}, nil
}

// measure runs models on the texts and adds them to the report.
func (r *driftRun) measure(c *call, models []drift.Candidate) ([]drift.Result, error) {
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
	measured, err := drift.Measure(c.ctx, r.base, models, r.texts, options)
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
