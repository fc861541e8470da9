package main

import (
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
)

func perplexityCommand() *cli.Command {
	var texts []string
	return &cli.Command{
		Name:      "perplexity",
		Usage:     "how well a model predicts a text, as llama-perplexity defines it",
		ArgsUsage: "MODEL",
		Description: "Several texts are scored each for itself, no window has tokens of two, and all together: the\n" +
			"perplexity of all scored tokens.",
		Flags: []cli.Flag{
			textFlag("score the text", &texts),
			ctxFlag(512, "`N` tokens in a window, the second half of which is scored"),
			chunksFlag("score at most `N` windows of each text"),
			computeFlag(), memoryFlag(),
		},
		Action: func(c *cli.Context) error { return showPerplexity(c, texts) },
	}
}

func computeFlag() cli.Flag {
	return &cli.StringFlag{Name: "compute", Value: infer.Int8.String(), Usage: "`HOW` products are computed. int8: quantized weights with activations rounded to 8 bits, as llama.cpp does; exact: in float32"}
}

func showPerplexity(c *cli.Context, files []string) error {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usagef(c, "a text is needed: --file FILE")
	}
	compute, err := infer.ParseCompute(c.String("compute"))
	if err != nil {
		return asUsage(c, err)
	}
	texts, err := readTexts(c, files, c.Int("ctx"))
	if err != nil {
		return err
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	start := time.Now()
	together, each, read, err := score(c, model, texts, infer.Options{Compute: compute}, "scoring")
	if err != nil {
		return about(model, err)
	}
	took := time.Since(start)
	var byText []report.PerplexityText
	for i, r := range each {
		byText = append(byText, report.NewPerplexityText(texts[i].file, texts[i].sha256, r))
	}
	scored, err := report.NewPerplexity(args[0], model, together, byText, compute, took, read)
	if err != nil {
		return err
	}
	return printResults(c, scored, scored.Print)
}

// score runs a model on texts, in windows of --ctx tokens, showing progress on what it
// does. It returns the result for all of them and for each, and how many bytes of
// weights were read.
func score(c *cli.Context, model gguf.Source, texts []textFile, engine infer.Options, what string) (together perplexity.Result, each []perplexity.Result, read int64, err error) {
	options := perplexity.Options{Ctx: c.Int("ctx"), Chunks: c.Int("chunks")}
	encoded, err := tokensOf(c, model, texts, options.Ctx)
	if err != nil {
		return together, nil, 0, err
	}
	if engine.Memory, err = engineMemory(c); err != nil {
		return together, nil, 0, err
	}
	noteContext(c, model, options.Ctx)
	progress := newProgress(c, what, display.TokenRate)
	defer progress.stop()
	engine.Threads = c.Int("threads")
	engine.Progress = tokenProgress(progress, windowTokens(c, encoded, options.Ctx))
	m, err := engineOf(model, engine)
	if err != nil {
		return together, nil, 0, err
	}
	if together, each, err = perplexity.ScoreTexts(c.Context, m, encoded, options); err == nil {
		err = gguf.Unchanged(model)
	}
	return together, each, m.BytesRead(), err
}

// noteContext says so if windows of ctx tokens are longer than a model's context.
func noteContext(c *cli.Context, model gguf.Source, ctx int) {
	if most := contextLength(model); ctx > most {
		printNotes(c, []string{fmt.Sprintf("windows of %d tokens are longer than the model's context of %d", ctx, most)})
	}
}

// contextLength returns how many tokens a model was made for; what does not say
// so has no limit.
func contextLength(model gguf.Source) int {
	architecture, err := gguf.Value[string](model.Metadata(), "general.architecture")
	if err != nil {
		return math.MaxInt
	}
	n, err := model.Metadata().Uint(architecture + ".context_length")
	if err != nil || n > math.MaxInt {
		return math.MaxInt
	}
	return int(n)
}

// engineMemory returns what --memory allows, and has Go's garbage collector keep
// to it.
func engineMemory(c *cli.Context) (int64, error) {
	memory, err := size(c, "memory")
	if memory > 0 {
		debug.SetMemoryLimit(memory)
	}
	return memory, err
}
