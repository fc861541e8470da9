package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	measure "github.com/ggufkit/ggufkit/infer/imatrix"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

func imatrixCommand() *cli.Command {
	var texts, inFiles []string
	return &cli.Command{
		Name:      "imatrix",
		Usage:     "measure an importance matrix, as llama-imatrix does",
		ArgsUsage: "MODEL",
		Description: "Runs the model on texts and writes how much each column of each weight matrix counts, for\n" +
			"--imatrix of quantize. --coverage tells how much of the texts every expert of a mixture saw.",
		Flags: []cli.Flag{
			textFlag("measure on the text", &texts),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the importance matrix to write, `OUT.gguf`"},
			ctxFlag(perplexity.DefaultCtx, "`N` tokens in a chunk"),
			chunksFlag("process at most `N` chunks of each text"),
			&cli.BoolFlag{Name: "process-output", Usage: "measure output.weight too"},
			repeatedFlag("in-file", "add what importance matrices `A.gguf,...` have; may be repeated", &inFiles, list),
			&cli.BoolFlag{Name: "coverage", Usage: "report how the experts share the texts"},
			&cli.IntFlag{Name: "min-tokens", Value: 1000, Usage: "with --coverage, point out experts that saw fewer than `N` tokens"},
			memoryFlag(),
		},
		Action: func(c *cli.Context) error { return writeImatrix(c, texts, inFiles) },
	}
}

func writeImatrix(c *cli.Context, files, inFiles []string) (err error) {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	out := c.String("output")
	switch {
	case len(files) == 0:
		return usagef(c, "a text is needed: --file FILE")
	case out == "" && !c.Bool("coverage"):
		return usagef(c, "there is nothing to do without --output or --coverage")
	}
	if out != "" {
		if err := checkModelOutput(c, out, false, slices.Concat(args, files, inFiles)); err != nil {
			return err
		}
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
	var added []*imatrix.Matrix
	for _, path := range inFiles {
		in, err := openMatrix(c, path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		added = append(added, in)
	}
	m, err := measureImatrix(c, model, texts)
	if err != nil {
		return about(model, err)
	}
	for _, in := range added {
		if err := m.Sums.AddMatrix(in); err != nil {
			return err
		}
	}
	file, err := m.Sums.Source()
	if err != nil {
		return err
	}
	written := report.Imatrix{File: out, Chunks: m.Sums.Chunks, Ctx: m.Sums.ChunkSize, Tensors: len(file.Tensors()) / 2}
	if c.Bool("coverage") {
		written.Coverage = report.NewCoverage(m.Layers, int64(c.Int("min-tokens")))
	}
	err = printResults(c, written, func(w io.Writer) {
		if c.Bool("coverage") {
			written.PrintCoverage(w, int64(c.Int("min-tokens")))
		}
	})
	if err != nil || out == "" {
		return err
	}
	if _, err := gguf.Write(c.Context, out, file, gguf.WriteOptions{Overwrite: c.Bool("force")}); err != nil {
		return err
	}
	if !c.Bool("quiet") && !c.Bool("json") {
		fmt.Fprintf(c.App.ErrWriter, "wrote %s: %d tensors, %d chunks of %d tokens\n", display.Printable(out), written.Tensors, written.Chunks, written.Ctx)
	}
	return nil
}

func measureImatrix(c *cli.Context, model gguf.Source, texts []textFile) (*measure.Measurement, error) {
	encoded, err := tokensOf(c, model, texts, c.Int("ctx"))
	if err != nil {
		return nil, err
	}
	memory, err := engineMemory(c)
	if err != nil {
		return nil, err
	}
	noteContext(c, model, c.Int("ctx"))
	progress := newProgress(c, "measuring", display.TokenRate)
	defer progress.stop()
	m, err := measure.Measure(c.Context, model, encoded, measure.Options{
		Options: perplexity.Options{Ctx: c.Int("ctx"), Chunks: c.Int("chunks")},
		Output:  c.Bool("process-output"),
		Engine: infer.Options{
			Threads:  c.Int("threads"),
			Memory:   memory,
			Progress: tokenProgress(progress, windowTokens(c, encoded, c.Int("ctx"))),
		},
	})
	if err != nil {
		return nil, err
	}
	return m, gguf.Unchanged(model)
}

// splitList returns the parts of a list with commas, none if it is empty.
func splitList(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// list is a parser of several values in one.
func list(s string) ([]string, error) { return splitList(s), nil }
