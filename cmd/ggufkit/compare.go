package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/allocate"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// compareFlags are what drift and choose have in common.
type compareFlags struct {
	textFlags
	types      string
	imatrix    string
	requantize bool
	html       string
	markdown   string
	// headersOnly leaves the model's data, and does not begin to hash them.
	headersOnly bool
}

func (f *compareFlags) htmlFlag() cli.Flag {
	return &cli.StringFlag{Name: "html", Usage: "write a page with charts to `FILE`", Destination: &f.html}
}

func (f *compareFlags) markdownFlag() cli.Flag {
	return &cli.StringFlag{Name: "markdown", Usage: "write tables for a model card to `FILE`", Destination: &f.markdown}
}

// report is what is to be filled in.
func (f *compareFlags) report(model string) *report.Drift {
	return &report.Drift{Model: model, Ctx: f.ctx, Compute: f.compute.String(), Imatrix: f.imatrix}
}

// driftInput is what candidates are compared with and made of, and what they are measured on.
type driftInput struct {
	base       *model
	source     *model          // that types are quantized from: base, or another one
	importance *imatrix.Matrix // or nil
	requantize bool
	flags      *textFlags
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
	limitMemory(&f.memory)
	in = &driftInput{requantize: f.requantize, flags: &f.textFlags, windows: f.windows(), engine: f.engine(c)}
	if in.texts, err = f.read(); err != nil {
		return nil, err
	}
	if in.importance, err = openImportance(c, f.imatrix); err != nil {
		return nil, err
	}
	if in.base, err = openModel(c, model); err != nil {
		return nil, errors.Join(err, in.close())
	}
	in.source = in.base
	if f.headersOnly {
		withoutData(in.base)
		return in, nil
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

// view returns the source quantized to a type, some tensors perhaps to others.
func (in *driftInput) view(fileType recipe.FileType, overrides ...recipe.Override) (*quant.View, error) {
	view, err := quant.NewView(in.source, fileType, quant.ViewOptions{
		Recipe: recipe.Options{Overrides: overrides}, Importance: in.importance, AllowRequantize: in.requantize,
	})
	return view, requantizeHint(err)
}

// views returns the source quantized to each type, and by each recipe.
func (in *driftInput) views(c *call, types []recipe.FileType, recipes ...recipe.File) ([]drift.Candidate, error) {
	var all []recipe.File
	for _, fileType := range types {
		all = append(all, recipe.File{Name: fileType.String(), Type: fileType})
	}
	var views []drift.Candidate
	for _, r := range append(all, recipes...) {
		view, err := in.view(r.Type, r.Overrides...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		var notes []string
		for _, note := range view.Notes() {
			notes = append(notes, fmt.Sprintf("%s: %s", r.Name, note))
		}
		printNotes(c, notes)
		views = append(views, drift.Candidate{Name: r.Name, Source: view})
	}
	return views, nil
}

// kept lists the models that results are of: the base, and behind it the others.
func (in *driftInput) kept(models []drift.Candidate) []keptModel {
	kept := []keptModel{{name: "model", source: in.base}}
	for _, m := range models {
		kept = append(kept, keptModel{name: "candidate " + m.Name, source: m.Source})
	}
	return kept
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
	texts, err := in.flags.encode(c, in.base, in.texts)
	if err != nil {
		return nil, err
	}
	noteContext(c, in.base, in.windows.Ctx)
	for i, text := range in.texts {
		texts[i].Name = display.Stem(text.file)
		measured.Texts = append(measured.Texts, report.Text{File: text.file, SHA256: text.sha256, Conversations: text.conversations})
	}
	return &driftRun{
		report: measured, base: in.base, texts: texts, tokens: windowTokens(texts, in.windows),
		options: drift.Options{Options: in.windows, Engine: in.engine},
	}, nil
}

// measure runs models on the texts and adds them to the report.
func (r *driftRun) measure(c *call, models []drift.Candidate) ([]drift.Result, error) {
	progress := newProgress(c, fmt.Sprintf("measuring %d models", 1+len(models)), tokenRate(r.options.Results))
	defer progress.stop()
	options := r.options
	options.Engine.Progress, options.Engine.Read = tokenProgress(progress, r.tokens), progress.reading()
	base, err := engineOf(r.base, options.Engine)
	if err != nil {
		return nil, err
	}
	if err := fits(base, 1+len(models), longestWindow(r.texts, options.Options)); err != nil {
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

// candidates returns the views with their sizes, and what there is room for: the same context for all.
func (r *driftRun) candidates(views []drift.Candidate, room *fitFlags) ([]choose.Candidate, report.Fit, error) {
	model, err := engineOf(r.base, r.options.Engine)
	if err != nil {
		return nil, report.Fit{}, err
	}
	fit, err := report.NewFit(model.Spec(), room.settings(), room.gpu)
	if err != nil {
		return nil, fit, err
	}
	var candidates []choose.Candidate
	for _, view := range views {
		_, size, err := gguf.Layout(view.Source)
		if err != nil {
			return nil, fit, fmt.Errorf("%s: %w", view.Name, err)
		}
		candidates = append(candidates, choose.Candidate{Candidate: view, Bytes: size})
	}
	return candidates, fit, nil
}

// setAside takes windows to choose a mix by out of the texts, and says how many. They are not measured on.
func (r *driftRun) setAside() (aside []drift.Text, windows int, err error) {
	r.tokens = 0
	for i, text := range r.texts {
		if text.Windows != nil {
			return nil, 0, fmt.Errorf("%s: %w: --mix is measured on windows of one length, not on conversations", r.report.Texts[i].File, gguf.ErrUnsupported)
		}
		chosen, rest, ok := allocate.SetAside(text, len(r.texts), r.options.Options)
		if !ok {
			return nil, 0, fmt.Errorf("%s: --mix needs four windows of %d tokens of each text, two to choose by and two to measure on", r.report.Texts[i].File,
				r.report.Ctx)
		}
		aside, r.texts[i] = append(aside, chosen), rest
		r.tokens += len(rest.Tokens)
		windows += len(chosen.Tokens) / r.options.Ctx
	}
	return aside, windows, nil
}

// sensitivity measures what the types cost.
func (r *driftRun) sensitivity(c *call, importance *imatrix.Matrix, texts []drift.Text, types []gguf.Type, budget int64, place *results.Place) (*allocate.Sensitivity, error) {
	progress := newProgress(c, "measuring what each type costs", func(perSecond float64) string { return fmt.Sprintf("%.1f steps/s", perSecond) })
	defer progress.stop()
	engine := r.options.Engine
	engine.Progress = func(done, total int) { progress.update(int64(done), int64(total)) }
	return allocate.Measure(c.ctx, r.base, importance, texts, allocate.Options{
		Options: perplexity.Options{Ctx: r.report.Ctx},
		Types:   types,
		Budget:  budget,
		Engine:  engine,
		Results: place,
	})
}
