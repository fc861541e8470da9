package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/infer/display"
)

type exportFlags struct {
	dtype  weights.Dtype
	shard  int64 // bytes of a file
	dryRun bool
}

func exportCommand() *cli.Command {
	var f exportFlags
	return &cli.Command{
		Name:      "export",
		Usage:     "write any model as a Hugging Face checkpoint with plain weights",
		ArgsUsage: "MODEL OUTDIR",
		Description: "Writes safetensors, config.json and the tokenizer, as transformers reads them: of a packed checkpoint\n" +
			"with its weights unpacked, of a GGUF file with its tensors and metadata mapped back. Converting the\n" +
			"result gives the GGUF file again.",
		Flags: []cli.Flag{
			parsedFlag("dtype", "", "`TYPE` of all tensors: bf16, f16 or f32; default: that of the model, and what it holds in more bits stays", &f.dtype, parseDtype),
			shardSizeFlag(&f.shard),
			dryRunFlag(&f.dryRun),
		},
		Action: action(func(c *call) error { return exportModel(c, f) }),
	}
}

func parseDtype(s string) (weights.Dtype, error) {
	dtype := weights.Dtype(strings.ToUpper(s))
	if !slices.Contains([]weights.Dtype{weights.BF16, weights.F16, weights.F32}, dtype) {
		return "", fmt.Errorf("--dtype is %q, not bf16, f16 or f32", s)
	}
	return dtype, nil
}

// exportReport says what was written, or would be.
type exportReport struct {
	Dir     string         `json:"dir"`
	Dtype   string         `json:"dtype"`
	Bytes   int64          `json:"bytes"`
	Notes   []string       `json:"notes"`
	Tensors []exportTensor `json:"tensors"`
}

type exportTensor struct {
	Name  string        `json:"name"`
	Dtype weights.Dtype `json:"dtype"`
	Shape []int64       `json:"shape"`
	Bytes int64         `json:"bytes"`
}

func exportModel(c *call, f exportFlags) (err error) {
	args, err := c.arguments("MODEL", "OUTDIR")
	if err != nil {
		return err
	}
	if err := notStdin(c, "a model", args[0]); err != nil {
		return err
	}
	place, err := convert.ExportPlace(args[1], c.force, convert.Files(args[0])...)
	if err == nil && !f.dryRun {
		err = place.Check()
	}
	if err != nil && !f.dryRun {
		return forceHint(c, err)
	}
	export, err := convert.OpenExport(c.ctx, args[0], convert.ExportOptions{Dtype: f.dtype, Merge: mergeOptions(c), Remote: c.remote()})
	if err != nil {
		return named(remote.Plain(args[0]), err)
	}
	defer func() { err = errors.Join(err, export.Close()) }()
	printNotes(c, export.Notes)
	printWarnings(c, export.Warnings)
	report := exportReport{Dir: args[1], Dtype: strings.ToLower(string(export.Dtype)), Bytes: export.Bytes(), Notes: append([]string{}, export.Notes...)}
	for _, name := range export.Names() {
		t := export.Get(name)
		report.Tensors = append(report.Tensors, exportTensor{name, t.Dtype(), append([]int64{}, t.Shape()...), weights.Bytes(t)})
	}
	start := time.Now()
	if !f.dryRun {
		progress := newProgress(c, "writing", display.ByteRate)
		err = export.Write(c.ctx, place, hf.WriteOptions{ShardBytes: f.shard, Threads: c.threads, Progress: progress.update})
		progress.stop()
	}
	switch {
	case err != nil:
		return forceHint(c, err)
	case c.json:
		return printJSON(c, report)
	case f.dryRun:
		report.print(c)
	case !c.quiet:
		fmt.Fprintf(c.stderr, "wrote %s: %d tensors, %s, %s, in %s\n", display.Printable(report.Dir), len(report.Tensors), report.Dtype,
			display.Bytes(report.Bytes), display.Seconds(time.Since(start)))
	}
	return nil
}

// print shows what would be written.
func (r exportReport) print(c *call) {
	t := display.NewTable(c.stdout, []string{"tensor", "shape", "type", "bytes"}, "bytes")
	for _, tensor := range r.Tensors {
		t.AppendRow(table.Row{display.Name(tensor.Name), display.Shape(tensor.Shape), tensor.Dtype, tensor.Bytes})
	}
	t.AppendFooter(table.Row{fmt.Sprintf("%d tensors", len(r.Tensors)), "", r.Dtype, r.Bytes})
	t.Render()
}
