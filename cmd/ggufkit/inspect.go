package main

import (
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "list metadata and tensors",
		ArgsUsage: "MODEL",
		Description: "Of a Hugging Face directory it shows what convert would write.\n" +
			"Offsets are in bytes from the start of the file.",
		Action: inspect,
	}
}

type inspectReport struct {
	Version   int             `json:"version"`
	Alignment int64           `json:"alignment"`
	KV        []inspectKV     `json:"kv"`
	Tensors   []inspectTensor `json:"tensors"`
}

type inspectKV struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type inspectTensor struct {
	Name   string  `json:"name"`
	Type   string  `json:"type"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"`
	Bytes  int64   `json:"bytes"`
}

func inspect(c *cli.Context) error {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	report, err := newInspectReport(model)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, report)
	}
	fmt.Fprintf(c.App.Writer, "GGUF version %d, alignment %d, %d metadata pairs, %d tensors\n\n", report.Version, report.Alignment, len(report.KV), len(report.Tensors))
	kv := newTable(c.App.Writer, []string{"key", "type", "value"}).spare("type")
	for _, e := range report.KV {
		kv.AppendRow(table.Row{e.Key, e.Type, valueText(e.Value)})
	}
	kv.Render()
	fmt.Fprintln(c.App.Writer)
	tensors := newTable(c.App.Writer, []string{"tensor", "type", "shape", "bytes", "offset"}, "bytes", "offset").spare("offset", "bytes")
	for _, t := range report.Tensors {
		tensors.AppendRow(table.Row{t.Name, t.Type, shapeText(t.Shape), t.Bytes, t.Offset})
	}
	tensors.Render()
	return nil
}

func newInspectReport(model gguf.Source) (inspectReport, error) {
	alignment, err := model.Metadata().Alignment()
	if err != nil {
		return inspectReport{}, err
	}
	report := inspectReport{Version: 3, Alignment: alignment}
	offset, err := offsets(model)
	if err != nil {
		return inspectReport{}, err
	}
	if f, ok := model.(*gguf.File); ok {
		report.Version = f.Version()
	}
	for _, kv := range model.Metadata().All() {
		report.KV = append(report.KV, inspectKV{kv.Key, gguf.TypeName(kv.Value), jsonValue(kv.Value)})
	}
	for i, t := range model.Tensors() {
		report.Tensors = append(report.Tensors, inspectTensor{t.Name, t.Type.String(), t.Shape, offset(i), t.Bytes()})
	}
	return report, nil
}

// offsets returns where a model's tensors are in its file, or where they would
// be if it were written.
func offsets(model gguf.Source) (func(tensor int) int64, error) {
	if f, ok := model.(*gguf.File); ok {
		return f.Offset, nil
	}
	layout, _, err := gguf.Layout(model)
	return func(i int) int64 { return layout[i] }, err
}

// jsonValue returns a metadata value as JSON can carry it: floats that are not
// numbers become strings, and bytes stay numbers.
func jsonValue(v any) any {
	switch v := v.(type) {
	case float32:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprint(v)
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	case []uint8, []float32, []float64:
		list := reflect.ValueOf(v)
		out := make([]any, list.Len())
		for i := range out {
			out[i] = jsonValue(list.Index(i).Interface())
		}
		return out
	}
	return v
}

const (
	shownItems = 6
	shownRunes = 30
)

// valueText shortens a metadata value to a line.
func valueText(v any) string {
	if s, ok := v.(string); ok {
		return shorten(fmt.Sprintf("%q", s))
	}
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return fmt.Sprint(v)
	}
	var items []string
	for i := range min(list.Len(), shownItems) {
		items = append(items, valueText(list.Index(i).Interface()))
	}
	if list.Len() > shownItems {
		items = append(items, fmt.Sprintf("... %d in all", list.Len()))
	}
	return shorten("[" + strings.Join(items, ", ") + "]")
}

func shorten(s string) string {
	runes := []rune(s)
	if len(runes) <= 2*shownRunes {
		return s
	}
	return string(runes[:shownRunes]) + " ... " + string(runes[len(runes)-shownRunes:])
}

func shapeText(shape []int64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", " x "), "[]")
}
