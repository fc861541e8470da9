package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	measure "github.com/ggufkit/ggufkit/infer/imatrix"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

type imatrixFlags struct {
	textFlags
	keepFlags
	planFlags
	output        string
	processOutput bool
	inFiles       []string
	statistics    bool
	format        string
	coverage      bool
	minTokens     int
}

func imatrixCommand() *cli.Command {
	var f imatrixFlags
	return &cli.Command{
		Name:      "imatrix",
		Usage:     "measure an importance matrix, as llama-imatrix does",
		ArgsUsage: "[MODEL]",
		Description: "Runs the model on texts and writes how much each column of each weight matrix counts, for\n" +
			"--imatrix of quantize. --coverage tells how much of the texts every expert of a mixture saw.\n" +
			"Without texts no MODEL is needed: importance matrices that are there are shown (--show-statistics),\n" +
			"added up, or written in the other format, all with --in-file.",
		Flags: []cli.Flag{
			f.textFlag("measure on the text"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the importance matrix to write, `OUT.gguf`, or OUT.dat", Destination: &f.output},
			parsedFlag("output-format", "", "`FORMAT` of the output, gguf or dat, whatever it is called", &f.format, parseImatrixFormat),
			ctxFlag(&f.ctx, perplexity.DefaultCtx, "`N` tokens in a chunk"),
			chunksFlag(&f.chunks, "process at most `N` chunks of each text"),
			&cli.BoolFlag{Name: "process-output", Usage: "measure output.weight too", Destination: &f.processOutput},
			repeatedFlag("in-file", "add what importance matrices `A.gguf,...` have; may be repeated", &f.inFiles, list),
			&cli.BoolFlag{Name: "show-statistics", Usage: "show what the values of each tensor are like, and how like those of the layer before", Destination: &f.statistics},
			&cli.BoolFlag{Name: "coverage", Usage: "report how the experts share the texts", Destination: &f.coverage},
			&cli.IntFlag{Name: "min-tokens", Value: 1000, Usage: "with --coverage, point out experts that saw fewer than `N` tokens",
				Destination: &f.minTokens},
			memoryFlag(&f.memory), f.resultsFlag(), f.partFlag(), f.dryRunFlag(), f.ratesFlag(),
		},
		Action: action(func(c *call) error { return writeImatrix(c, f) }),
	}
}

// formatDat is the older format of importance matrices.
const formatDat = "dat"

func parseImatrixFormat(format string) (string, error) {
	if format != "gguf" && format != formatDat {
		return "", fmt.Errorf("--output-format is %q, not gguf or %s", format, formatDat)
	}
	return format, nil
}

// dat reports whether the output is of the older format.
func (f *imatrixFlags) dat() bool {
	return f.format == formatDat || f.format == "" && strings.HasSuffix(f.output, "."+formatDat)
}

// check looks for what is missing. A model is needed only to measure with it; names are of what is read.
func (f *imatrixFlags) check(c *call) (model string, err error) {
	if len(f.files) > 0 || f.inFiles == nil {
		args, err := c.arguments("MODEL")
		if err != nil {
			return "", err
		}
		if err := f.need(c); err != nil {
			return "", err
		}
		model = args[0]
	} else if f.dir != "" || f.part.Of > 0 {
		return "", c.usagef("--results keeps what is measured: it needs --file")
	} else if f.dryRun {
		return "", c.usagef("--dry-run tells what measuring takes: it needs --file")
	} else if len(c.args) > 0 {
		return "", c.usagef("without --file, there is nothing to run %s on", c.args[0])
	}
	switch {
	case f.output == "" && !f.coverage && !f.statistics:
		return "", c.usagef("there is nothing to do without --output, --coverage or --show-statistics")
	case f.coverage && model == "":
		return "", c.usagef("--coverage is measured: it needs --file")
	case f.output == "":
		return model, nil
	}
	reads := slices.Concat([]string{model}, f.files, f.inFiles)
	if f.dat() {
		return model, checkOutputs(c, []string{f.output}, reads)
	}
	return model, checkModelOutput(c, modelOutput{path: f.output}, reads)
}

func writeImatrix(c *call, f imatrixFlags) (err error) {
	name, err := f.check(c)
	if err != nil {
		return err
	}
	limitMemory(&f.memory)
	if f.dryRun {
		return f.plan(c, name)
	}
	m := &measure.Measurement{Sums: &imatrix.Sums{ChunkSize: int64(f.ctx)}}
	var added []*imatrix.Matrix
	for _, path := range f.inFiles {
		in, err := openMatrix(c, path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		added = append(added, in)
	}
	if at := slices.IndexFunc(added, func(in *imatrix.Matrix) bool { return in.ChunkSize() > 0 }); at >= 0 {
		m.Sums.ChunkSize = added[at].ChunkSize() // nothing else is known of those of .dat files
	}
	if name != "" {
		if m, err = openAndMeasure(c, f, name); err != nil {
			return partDone(c, err)
		}
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
	if f.statistics {
		written.ImatrixStatistics = report.NewImatrixStatistics(m.Sums)
	}
	err = printResults(c, written, func(w io.Writer) {
		if f.coverage {
			written.PrintCoverage(w, int64(f.minTokens))
		}
		if f.statistics {
			written.Print(w)
		}
	})
	if err != nil || f.output == "" {
		return err
	}
	if err := f.write(c, m.Sums, file); err != nil {
		return err
	}
	if !c.quiet && !c.json {
		fmt.Fprintf(c.stderr, "wrote %s: %d tensors, %d chunks of %d tokens\n", display.Printable(f.output), written.Tensors, written.Chunks, written.Ctx)
	}
	return nil
}

// write writes sums, of which file is the GGUF file.
func (f *imatrixFlags) write(c *call, sums *imatrix.Sums, file gguf.Source) error {
	if !f.dat() {
		_, err := gguf.Write(c.ctx, f.output, file, gguf.WriteOptions{Overwrite: c.force})
		return err
	}
	var content bytes.Buffer
	if err := sums.WriteLegacy(&content); err != nil {
		return err
	}
	return forceHint(c, files.Write(f.output, content.Bytes(), c.force))
}

func openAndMeasure(c *call, f imatrixFlags, name string) (*measure.Measurement, error) {
	texts, err := f.read()
	if err != nil {
		return nil, err
	}
	model, err := openModel(c, name)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	m, err := measureImatrix(c, f, model, texts)
	if err != nil {
		return nil, about(model, err)
	}
	return m, nil
}

// plan says what there is to do.
func (f *imatrixFlags) plan(c *call, name string) error {
	texts, err := f.read()
	if err != nil {
		return err
	}
	model, err := openModel(c, name)
	if err != nil {
		return err
	}
	defer model.Close()
	withoutData(model)
	encoded, err := f.encode(c, model, texts)
	if err != nil {
		return err
	}
	planned, err := measure.Plan(model, encoded, f.part, measure.Options{Options: f.windows(), Output: f.processOutput, Engine: f.engine(c)})
	if err != nil {
		return about(model, err)
	}
	return f.show(c, model, &f.textFlags, f.part, planned, false)
}

func measureImatrix(c *call, f imatrixFlags, model *model, texts []textFile) (*measure.Measurement, error) {
	windows := f.windows()
	encoded, err := f.encode(c, model, texts)
	if err != nil {
		return nil, err
	}
	noteContext(c, model, windows.Ctx)
	engine := infer.Options{Threads: c.threads, Memory: f.memory}
	m, err := engineOf(model, engine)
	if err != nil {
		return nil, err
	}
	if err := fits(m, 1, longestWindow(encoded, windows)); err != nil {
		return nil, err
	}
	if windows.Results, err = f.placeOf(c, model, infer.Exact); err != nil {
		return nil, err
	}
	progress := newProgress(c, "measuring", tokenRate(windows.Results))
	defer progress.stop()
	engine.Progress, engine.Read = tokenProgress(progress, windowTokens(encoded, windows)), progress.reading()
	measured, err := measure.Measure(c.ctx, model, encoded, measure.Options{Options: windows, Output: f.processOutput, Engine: engine})
	if err != nil {
		return nil, err
	}
	return measured, gguf.Unchanged(model)
}
