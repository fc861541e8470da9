package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	measure "github.com/ggufkit/ggufkit/infer/imatrix"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

type imatrixFlags struct {
	textFlags
	output        string
	processOutput bool
	inFiles       []string
	coverage      bool
	minTokens     int
}

func imatrixCommand() *cli.Command {
	var f imatrixFlags
	return &cli.Command{
		Name:      "imatrix",
		Usage:     "measure an importance matrix, as llama-imatrix does",
		ArgsUsage: "MODEL",
		Description: "Runs the model on texts and writes how much each column of each weight matrix counts, for\n" +
			"--imatrix of quantize. --coverage tells how much of the texts every expert of a mixture saw.",
		Flags: []cli.Flag{
			f.textFlag("measure on the text"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the importance matrix to write, `OUT.gguf`", Destination: &f.output},
			ctxFlag(&f.ctx, perplexity.DefaultCtx, "`N` tokens in a chunk"),
			chunksFlag(&f.chunks, "process at most `N` chunks of each text"),
			&cli.BoolFlag{Name: "process-output", Usage: "measure output.weight too", Destination: &f.processOutput},
			repeatedFlag("in-file", "add what importance matrices `A.gguf,...` have; may be repeated", &f.inFiles, list),
			&cli.BoolFlag{Name: "coverage", Usage: "report how the experts share the texts", Destination: &f.coverage},
			&cli.IntFlag{Name: "min-tokens", Value: 1000, Usage: "with --coverage, point out experts that saw fewer than `N` tokens",
				Destination: &f.minTokens},
			memoryFlag(&f.memory),
		},
		Action: action(func(c *call) error { return writeImatrix(c, f) }),
	}
}

func writeImatrix(c *call, f imatrixFlags) (err error) {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	if err := f.need(c); err != nil {
		return err
	}
	if f.output == "" && !f.coverage {
		return c.usagef("there is nothing to do without --output or --coverage")
	}
	if f.output != "" {
		if err := checkModelOutput(c, modelOutput{path: f.output}, slices.Concat(args, f.files, f.inFiles)); err != nil {
			return err
		}
	}
	limitMemory(f.memory)
	texts, err := f.read()
	if err != nil {
		return err
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	var added []*imatrix.Matrix
	for _, path := range f.inFiles {
		in, err := openMatrix(c, path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		added = append(added, in)
	}
	m, err := measureImatrix(c, f, model, texts)
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
	written := report.Imatrix{File: f.output, Chunks: m.Sums.Chunks, Ctx: m.Sums.ChunkSize, Tensors: len(file.Tensors()) / 2}
	if f.coverage {
		written.Coverage = report.NewCoverage(m.Layers, int64(f.minTokens))
	}
	err = printResults(c, written, func(w io.Writer) {
		if f.coverage {
			written.PrintCoverage(w, int64(f.minTokens))
		}
	})
	if err != nil || f.output == "" {
		return err
	}
	if _, err := gguf.Write(c.ctx, f.output, file, gguf.WriteOptions{Overwrite: c.force}); err != nil {
		return err
	}
	if !c.quiet && !c.json {
		fmt.Fprintf(c.stderr, "wrote %s: %d tensors, %d chunks of %d tokens\n", display.Printable(f.output), written.Tensors, written.Chunks, written.Ctx)
	}
	return nil
}

func measureImatrix(c *call, f imatrixFlags, model gguf.Source, texts []textFile) (*measure.Measurement, error) {
	windows := f.windows()
	encoded, err := f.encode(c, model, texts)
	if err != nil {
		return nil, err
	}
	noteContext(c, model, windows.Ctx)
	progress := newProgress(c, "measuring", display.TokenRate)
	defer progress.stop()
	m, err := measure.Measure(c.ctx, model, encoded, measure.Options{
		Options: windows,
		Output:  f.processOutput,
		Engine:  infer.Options{Threads: c.threads, Memory: f.memory, Progress: tokenProgress(progress, windowTokens(encoded, windows))},
	})
	if err != nil {
		return nil, err
	}
	return m, gguf.Unchanged(model)
}
