package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// writeFlags are what convert and quantize have in common.
type writeFlags struct {
	imatrix      string
	requantize   bool
	dryRun       bool
	verify       bool
	resume       bool
	splitMaxSize int64
	part         results.Part
}

func (f *writeFlags) splitFlag() cli.Flag {
	return sizeFlag("split-max-size", "split the output into files with at most this `SIZE` of tensors, such as 4G", &f.splitMaxSize)
}

func (f *writeFlags) partFlag() cli.Flag {
	return partFlag("write only part `I/N` of a set of split files, of N files without --split-max-size, or auto, what Slurm, Kubernetes or MPI say", &f.part)
}

// check refuses an output that could not be written, before any work.
func (f *writeFlags) check(c *call, out string, split bool, reads []string) error {
	if f.verify && !f.part.IsAll() {
		return c.usagef("--verify needs the whole set, --part writes some of its files; 'ggufkit verify' looks at it when all are there")
	}
	return checkModelOutput(c, modelOutput{path: out, split: split || f.splitMaxSize > 0 || !f.part.IsAll(), dryRun: f.dryRun}, reads)
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
	// Packed says what became of matrices that were packed, if there were any.
	Packed *writePacked `json:"packed,omitempty"`
	// Part is there if only some of the files are written. All else is of the whole model, but Files.
	Part *writePart `json:"part,omitempty"`
}

// writePart says what a part of the set is.
type writePart struct {
	Part  int         `json:"part"`
	Parts int         `json:"parts"`
	Files []splitFile `json:"files"`
	// Missing are files of the set that were not there when the part was.
	Missing []string `json:"missing,omitempty"`
}

func newWritePart(part results.Part, opts gguf.WriteOptions, out string, src gguf.Source) (*writePart, error) {
	files, err := opts.Files(out, src)
	return &writePart{Part: part.Number, Parts: part.Of, Files: splitFiles(files)}, err
}

// look finds out which files of the set are not there.
func (p *writePart) look(set []string) {
	for _, path := range set {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			p.Missing = append(p.Missing, path)
		}
	}
}

// say says that the part is written.
func (p *writePart) say(c *call, took time.Duration) {
	fmt.Fprintf(c.stderr, "part %d of %d is written: %s, in %s; ", p.Part, p.Parts, display.Bytes(splitReport{p.Files}.total()), display.Seconds(took))
	if len(p.Missing) == 0 {
		fmt.Fprintln(c.stderr, "all files of the set are there")
	} else {
		fmt.Fprintf(c.stderr, "files of the set that are not there yet: %d, such as %s\n", len(p.Missing), display.Printable(p.Missing[0]))
	}
}

type writePacked struct {
	Exact       int `json:"exact"`
	Rounded     int `json:"rounded"`
	Requantized int `json:"requantized"`
	Unpacked    int `json:"unpacked"`
	// NMSE is that of quantizing the second time: of the values that the checkpoint
	// holds, not of those that it was made of.
	NMSE *float64 `json:"requantized_nmse,omitempty"`
}

type writeTensor struct {
	Name  string  `json:"name"`
	Shape []int64 `json:"shape"`
	From  string  `json:"from"`
	Type  string  `json:"type"`
	Bytes int64   `json:"bytes"`
	// Exact says that the tensor was packed and is in blocks that hold the same, and Rounded
	// that they do but for the last bit of a float32.
	Exact   bool `json:"exact,omitempty"`
	Rounded bool `json:"rounded,omitempty"`
	// RMSE and the largest difference are those of the written tensor, with --verify.
	RMSE *float64 `json:"rmse,omitempty"`
	Max  *float64 `json:"max_difference,omitempty"`
}

// writeModel writes a model to the path out and, if asked to, checks what it wrote
// against the original. With --dry-run it only says what it would write.
func writeModel(c *call, f writeFlags, output *convert.Output, out string, opts gguf.WriteOptions) error {
	src := output.Source
	report, err := newWriteReport(output)
	if err != nil {
		return err
	}
	opts.MaxBytes, opts.Share = f.splitMaxSize, gguf.Share(f.part)
	if !f.part.IsAll() {
		if report.Part, err = newWritePart(f.part, opts, out, src); err != nil {
			return err
		}
	}
	if f.dryRun {
		return report.print(c, src)
	}
	there := make(map[string]bool)
	if report.Part != nil && !c.force { // a task that was done may be started again
		opts.Accept = func(path string) {
			there[path] = true
			printNotes(c, []string{path + " is there already, as it would be written"})
		}
	}
	start := time.Now()
	progress := newProgress(c, "writing", display.ByteRate)
	if report.Part == nil {
		progress.at = tensorAt(src)
	}
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
	var differences []quant.Difference
	if f.verify {
		if differences, err = report.verify(c, output.Original); err != nil {
			return err
		}
	}
	if err := report.requantized(c, output, differences); err != nil {
		return err
	}
	if report.Part != nil {
		report.Part.look(opts.Paths(out, src))
	}
	if c.json {
		return printJSON(c, report)
	}
	if c.quiet {
		return nil
	}
	for _, file := range report.Files {
		if !there[file] {
			fmt.Fprintln(c.stderr, "wrote", display.Printable(file))
		}
	}
	if report.Part != nil {
		report.Part.say(c, took)
	} else {
		fmt.Fprintf(c.stderr, "%s, %.2f bits per weight, in %s\n", display.Bytes(report.FileBytes), report.BPW, display.Seconds(took))
	}
	report.printPacked(c)
	if f.verify {
		worst := slices.MaxFunc(report.Tensors, func(a, b writeTensor) int { return cmp.Compare(*a.RMSE, *b.RMSE) })
		fmt.Fprintf(c.stderr, "verified: all blocks are valid; the largest RMSE is %.3g, of %s (%s)\n", *worst.RMSE, worst.Name, worst.Type)
		report.printExact(c)
	}
	return nil
}

// tensorAt returns which tensor of a model is being written when so many bytes are: of several forms of it, that are written
// side by side.
func tensorAt(forms ...gguf.Source) func(done int64) string {
	return func(done int64) string {
		name := ""
		for i, t := range forms[0].Tensors() {
			name = t.Name
			for _, form := range forms {
				done -= form.Tensors()[i].Bytes()
			}
			if done < 0 {
				break
			}
		}
		return display.Name(name)
	}
}

// verify reads back what was written, checks every block, and takes down how far each
// tensor is from the original. It is an error if one that should be the same is not.
func (r *writeReport) verify(c *call, original gguf.Source) ([]quant.Difference, error) {
	file, err := gguf.Open(r.Files[0])
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var written gguf.Source = file
	if scaled, err := quant.ApplyScales(file); err != nil {
		return nil, err
	} else if scaled != nil {
		written = scaled
	}
	progress := newProgress(c, "verifying", weightRate)
	differences, err := quant.Compare(c.ctx, written, original, progress.update)
	progress.stop()
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", r.Files[0], err)
	}
	byName := make(map[string]quant.Difference)
	for _, d := range differences {
		byName[d.Name] = d
	}
	all := make([]quant.Difference, len(r.Tensors)) // 0 for scales, which are in those of their tensors
	for i := range r.Tensors {
		t := &r.Tensors[i]
		all[i] = byName[t.Name]
		t.RMSE, t.Max = &all[i].RMSE, &all[i].Max
		if t.Exact && all[i].Max != 0 || t.Rounded && all[i].NMSE > quant.LastBits {
			return nil, fmt.Errorf("verifying %s: tensor %q, which should have the values of the checkpoint, is off by %g", r.Files[0], t.Name, *t.Max)
		}
	}
	return all, nil
}

// requantized takes down what quantizing packed tensors a second time cost: of all
// differences if they are there, else of some rows.
func (r *writeReport) requantized(c *call, output *convert.Output, differences []quant.Difference) (err error) {
	if r.Packed == nil || r.Packed.Requantized == 0 {
		return nil
	}
	var nmse float64
	if differences == nil {
		if nmse, err = output.RequantizedNMSE(c.ctx); err != nil {
			return err
		}
	} else {
		var some []quant.Difference
		for _, i := range output.Packed.Requantized {
			some = append(some, differences[i])
		}
		nmse = quant.TotalNMSE(some)
	}
	r.Packed.NMSE = &nmse
	return nil
}

func newWriteReport(output *convert.Output) (writeReport, error) {
	src, packed := output.Source, output.Packed
	_, size, err := gguf.Layout(src)
	if err != nil {
		return writeReport{}, err
	}
	report := writeReport{FileBytes: size, BPW: gguf.BitsPerWeight(src)}
	for i, t := range src.Tensors() {
		from := output.Original.Tensors()[i].Type
		report.Tensors = append(report.Tensors, writeTensor{Name: t.Name, Shape: t.Shape, From: from.String(), Type: t.Type.String(), Bytes: t.Bytes()})
	}
	for _, i := range packed.Exact {
		report.Tensors[i].Exact = true
	}
	for _, i := range packed.Rounded {
		report.Tensors[i].Rounded = true
	}
	if n := (writePacked{Exact: len(packed.Exact), Rounded: len(packed.Rounded), Requantized: len(packed.Requantized), Unpacked: len(packed.Unpacked)}); n != (writePacked{}) {
		report.Packed = &n
	}
	return report, nil
}

// printPacked says what became of packed tensors.
func (r *writeReport) printPacked(c *call) {
	if r.Packed == nil {
		return
	}
	p := *r.Packed
	fmt.Fprintf(c.stderr, "of %d packed tensors %d are exact, ", p.Exact+p.Rounded+p.Unpacked+p.Requantized, p.Exact)
	if p.Rounded > 0 {
		fmt.Fprintf(c.stderr, "%d are but for the last bit of a scale, ", p.Rounded)
	}
	fmt.Fprintf(c.stderr, "%d are numbers again and %d are quantized a second time", p.Unpacked, p.Requantized)
	if p.NMSE != nil {
		fmt.Fprintf(c.stderr, ", which costs an NMSE of %.3g beside what packing did", *p.NMSE)
	}
	fmt.Fprintln(c.stderr)
}

// printExact lists the tensors that were found to be what the checkpoint holds.
func (r *writeReport) printExact(c *call) {
	if r.Packed == nil || r.Packed.Exact+r.Packed.Rounded == 0 {
		return
	}
	t := display.NewTable(c.stdout, []string{"packed", "type", "largest difference"}, "largest difference")
	for _, tensor := range r.Tensors {
		if tensor.Exact || tensor.Rounded {
			t.AppendRow(table.Row{tensor.Name, tensor.Type, *tensor.Max})
		}
	}
	t.Render()
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
	if r.Part != nil {
		fmt.Fprintf(c.stdout, "\npart %d of %d\n", r.Part.Part, r.Part.Parts)
		splitReport{r.Part.Files}.print(c.stdout)
	}
	return nil
}
