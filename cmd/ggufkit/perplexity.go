package main

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

func perplexityCommand() *cli.Command {
	return &cli.Command{
		Name:      "perplexity",
		Usage:     "how well a model predicts a text, as llama-perplexity defines it",
		ArgsUsage: "MODEL",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` with the text"},
			ctxFlag(512, "`N` tokens in a window, the second half of which is scored"),
			chunksFlag("score at most `N` windows"),
			computeFlag(), memoryFlag(),
		},
		Action: showPerplexity,
	}
}

func computeFlag() cli.Flag {
	return &cli.StringFlag{Name: "compute", Value: infer.Int8.String(), Usage: "`HOW` products are computed. int8: quantized weights with activations rounded to 8 bits, as llama.cpp does; exact: in float32"}
}

type perplexityReport struct {
	Model           string  `json:"model"`
	Type            string  `json:"type"`
	FileBytes       int64   `json:"file_bytes"`
	Ctx             int     `json:"ctx"`
	Chunks          int     `json:"chunks"`
	ScoredTokens    int     `json:"scored_tokens"`
	PPL             float64 `json:"ppl"`
	PPLError        float64 `json:"ppl_error"`
	NLL             float64 `json:"nll"`
	Compute         string  `json:"compute"`
	Seconds         float64 `json:"seconds"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	// ReadBytes is what was read of the weights, all readings together.
	ReadBytes int64 `json:"read_bytes"`
}

func showPerplexity(c *cli.Context) error {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	if c.String("file") == "" {
		return usagef(c, "a text is needed: --file FILE")
	}
	compute, err := infer.ParseCompute(c.String("compute"))
	if err != nil {
		return asUsage(c, err)
	}
	text, err := os.ReadFile(c.String("file"))
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
	result, read, err := score(c, model, string(text), infer.Options{Compute: compute}, perplexity.Options{Ctx: c.Int("ctx"), Chunks: c.Int("chunks")}, "scoring")
	if err != nil {
		return fmt.Errorf("%s on %s: %w", args[0], c.String("file"), err)
	}
	seconds := time.Since(start).Seconds()
	report := perplexityReport{
		Model:           args[0],
		Type:            fileTypeName(model),
		FileBytes:       size,
		Ctx:             c.Int("ctx"),
		Chunks:          result.Chunks,
		ScoredTokens:    result.ScoredTokens,
		PPL:             result.PPL,
		PPLError:        result.PPLError,
		NLL:             result.NLL,
		Compute:         compute.String(),
		Seconds:         seconds,
		TokensPerSecond: float64(result.Chunks*c.Int("ctx")) / seconds,
		ReadBytes:       read,
	}
	if c.Bool("json") {
		return printJSON(c, report)
	}
	reading := ""
	if read > 2*size { // in several batches
		reading = fmt.Sprintf(", weights read %.1f times at %s", float64(read)/float64(size), byteRate(float64(read)/seconds))
	}
	fmt.Fprintf(c.App.Writer, "PPL = %.4f +/- %.5f (%s, %d chunks of %d tokens, %d scored, %s compute, %.0f tokens/s%s)\n",
		report.PPL, report.PPLError, report.Type, report.Chunks, report.Ctx, report.ScoredTokens, report.Compute, report.TokensPerSecond, reading)
	return nil
}

// score runs a model on a text, showing progress on what it does. It returns too
// how many bytes of weights that took.
func score(c *cli.Context, model gguf.Source, text string, engine infer.Options, options perplexity.Options, what string) (result perplexity.Result, read int64, err error) {
	tokens, bos, err := tokensOf(model, text)
	if err != nil {
		return result, 0, err
	}
	if engine.Memory, err = engineMemory(c); err != nil {
		return result, 0, err
	}
	noteContext(c, model, options.Ctx)
	progress := newProgress(c, what, tokenRate)
	defer progress.stop()
	engine.Threads = c.Int("threads")
	engine.Progress = tokenProgress(progress, limited(c, len(tokens)))
	m, err := infer.New(model, engine)
	if err != nil {
		return result, 0, err
	}
	result, err = perplexity.Score(c.Context, m, tokens, bos, options)
	return result, m.BytesRead(), err
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

// tokensOf returns the tokens of a text in a model's vocabulary, as
// perplexity.Tokens does.
func tokensOf(model gguf.Source, text string) (tokens []int32, bos int32, err error) {
	vocab, err := tokenizer.New(model.Metadata())
	if err != nil {
		return nil, 0, err
	}
	return perplexity.Tokens(vocab, text)
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
