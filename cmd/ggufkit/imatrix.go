package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	measure "github.com/ggufkit/ggufkit/infer/imatrix"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/routing"
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

type imatrixReport struct {
	File     string           `json:"file,omitempty"`
	Chunks   int64            `json:"chunks"`
	Ctx      int64            `json:"ctx"`
	Tensors  int              `json:"tensors"`
	Coverage []coverageReport `json:"coverage,omitempty"`
}

// coverageReport is the part of a text that the experts of one layer saw.
type coverageReport struct {
	Layer   int     `json:"layer"`
	Tokens  int64   `json:"tokens"`
	Experts []int64 `json:"experts"` // tokens of each
	// Entropy is that of the router, in bits, the mean over the tokens.
	Entropy float64 `json:"router_entropy"`
	// Few lists the experts with fewer tokens than --min-tokens.
	Few []int `json:"below_min_tokens"`
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
	report := imatrixReport{File: out, Chunks: m.Sums.Chunks, Ctx: m.Sums.ChunkSize, Tensors: len(file.Tensors()) / 2}
	if c.Bool("coverage") {
		report.Coverage = coverage(m.Layers, int64(c.Int("min-tokens")))
	}
	err = printResults(c, report, func(w io.Writer) {
		if c.Bool("coverage") {
			report.printCoverage(w, int64(c.Int("min-tokens")))
		}
	})
	if err != nil || out == "" {
		return err
	}
	if _, err := gguf.Write(c.Context, out, file, gguf.WriteOptions{Overwrite: c.Bool("force")}); err != nil {
		return err
	}
	if !c.Bool("quiet") && !c.Bool("json") {
		fmt.Fprintf(c.App.ErrWriter, "wrote %s: %d tensors, %d chunks of %d tokens\n", printable(out), report.Tensors, report.Chunks, report.Ctx)
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
	progress := newProgress(c, "measuring", tokenRate)
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

func coverage(layers []routing.Layer, minTokens int64) []coverageReport {
	var reports []coverageReport
	for _, l := range layers {
		r := coverageReport{Layer: l.Layer, Tokens: l.Tokens, Experts: l.Chosen, Entropy: l.Entropy, Few: []int{}}
		for expert, n := range l.Chosen {
			if n < minTokens {
				r.Few = append(r.Few, expert)
			}
		}
		reports = append(reports, r)
	}
	return reports
}

// printCoverage shows the share of the tokens that each expert was given.
func (r imatrixReport) printCoverage(w io.Writer, minTokens int64) {
	if len(r.Coverage) == 0 {
		fmt.Fprintln(w, "the model has no experts")
		return
	}
	columns := []string{"layer"}
	for expert := range r.Coverage[0].Experts {
		columns = append(columns, fmt.Sprintf("expert %d", expert))
	}
	columns = append(columns, "router entropy", "fewest tokens")
	t := newTable(w, columns, columns...)
	few := 0
	for _, l := range r.Coverage {
		row := table.Row{l.Layer}
		fewest := l.Experts[0]
		for _, n := range l.Experts {
			row = append(row, fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(1, l.Tokens))))
			fewest = min(fewest, n)
		}
		t.AppendRow(append(row, fmt.Sprintf("%.2f bits", l.Entropy), fewest))
		few += len(l.Few)
	}
	t.Render()
	if few > 0 {
		fmt.Fprintf(w, "%d experts saw fewer than %d tokens: a longer text would serve them better\n", few, minTokens)
	}
}
