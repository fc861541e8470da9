package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// writeFlags are what convert and quantize have in common.
type writeFlags struct {
	imatrix    string
	requantize bool
	dryRun     bool
	verify     bool
	resume     bool
}

// view are the options of a model that is quantized as it is written.
func (f *writeFlags) view() quant.ViewOptions {
	return quant.ViewOptions{AllowRequantize: f.requantize, DryRun: f.dryRun}
}

// newOutput returns a model as a file of a type, and says what is to be known of it.
func newOutput(c *call, model *model, fileType recipe.FileType, opts convert.OutputOptions) (*convert.Output, error) {
	output, err := convert.NewOutput(model.Model, fileType, opts)
	if err != nil {
		return nil, about(model, requantizeHint(err))
	}
	printNotes(c, output.Notes())
	return output, nil
}

// requantizeHint says how a model that is quantized may be quantized again.
func requantizeHint(err error) error {
	if errors.Is(err, quant.ErrRequantize) {
		err = fmt.Errorf("%w by --allow-requantize; what was lost before stays lost", err)
	}
	return err
}

// writeReport says what a command wrote, or would write.
type writeReport struct {
	Files     []string      `json:"files,omitempty"`
	FileBytes int64         `json:"file_bytes"`
	BPW       float64       `json:"bpw"`
	Tensors   []writeTensor `json:"tensors"`
}

type writeTensor struct {
	Name  string  `json:"name"`
	Shape []int64 `json:"shape"`
	From  string  `json:"from"`
	Type  string  `json:"type"`
	Bytes int64   `json:"bytes"`
	// RMSE is that of the written tensor, with --verify.
	RMSE *float64 `json:"rmse,omitempty"`
}

// writeModel writes a model to the path out and, if asked to, checks what it wrote
// against the original. With --dry-run it only says what it would write.
func writeModel(c *call, f writeFlags, output *convert.Output, out string, opts gguf.WriteOptions) error {
	src, original := output.Source, output.Original
	report, err := newWriteReport(src, original)
	if err != nil {
		return err
	}
	if f.dryRun {
		return report.print(c, src)
	}
	start := time.Now()
	progress := newProgress(c, "writing", display.ByteRate)
	progress.at = tensorAt(src)
	opts.Overwrite = c.force
	opts.Threads = c.threads
	opts.Progress = progress.update
	opts.Restart = func(reason string) { printNotes(c, []string{"--resume starts from nothing: " + reason}) }
	report.Files, err = gguf.Write(c.ctx, out, src, opts)
	progress.stop()
	took := time.Since(start)
	switch {
	case err != nil && opts.Job != nil && c.ctx.Err() != nil:
		return fmt.Errorf("%w: --resume continues it", context.Cause(c.ctx))
	case err != nil:
		return forceHint(c, err)
	}
	var worst int
	if f.verify {
		if worst, err = report.verify(c, original); err != nil {
			return err
		}
	}
	if c.json {
		return printJSON(c, report)
	}
	if c.quiet {
		return nil
	}
	for _, file := range report.Files {
		fmt.Fprintln(c.stderr, "wrote", display.Printable(file))
	}
	fmt.Fprintf(c.stderr, "%s, %.2f bits per weight, in %s\n", display.Bytes(report.FileBytes), report.BPW, display.Seconds(took))
	if f.verify {
		t := report.Tensors[worst]
		fmt.Fprintf(c.stderr, "verified: all blocks are valid; the largest RMSE is %.3g, of %s (%s)\n", *t.RMSE, t.Name, t.Type)
	}
	return nil
}

// tensorAt returns which tensor of a model is being written when so many bytes are.
func tensorAt(src gguf.Source) func(done int64) string {
	return func(done int64) string {
		name := ""
		for _, t := range src.Tensors() {
			name = t.Name
			if done -= t.Bytes(); done < 0 {
				break
			}
		}
		return display.Name(name)
	}
}

// verify reads back what was written, checks every block, and returns which
// tensor has the largest error.
func (r *writeReport) verify(c *call, original gguf.Source) (worst int, err error) {
	written, err := gguf.Open(r.Files[0])
	if err != nil {
		return 0, err
	}
	defer written.Close()
	progress := newProgress(c, "verifying", func(perSecond float64) string { return fmt.Sprintf("%.0f million weights/s", perSecond/1e6) })
	differences, err := quant.Compare(c.ctx, written, original, progress.update)
	progress.stop()
	if err != nil {
		return 0, fmt.Errorf("verifying %s: %w", r.Files[0], err)
	}
	for i, d := range differences {
		r.Tensors[i].RMSE = &d.RMSE
		if d.RMSE > differences[worst].RMSE {
			worst = i
		}
	}
	return worst, nil
}

func newWriteReport(src, original gguf.Source) (writeReport, error) {
	_, size, err := gguf.Layout(src)
	if err != nil {
		return writeReport{}, err
	}
	report := writeReport{FileBytes: size, BPW: gguf.BitsPerWeight(src)}
	for i, t := range src.Tensors() {
		from := original.Tensors()[i].Type
		report.Tensors = append(report.Tensors, writeTensor{Name: t.Name, Shape: t.Shape, From: from.String(), Type: t.Type.String(), Bytes: t.Bytes()})
	}
	return report, nil
}

func (r writeReport) print(c *call, src gguf.Source) error {
	if c.json {
		return printJSON(c, r)
	}
	t := display.NewTable(c.stdout, []string{"tensor", "shape", "from", "to", "bytes"}, "bytes").Spare("from")
	for _, tensor := range r.Tensors {
		t.AppendRow(table.Row{tensor.Name, display.Shape(tensor.Shape), tensor.From, tensor.Type, tensor.Bytes})
	}
	t.AppendFooter(table.Row{fmt.Sprintf("%d tensors", len(r.Tensors)), fmt.Sprintf("%.2f B weights", float64(gguf.Elements(src))/1e9), "",
		fmt.Sprintf("%.2f bpw", r.BPW), r.FileBytes})
	t.Render()
	return nil
}
