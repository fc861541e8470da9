package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/routing"
)

// observeFlags say on which texts a mixture is run, and how.
func (f *textFlags) observeFlags() []cli.Flag {
	return []cli.Flag{
		f.textFlag("run the model on the text"),
		ctxFlag(&f.ctx, perplexity.DefaultCtx, "`N` tokens in a window"),
		chunksFlag(&f.chunks, "run at most `N` windows of each text"),
		computeFlag(&f.compute), memoryFlag(&f.memory),
	}
}

// diagnose looks at the routers of a mixture, and runs it and its donors on texts.
func diagnose(c *call, f textFlags, model gguf.Source, name string, texts []textFile, donors []string) (*report.Doctor, error) {
	d, err := moe.Diagnose(model)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := report.NewDoctor(name, d)
	if len(texts) > 0 {
		r.Ctx, r.Compute = f.ctx, f.compute.String()
	}
	for _, t := range texts {
		observed, err := observe(c, f, model, t, donors)
		if err != nil {
			return nil, err
		}
		r.AddText(observed)
	}
	return r, nil
}

// observe runs the mixture and its donors on a text.
func observe(c *call, f textFlags, model gguf.Source, t textFile, donors []string) (observed report.DoctorText, err error) {
	var tally routing.Tally
	result, _, _, err := score(c, f, model, []textFile{t}, nil, tally.Add, t.file)
	if err != nil {
		return observed, err
	}
	encoded, err := f.encode(c, model, []textFile{t})
	if err != nil {
		return observed, err
	}
	observed = report.NewDoctorText(t.file, result, tally.Layers())
	for _, path := range donors {
		if err := observeDonor(c, f, path, t, &observed, encoded[0].Tokens); err != nil {
			return observed, fmt.Errorf("%s: %w", path, err)
		}
	}
	return observed, nil
}

// observeDonor runs a donor on a text that the mixture was run on, as some tokens.
func observeDonor(c *call, f textFlags, path string, t textFile, observed *report.DoctorText, tokens []int32) (err error) {
	model, err := openModel(c, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	encoded, err := f.encode(c, model, []textFile{t})
	if err != nil {
		return err
	}
	result, _, _, err := score(c, f, model, []textFile{t}, nil, nil, filepath.Base(path)+" on "+t.file)
	if err != nil {
		return err
	}
	observed.AddDonor(filepath.Base(path), result, slices.Equal(encoded[0].Tokens, tokens))
	return nil
}
