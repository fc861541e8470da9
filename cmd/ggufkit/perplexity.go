package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
)

type perplexityFlags struct {
	textFlags
	keepFlags
	planFlags
}

func perplexityCommand() *cli.Command {
	var f perplexityFlags
	return &cli.Command{
		Name:      "perplexity",
		Usage:     "how well a model predicts a text, as llama-perplexity defines it",
		ArgsUsage: "MODEL",
		Description: "Several texts are scored each for itself, no window has tokens of two, and all together: the\n" +
			"perplexity of all scored tokens. In a file of conversations, JSON with messages in each line (or ShareGPT's\n" +
			"conversations), each is a window, written with the model's chat template.",
		Flags: []cli.Flag{
			f.textFlag("score the text"),
			f.windowFlag("`N` tokens in a window, the second half of which is scored"), f.scoreFlag(),
			chunksFlag(&f.chunks, "score at most `N` windows of each text"),
			computeFlag(&f.compute), memoryFlag(&f.memory), f.resultsFlag(), f.partFlag(), f.dryRunFlag(), f.ratesFlag(),
		},
		Action: action(func(c *call) error { return showPerplexity(c, f) }),
	}
}

func showPerplexity(c *call, f perplexityFlags) error {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	if err := f.need(c); err != nil {
		return err
	}
	limitMemory(&f.memory)
	texts, err := f.read()
	if err != nil {
		return err
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	if f.dryRun {
		return f.plan(c, model, texts)
	}
	place, err := f.placeOf(c, model, f.compute)
	if err != nil {
		return err
	}
	start := time.Now()
	together, each, read, err := score(c, f.textFlags, model, texts, place, nil, "scoring")
	if err != nil {
		return partDone(c, about(model, err))
	}
	took := time.Since(start)
	if place != nil {
		took, read = together.Cost.Took[0], together.Cost.Read
	}
	var byText []report.PerplexityText
	for i, r := range each {
		byText = append(byText, report.NewPerplexityText(texts[i].file, texts[i].sha256, texts[i].conversations, r))
	}
	scored, err := report.NewPerplexity(args[0], model, together, byText, f.compute, took, read)
	if err != nil {
		return err
	}
	return printResults(c, scored, scored.Print)
}

// plan says what there is to do.
func (f *perplexityFlags) plan(c *call, model *model, texts []textFile) error {
	withoutData(model)
	encoded, err := f.encode(c, model, texts)
	if err != nil {
		return err
	}
	engine, err := engineOf(model, f.engine(c))
	if err != nil {
		return err
	}
	planned, err := perplexity.Plan(engine, encoded, f.part, f.windows())
	if err != nil {
		return about(model, err)
	}
	return f.show(c, model, &f.textFlags, f.part, planned, false)
}
