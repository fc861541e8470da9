package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
)

type inspectFlags struct {
	keys      []string
	noTensors bool
}

func inspectCommand() *cli.Command {
	var f inspectFlags
	return &cli.Command{
		Name:      "inspect",
		Usage:     "list metadata and tensors",
		ArgsUsage: "MODEL...",
		Description: "Of a Hugging Face directory or a merge recipe it shows what convert would write. Of a set of split files it\n" +
			"shows the whole if the first is named, and else what is in the one that is. With --kv only the values\n" +
			"of these keys are printed, but whole: a chat template can be read so. Offsets are in bytes from the\n" +
			"start of the file.",
		Flags: []cli.Flag{
			repeatedFlag("kv", "print the whole value of the metadata key `KEY`; may be repeated", &f.keys, one(itself)),
			&cli.BoolFlag{Name: "no-tensors", Usage: "do not list the tensors", Destination: &f.noTensors},
		},
		Action: action(func(c *call) error { return inspect(c, f) }),
	}
}

type inspectReport struct {
	File      string          `json:"file"`
	Version   int             `json:"version"`
	Alignment int64           `json:"alignment"`
	KV        []inspectKV     `json:"kv"`
	Tensors   []inspectTensor `json:"tensors"`
	tensors   int             // in the file
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

func inspect(c *call, f inspectFlags) error {
	return eachFile(c, func(model *model) (inspectReport, error) {
		report, err := newInspectReport(model)
		if err == nil && len(f.keys) > 0 {
			report.KV, err = report.only(f.keys)
		}
		if len(f.keys) > 0 || f.noTensors {
			report.Tensors = []inspectTensor{}
		}
		return report, err
	}, func(report inspectReport) {
		if len(f.keys) > 0 {
			report.printValues(c.stdout)
		} else {
			report.print(c.stdout)
		}
	})
}

// eachFile makes reports on the files that are the arguments, and prints them: as
// one JSON document with --json, a list if there are several.
func eachFile[Report any](c *call, look func(*model) (Report, error), show func(Report)) error {
	if len(c.args) == 0 {
		return c.wrongCount(1, "MODEL")
	}
	var reports []Report
	for i, path := range c.args {
		model, err := openParts(c, path)
		if err != nil {
			return err
		}
		report, err := look(model)
		if err := errors.Join(err, model.Close()); err != nil {
			return named(path, err)
		}
		if reports = append(reports, report); c.json {
			continue
		}
		if len(c.args) > 1 {
			if i > 0 {
				fmt.Fprintln(c.stdout)
			}
			fmt.Fprintf(c.stdout, "==> %s <==\n", display.Name(path))
		}
		show(report)
	}
	switch {
	case !c.json:
		return nil
	case len(reports) == 1:
		return printJSON(c, reports[0])
	}
	return printJSON(c, reports)
}

func (r inspectReport) print(w io.Writer) {
	fmt.Fprintf(w, "GGUF version %d, alignment %d, %d metadata pairs, %d tensors\n\n", r.Version, r.Alignment, len(r.KV), r.tensors)
	kv := display.NewTable(w, []string{"key", "type", "value"}).Spare("type")
	for _, e := range r.KV {
		kv.AppendRow(table.Row{e.Key, e.Type, valueText(e.Value)})
	}
	kv.Render()
	if len(r.Tensors) == 0 {
		return
	}
	fmt.Fprintln(w)
	list := display.NewTable(w, []string{"tensor", "type", "shape", "bytes", "offset"}, "bytes", "offset").Spare("offset", "bytes")
	for _, t := range r.Tensors {
		list.AppendRow(table.Row{t.Name, t.Type, display.Shape(t.Shape), t.Bytes, t.Offset})
	}
	list.Render()
}

// only returns the pairs with the given keys.
func (r inspectReport) only(keys []string) ([]inspectKV, error) {
	var found []inspectKV
	for _, key := range keys {
		i := slices.IndexFunc(r.KV, func(kv inspectKV) bool { return kv.Key == key })
		if i < 0 {
			var all []string
			for _, kv := range r.KV {
				all = append(all, kv.Key)
			}
			err := fmt.Errorf("%w: %s", gguf.ErrNoKey, key)
			if similar := nearest(key, all); similar != "" {
				err = fmt.Errorf("%w; there is %s", err, similar)
			}
			return nil, err
		}
		found = append(found, r.KV[i])
	}
	return found, nil
}

// printValues prints whole values, the items of a list each on a line. Line ends and
// tabs are as they are, other controls are escaped.
func (r inspectReport) printValues(w io.Writer) {
	for _, kv := range r.KV {
		if len(r.KV) > 1 {
			fmt.Fprintf(w, "%s:\n", display.Name(kv.Key))
		}
		if s, ok := kv.Value.(string); ok {
			for line := range strings.Lines(s) {
				text, _ := strings.CutSuffix(line, "\n")
				fmt.Fprintln(w, strings.ReplaceAll(display.Printable(text), `\t`, "\t"))
			}
			continue
		}
		list := reflect.ValueOf(kv.Value)
		if list.Kind() != reflect.Slice {
			fmt.Fprintln(w, kv.Value)
			continue
		}
		for i := range list.Len() {
			fmt.Fprintln(w, display.Printable(fmt.Sprint(list.Index(i).Interface())))
		}
	}
}

func newInspectReport(model *model) (inspectReport, error) {
	alignment, err := model.Metadata().Alignment()
	if err != nil {
		return inspectReport{}, err
	}
	report := inspectReport{File: model.path, Version: 3, Alignment: alignment, tensors: len(model.Tensors())}
	offset, err := offsets(model)
	if err != nil {
		return inspectReport{}, err
	}
	if f := fileOf(model); f != nil {
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
	if f := fileOf(model); f != nil {
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
