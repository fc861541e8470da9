package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// measureAgainstLogits compares with what a file has, and no model.
func measureAgainstLogits(c *call, f driftFlags) (err error) {
	switch {
	case len(f.files) > 0 || f.reference != "" || f.saveLogits != "":
		return c.usagef("--logits has a text and what was predicted for it: there is nothing for --file, --reference or --save-logits to do")
	case f.html != "" || f.markdown != "" || f.untilSeparated:
		return c.usagef("--html, --markdown and --until-separated need a model to compare with, not --logits")
	case len(c.args) > 1:
		return c.wrongCount(1, "MODEL")
	case len(c.args) == 0 && (f.types != "" || f.recipes != nil):
		return c.usagef("--types and --recipe-file need a MODEL to quantize")
	}
	types, err := parseFileTypes(c, f.types)
	if err != nil {
		return err
	}
	paths := append(slices.Clip(c.args), f.candidates...)
	if len(paths) == 0 {
		return c.usagef("with --logits, a MODEL or a --candidate is needed")
	}
	limitMemory(&f.memory)
	file, err := files.Open(f.logits)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	saved, err := drift.ReadLogits(file, file.Size(), f.logits)
	if err != nil {
		return err
	}
	in := &driftInput{requantize: f.requantize}
	if in.importance, err = openImportance(c, f.imatrix); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	var models []drift.Candidate
	for i, name := range candidateNames(paths) {
		model, err := openModel(c, paths[i])
		if err != nil {
			return err
		}
		defer model.Close()
		if i == 0 && len(c.args) > 0 {
			in.source = model
		}
		models = append(models, drift.Candidate{Name: name, Source: model})
	}
	views, err := in.views(c, types, f.recipes...)
	if err != nil {
		return about(in.source, err)
	}
	models = append(models, views...)
	bos, err := firstToken(models[0].Source)
	if err != nil {
		return err
	}
	measured := &report.SavedDrift{Logits: f.logits, Ctx: saved.Ctx, Compute: f.compute.String(), Imatrix: f.imatrix}
	progress := newProgress(c, fmt.Sprintf("measuring %d models", len(models)), display.TokenRate)
	engine := f.engine(c)
	engine.Progress = tokenProgress(progress, windowTokens([]drift.Text{saved.Text(bos, f.chunks)}, perplexity.Options{}))
	result, err := drift.MeasureSaved(c.ctx, saved, bos, models, drift.Options{Options: perplexity.Options{Chunks: f.chunks}, Engine: engine})
	progress.stop()
	if err != nil {
		return err
	}
	sum, err := files.SHA256(c.ctx, file)
	if err != nil {
		return err
	}
	var sources []gguf.Source
	for _, m := range models {
		sources = append(sources, m.Source)
	}
	if err := errors.Join(file.Unchanged(), gguf.Unchanged(sources...)); err != nil {
		return err
	}
	if err := measured.Add(models, result, sum); err != nil {
		return err
	}
	return printResults(c, measured, measured.Print)
}

// firstToken returns the token that every window begins with, -1 if that is the text's.
func firstToken(src gguf.Source) (int32, error) {
	tok, err := tokenizer.New(src.Metadata())
	if err != nil {
		return 0, about(src, err)
	}
	_, bos, err := perplexity.Tokens(tok, "")
	return bos, about(src, err)
}

// openLogits opens the file that --save-logits names, for what a run finds out about its text; nil without.
func (f *driftFlags) openLogits(c *call, run *driftRun) (*files.Output, error) {
	if f.saveLogits == "" {
		return nil, nil
	}
	if len(run.texts) != 1 {
		return nil, c.usagef("--save-logits keeps what is predicted for one text, there are %d", len(run.texts))
	}
	model, err := engineOf(run.base, run.options.Engine)
	if err != nil {
		return nil, err
	}
	out, err := files.Create(f.saveLogits, c.force)
	if err != nil {
		return nil, forceHint(c, err)
	}
	if run.options.Save, err = drift.NewLogitsWriter(out, model.Vocabulary(), run.texts[0], run.options.Options); err != nil {
		return nil, errors.Join(err, out.Discard())
	}
	return out, nil
}
