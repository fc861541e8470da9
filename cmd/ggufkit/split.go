package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
)

// defaultSplitTensors is how many tensors llama-gguf-split puts into a file.
const defaultSplitTensors = 128

type splitFlags struct {
	gguf.SplitOptions
	dryRun bool
}

func splitCommand() *cli.Command {
	var f splitFlags
	return &cli.Command{
		Name:      "split",
		Usage:     "cut a GGUF file into several, the same as llama-gguf-split",
		ArgsUsage: "IN.gguf PREFIX",
		Description: fmt.Sprintf("Writes PREFIX-00001-of-0000N.gguf and so on, with %d tensors each if no limit is given. A tensor larger\n"+
			"than the limit gets a file of its own. IN may be a split set, which is cut anew. What llama-gguf-split\n"+
			"gets wrong is right here: first files of models with another general.alignment than 32.", defaultSplitTensors),
		Flags: []cli.Flag{
			sizeFlag("split-max-size", "put at most this `SIZE` of tensors, such as 4G, into a file", &f.MaxBytes),
			&cli.IntFlag{Name: "split-max-tensors", Usage: "put at most `N` tensors into a file", Destination: &f.MaxTensors, Action: atLeast("split-max-tensors", 1)},
			&cli.BoolFlag{Name: "no-tensor-first-split", Usage: "put no tensors into the first file", Destination: &f.EmptyFirst},
			dryRunFlag(&f.dryRun),
		},
		Action: action(func(c *call) error { return splitModel(c, f) }),
	}
}

// splitReport says which files split or join wrote, or would write.
type splitReport struct {
	Files []splitFile `json:"files"`
}

type splitFile struct {
	File    string `json:"file"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

func splitFiles(planned []gguf.SplitFile) (list []splitFile) {
	for _, p := range planned {
		list = append(list, splitFile{p.Path, p.Tensors, p.Bytes})
	}
	return list
}

func splitModel(c *call, f splitFlags) error {
	args, err := c.arguments("IN.gguf", "PREFIX")
	if err != nil {
		return err
	}
	switch {
	case f.MaxBytes > 0 && f.MaxTensors > 0:
		return c.usagef("--split-max-size and --split-max-tensors cannot be used together")
	case f.MaxBytes == 0 && f.MaxTensors == 0:
		f.MaxTensors = defaultSplitTensors
	}
	if err := notStdin(c, "a GGUF file", args[0]); err != nil {
		return err
	}
	if isStdout(args[1]) {
		return c.usagef("several files cannot be written to standard output")
	}
	folder, name, err := locateFile(c, args[0])
	if err != nil {
		return ggufHint(remote.Plain(args[0]), err)
	}
	file, err := gguf.OpenIn(folder, gguf.SplitSet(name)[0])
	if err != nil {
		return ggufHint(remote.Plain(args[0]), err)
	}
	defer file.Close()
	splitting, err := gguf.Split(file, strings.TrimSuffix(args[1], ".gguf"), f.SplitOptions)
	if err != nil {
		return err
	}
	planned, err := splitting.Files()
	if err != nil {
		return err
	}
	report := splitReport{splitFiles(planned)}
	for _, p := range planned {
		if p.Oversize {
			printNotes(c, []string{p.Path + ": its one tensor is larger than --split-max-size"})
		}
	}
	return report.write(c, f.dryRun, func(opts gguf.WriteOptions) error {
		_, err := splitting.Write(c.ctx, opts)
		return err
	})
}

// write writes the files, unless it is a dry run, and says which they are.
func (r splitReport) write(c *call, dryRun bool, write func(gguf.WriteOptions) error) error {
	if !dryRun {
		start := time.Now()
		progress := newProgress(c, "writing", display.ByteRate)
		err := write(gguf.WriteOptions{Overwrite: c.force, Threads: c.threads, Progress: progress.update})
		progress.stop()
		if err != nil {
			return forceHint(c, err)
		}
		if !c.json && !c.quiet {
			for _, f := range r.Files {
				fmt.Fprintln(c.stderr, "wrote", display.Printable(f.File))
			}
			fmt.Fprintf(c.stderr, "%s in %s\n", display.Bytes(r.total()), display.Seconds(time.Since(start)))
		}
	}
	switch {
	case c.json:
		return printJSON(c, r)
	case dryRun:
		r.print(c.stdout)
	}
	return nil
}

func (r splitReport) total() (bytes int64) {
	for _, f := range r.Files {
		bytes += f.Bytes
	}
	return bytes
}

func (r splitReport) print(w io.Writer) {
	t := display.NewTable(w, []string{"file", "tensors", "bytes"}, "tensors", "bytes")
	for _, f := range r.Files {
		t.AppendRow(table.Row{f.File, f.Tensors, f.Bytes})
	}
	t.Render()
}

// ggufHint says what to do with a model that is no GGUF file where one is needed.
func ggufHint(path string, err error) error {
	if errors.Is(err, gguf.ErrNotGGUF) {
		return fmt.Errorf("%w: only GGUF files can be split, joined and edited", named(path, err))
	}
	return named(path, err)
}
