package report

import (
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
)

// Inspection is what is in a model.
type Inspection struct {
	File      string   `json:"file"`
	Version   int      `json:"version"`
	Alignment int64    `json:"alignment"`
	KV        []KV     `json:"kv"`
	Tensors   []Tensor `json:"tensors"`
	// Packed sums up how weights are packed in the files, if they are.
	Packed  []Packing `json:"packed,omitempty"`
	tensors int       // in the file
}

// KV is a pair of metadata. What JSON has no number for is a text.
type KV struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// Tensor is one, and where it is in the file.
type Tensor struct {
	Name   string  `json:"name"`
	Type   string  `json:"type"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"`
	Bytes  int64   `json:"bytes"`
	// Packed says how its weights are packed in the files, those that are.
	Packed []Packing `json:"packed,omitempty"`
}

// Packing is gguf.Packing.
type Packing struct {
	Format   string  `json:"format"`
	Layout   string  `json:"layout,omitempty"`
	Elements int64   `json:"elements"`
	Bytes    int64   `json:"bytes"`
	BPW      float64 `json:"bpw"`
}

func newPackings(packings []gguf.Packing) (list []Packing) {
	for _, p := range packings {
		list = append(list, Packing{p.Format, p.Layout, p.Elements, p.Bytes, p.BitsPerWeight()})
	}
	return list
}

// packed says how a tensor is packed: GPTQ 4-bit g128, 4.19 bpw.
func (t Tensor) packed() string {
	var texts []string
	for _, p := range t.Packed {
		texts = append(texts, fmt.Sprintf("%s, %.2f bpw", gguf.Packing{Format: p.Format, Layout: p.Layout}, p.BPW))
	}
	return strings.Join(texts, "; ")
}

// Print lists all on a terminal, long values cut.
func (r *Inspection) Print(w io.Writer) {
	fmt.Fprintf(w, "GGUF version %d, alignment %d, %d metadata pairs, %d tensors\n", r.Version, r.Alignment, len(r.KV), r.tensors)
	r.printPacked(w)
	fmt.Fprintln(w)
	kv := display.NewTable(w, []string{"key", "type", "value"}).Spare("type")
	for _, e := range r.KV {
		kv.AppendRow(table.Row{e.Key, e.Type, valueText(e.Value)})
	}
	kv.Render()
	if len(r.Tensors) == 0 {
		return
	}
	fmt.Fprintln(w)
	columns := []string{"tensor", "type", "shape", "bytes", "offset"}
	packed := slices.ContainsFunc(r.Tensors, func(t Tensor) bool { return len(t.Packed) > 0 })
	if packed {
		columns = append(columns, "packed as")
	}
	list := display.NewTable(w, columns, "bytes", "offset").Spare("offset", "bytes")
	for _, t := range r.Tensors {
		row := table.Row{t.Name, t.Type, display.Shape(t.Shape), t.Bytes, t.Offset}
		if packed {
			row = append(row, t.packed())
		}
		list.AppendRow(row)
	}
	list.Render()
}

// printPacked prints how weights are packed, a line for each way, or one for all if there are many, as
// EXL2 has them.
func (r *Inspection) printPacked(w io.Writer) {
	const many = 5
	var stored gguf.Storage
	for _, p := range r.Packed {
		stored.Packings = append(stored.Packings, gguf.Packing{Format: p.Format, Layout: p.Layout, Elements: p.Elements, Bytes: p.Bytes})
	}
	if len(stored.Packings) > many {
		stored.Packings = []gguf.Packing{stored.Packed()}
	}
	for _, p := range stored.Packings {
		fmt.Fprintf(w, "%s: %s weights in %s, %.2f bits each\n", p, display.Count(p.Elements), display.Bytes(p.Bytes), p.BitsPerWeight())
	}
}

// PrintValues prints whole values, the items of a list each on a line. Line ends and
// tabs are as they are, other controls are escaped.
func (r *Inspection) PrintValues(w io.Writer) {
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

// NewInspection lists what is in a model that was opened by a path.
func NewInspection(path string, model gguf.Source) (*Inspection, error) {
	alignment, err := model.Metadata().Alignment()
	if err != nil {
		return nil, err
	}
	r := &Inspection{File: path, Version: 3, Alignment: alignment, tensors: len(model.Tensors())}
	offset, err := offsets(model)
	if err != nil {
		return nil, err
	}
	if f, ok := model.(*gguf.File); ok {
		r.Version = f.Version()
	}
	for _, kv := range model.Metadata().All() {
		r.KV = append(r.KV, KV{kv.Key, gguf.TypeName(kv.Value), jsonValue(kv.Value)})
	}
	stored, err := gguf.StorageOf(model)
	if err != nil {
		return nil, err
	}
	r.Packed = newPackings(stored.Packings)
	for i, t := range model.Tensors() {
		r.Tensors = append(r.Tensors, Tensor{t.Name, t.Type.String(), t.Shape, offset(i), t.Bytes(), newPackings(gguf.Packings(model, i))})
	}
	return r, nil
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
