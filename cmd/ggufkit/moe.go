package main

import (
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/routing"
)

func moeCommand() *cli.Command {
	var texts, donors []string
	return &cli.Command{
		Name:  "moe",
		Usage: "look into mixtures of experts",
		Subcommands: []*cli.Command{{
			Name:      "doctor",
			Usage:     "how the routers of a mixture were made, what is wrong with them, and where they send a text",
			ArgsUsage: "MODEL",
			Description: "Without texts only the rows of the routers are looked at. With texts, the model is run on them:\n" +
				"which experts they are sent to, and how well the mixture predicts them beside its donors, the\n" +
				"models that it was made of. A recipe names its donors.",
			Flags: append(observeFlags(&texts),
				repeatedFlag("donor", "compare with `MODEL`; may be repeated", &donors, one(itself)),
				&cli.StringFlag{Name: "html", Usage: "write a page with heat maps to `FILE`"},
				seedFlag(),
			),
			Action: func(c *cli.Context) error { return examine(c, texts, donors) },
		}},
	}
}

// observeFlags say on which texts a mixture is run, and how.
func observeFlags(texts *[]string) []cli.Flag {
	return []cli.Flag{
		textFlag("run the model on the text", texts),
		ctxFlag(perplexity.DefaultCtx, "`N` tokens in a window"),
		chunksFlag("run at most `N` windows of each text"),
		computeFlag(), memoryFlag(),
	}
}

func examine(c *cli.Context, files, donors []string) (err error) {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	page := c.String("html")
	if err := checkOutputs(c, []string{page}, slices.Concat(args, donors, files)); err != nil {
		return err
	}
	texts, err := readTexts(c, files, c.Int("ctx"))
	if err != nil {
		return err
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	if convert.IsRecipe(args[0]) && len(texts) > 0 {
		recipe, err := moe.Read(args[0])
		if err != nil {
			return err
		}
		donors = append(donors, recipe.Models()...)
	}
	doctor, err := diagnose(c, model, args[0], texts, donors)
	if err != nil {
		return err
	}
	if err := printResults(c, doctor, doctor.Print, page); err != nil || page == "" {
		return err
	}
	content, err := doctor.Page()
	if err != nil {
		return err
	}
	return saveReport(c, page, content)
}

// diagnose looks at the routers of a mixture, and runs it and its donors on texts.
func diagnose(c *cli.Context, model gguf.Source, name string, texts []textFile, donors []string) (*report.Doctor, error) {
	compute, err := infer.ParseCompute(c.String("compute"))
	if err != nil {
		return nil, asUsage(c, err)
	}
	d, err := moe.Diagnose(model)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := report.NewDoctor(name, d)
	if len(texts) > 0 {
		r.Ctx, r.Compute = c.Int("ctx"), compute.String()
	}
	for _, t := range texts {
		observed, err := observe(c, model, t, donors, compute)
		if err != nil {
			return nil, err
		}
		r.AddText(observed)
	}
	return r, nil
}

// observe runs the mixture and its donors on a text.
func observe(c *cli.Context, model gguf.Source, t textFile, donors []string, compute infer.Compute) (observed report.DoctorText, err error) {
	var tally routing.Tally
	result, _, _, err := score(c, model, []textFile{t}, infer.Options{Compute: compute, Router: tally.Add}, t.file)
	if err != nil {
		return observed, err
	}
	encoded, err := tokensOf(c, model, []textFile{t}, result.Ctx)
	if err != nil {
		return observed, err
	}
	observed = report.NewDoctorText(t.file, result, tally.Layers())
	for _, path := range donors {
		if err := observeDonor(c, path, t, compute, &observed, encoded[0].Tokens); err != nil {
			return observed, fmt.Errorf("%s: %w", path, err)
		}
	}
	return observed, nil
}

// observeDonor runs a donor on a text that the mixture was run on, as some tokens.
func observeDonor(c *cli.Context, path string, t textFile, compute infer.Compute, observed *report.DoctorText, tokens []int32) (err error) {
	model, err := openModel(c, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	encoded, err := tokensOf(c, model, []textFile{t}, c.Int("ctx"))
	if err != nil {
		return err
	}
	result, _, _, err := score(c, model, []textFile{t}, infer.Options{Compute: compute}, filepath.Base(path)+" on "+t.file)
	if err != nil {
		return err
	}
	observed.AddDonor(filepath.Base(path), result, slices.Equal(encoded[0].Tokens, tokens))
	return nil
}
