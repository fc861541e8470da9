package main

import (
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/quant/recipe"
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

type perplexityReport struct {
	Model        string `json:"model"`
	Type         string `json:"type"`
	FileBytes    int64  `json:"file_bytes"`
	Ctx          int    `json:"ctx"`
	Chunks       int    `json:"chunks"`
	ScoredTokens int    `json:"scored_tokens"`
	perplexityFigures
	Compute         string  `json:"compute"`
	Seconds         float64 `json:"seconds"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	// ReadBytes is what was read of the weights, all readings together.
	ReadBytes int64                  `json:"read_bytes"`
	ByText    []perplexityTextReport `json:"by_text"`
}

type perplexityTextReport struct {
	File         string `json:"file"`
	SHA256       string `json:"sha256"`
	Chunks       int    `json:"chunks"`
	ScoredTokens int    `json:"scored_tokens"`
	perplexityFigures
}

// perplexityFigures are those of perplexity.Result.
type perplexityFigures struct {
	PPL float64 `json:"ppl"`
	// PPLError is llama-perplexity's standard error.
	PPLError float64 `json:"ppl_error"`
	// The ends of the 95 % interval made of the windows, null if there is one of a text.
	PPLLow  *float64 `json:"ppl_low"`
	PPLHigh *float64 `json:"ppl_high"`
	NLL     float64  `json:"nll"`
}

func newPerplexityFigures(r perplexity.Result) perplexityFigures {
	return perplexityFigures{r.PPL, r.PPLError, known(r.Low), known(r.High), r.NLL}
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
	_, size, err := gguf.Layout(model)
	if err != nil {
		return err
	}
	start := time.Now()
	result, each, read, err := score(c, model, texts, infer.Options{Compute: compute}, "scoring")
	if err != nil {
		return about(model, err)
	}
	seconds := time.Since(start).Seconds()
	report := perplexityReport{
		Model:           args[0],
		Type:            fileTypeName(model),
		FileBytes:       size,
		Ctx:             c.Int("ctx"),
		Chunks:          result.Chunks,
		ScoredTokens:    result.ScoredTokens,
		Compute:         compute.String(),
		Seconds:         seconds,
		TokensPerSecond: float64(result.Chunks*c.Int("ctx")) / seconds,
		ReadBytes:       read,

		perplexityFigures: newPerplexityFigures(result),
	}
	for i, r := range each {
		report.ByText = append(report.ByText, perplexityTextReport{texts[i].file, texts[i].sha256, r.Chunks, r.ScoredTokens, newPerplexityFigures(r)})
	}
	if c.Bool("json") {
		return printJSON(c, report)
	}
	if len(each) > 1 {
		report.textTable(c.App.Writer).Render()
	}
	reading := ""
	if read > 2*size { // in several batches
		reading = fmt.Sprintf(", weights read %.1f times at %s", float64(read)/float64(size), byteRate(float64(read)/seconds))
	}
	fmt.Fprintf(c.App.Writer, "PPL = %.4f +/- %.5f (%s, %d chunks of %d tokens, %d scored, %s compute, %.0f tokens/s%s)\n",
		report.PPL, report.PPLError, report.Type, report.Chunks, report.Ctx, report.ScoredTokens, report.Compute, report.TokensPerSecond, reading)
	if report.PPLLow == nil {
		fmt.Fprintln(c.App.Writer, "One window of a text does not say how much windows differ: there is no interval.")
	} else {
		fmt.Fprintf(c.App.Writer, "95 %% interval for text like this, made of the windows: %.4f to %.4f. +/- is llama-perplexity's error, for which tokens are independent.\n", *report.PPLLow, *report.PPLHigh)
	}
	return nil
}

// textTable has a row for each text.
func (r perplexityReport) textTable(w io.Writer) table.Writer {
	columns := []string{"text", "chunks", "scored", "perplexity"}
	t := newTable(w, columns, columns[1:]...)
	for _, text := range r.ByText {
		t.AppendRow(table.Row{textName(text.File), text.Chunks, text.ScoredTokens, withInterval("%.4f", text.PPL, text.PPLLow, text.PPLHigh)})
	}
	return t
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
	progress := newProgress(c, what, tokenRate)
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

// fileTypeName names the mix of types that a model says it has.
func fileTypeName(model gguf.Source) string {
	number, err := model.Metadata().Uint("general.file_type")
	if err != nil {
		return ""
	}
	return recipe.FileType(number).String()
}
