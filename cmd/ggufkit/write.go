package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
)

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
}

// writeModel writes src to the path out, or with --dry-run says what that
// would be. from gives each tensor's type in the original.
func writeModel(c *cli.Context, src gguf.Source, from map[string]gguf.Type, out string, maxBytes int64) error {
	if !strings.HasSuffix(out, ".gguf") {
		return usagef(c, "the output is called %q, but the name of a GGUF file ends in .gguf", out)
	}
	report, err := newWriteReport(src, from)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return report.print(c, src)
	}
	progress := newProgress(c, "writing", byteRate)
	report.Files, err = gguf.Write(c.Context, out, src, gguf.WriteOptions{
		Overwrite: c.Bool("force"),
		Threads:   c.Int("threads"),
		MaxBytes:  maxBytes,
		Progress:  progress.update,
	})
	progress.stop()
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: use --force to overwrite it", err)
	}
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, report)
	}
	if !c.Bool("quiet") {
		for _, file := range report.Files {
			fmt.Fprintln(c.App.ErrWriter, "wrote", file)
		}
		fmt.Fprintf(c.App.ErrWriter, "%s, %.2f bits per weight\n", bytesText(report.FileBytes), report.BPW)
	}
	return nil
}

func newWriteReport(src gguf.Source, from map[string]gguf.Type) (writeReport, error) {
	_, size, err := gguf.Layout(src)
	if err != nil {
		return writeReport{}, err
	}
	report := writeReport{FileBytes: size, BPW: bitsPerWeight(src)}
	for _, t := range src.Tensors() {
		report.Tensors = append(report.Tensors, writeTensor{t.Name, t.Shape, from[t.Name].String(), t.Type.String(), t.Bytes()})
	}
	return report, nil
}

func (r writeReport) print(c *cli.Context, src gguf.Source) error {
	if c.Bool("json") {
		return printJSON(c, r)
	}
	t := newTable(c.App.Writer, []string{"tensor", "shape", "from", "to", "bytes"}, "bytes")
	for _, tensor := range r.Tensors {
		t.AppendRow(table.Row{tensor.Name, shapeText(tensor.Shape), tensor.From, tensor.Type, tensor.Bytes})
	}
	t.AppendFooter(table.Row{fmt.Sprintf("%d tensors", len(r.Tensors)), fmt.Sprintf("%.2f B weights", float64(weights(src))/1e9), "", fmt.Sprintf("%.2f bpw", r.BPW), r.FileBytes})
	t.Render()
	return nil
}

// tensorTypes returns the type of each tensor by name.
func tensorTypes(src gguf.Source) map[string]gguf.Type {
	types := make(map[string]gguf.Type)
	for _, t := range src.Tensors() {
		types[t.Name] = t.Type
	}
	return types
}

func weights(src gguf.Source) (n int64) {
	for _, t := range src.Tensors() {
		n += t.Elements()
	}
	return n
}

// bitsPerWeight returns the average over all tensors, without metadata.
func bitsPerWeight(src gguf.Source) float64 {
	bytes := int64(0)
	for _, t := range src.Tensors() {
		bytes += t.Bytes()
	}
	return 8 * float64(bytes) / float64(max(1, weights(src)))
}
