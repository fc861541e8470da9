package report

import (
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant"
)

// Diff says in what two models differ.
type Diff struct {
	A    string `json:"a"`
	B    string `json:"b"`
	Same bool   `json:"same"`
	// Notes are about what is not a difference: the order of things.
	Notes    []string     `json:"notes,omitempty"`
	Metadata []PairDiff   `json:"metadata"`
	Tensors  []TensorDiff `json:"tensors"`
}

// PairDiff is a key whose values differ: nil where it is missing.
type PairDiff struct {
	Key string    `json:"key"`
	A   *DiffItem `json:"a"`
	B   *DiffItem `json:"b"`
	// First is where lists begin to differ, if both are.
	First *int `json:"first_difference,omitempty"`
}

// DiffItem is a value; of a long list only how many elements it has.
type DiffItem struct {
	Type  string `json:"type"`
	Value any    `json:"value,omitempty"`
	Count *int   `json:"count,omitempty"`
	shown string
}

// TensorDiff is a tensor of both, or of one. Figures are absent where they were not measured, or are none: the
// angle to a tensor of zeros.
type TensorDiff struct {
	Name       string      `json:"name"`
	Status     string      `json:"status"`
	A          *DiffTensor `json:"a"`
	B          *DiffTensor `json:"b"`
	NMSE       *float64    `json:"nmse,omitempty"`
	Cosine     *float64    `json:"cosine,omitempty"`
	RMSE       *float64    `json:"rmse,omitempty"`
	Max        *float64    `json:"max_difference,omitempty"`
	NonFiniteA int64       `json:"non_finite_a,omitempty"`
	NonFiniteB int64       `json:"non_finite_b,omitempty"`
	zeros      bool        // A is, and B is not
}

// DiffTensor is what a tensor is in one of them.
type DiffTensor struct {
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
}

// longList is how many elements of a list are in JSON.
const longList = 64

func newDiffItem(v any) *DiffItem {
	if v == nil {
		return nil
	}
	item := &DiffItem{Type: gguf.TypeName(v), shown: gguf.TypeName(v) + " " + valueText(v)}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice {
		n := list.Len()
		item.Count = &n
		if n > longList {
			return item
		}
	}
	item.Value = jsonValue(v)
	return item
}

// firstDifference returns where two lists of the same type begin to differ.
func firstDifference(a, b any) *int {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if a == nil || b == nil || x.Kind() != reflect.Slice || x.Type() != y.Type() {
		return nil
	}
	n := min(x.Len(), y.Len())
	for i := range n {
		if !reflect.DeepEqual(x.Index(i).Interface(), y.Index(i).Interface()) {
			return &i
		}
	}
	return &n
}

// AddMetadata takes down the differences of metadata.
func (r *Diff) AddMetadata(a, b *gguf.Metadata) {
	diffs, sameOrder := gguf.DiffPairs(a, b)
	if !sameOrder {
		r.Notes = append(r.Notes, "the metadata are in another order")
	}
	for _, d := range diffs {
		r.Metadata = append(r.Metadata, PairDiff{d.Key, newDiffItem(d.A), newDiffItem(d.B), firstDifference(d.A, d.B)})
	}
	r.Same = r.Same && len(diffs) == 0
}

// AddTensors takes down the differences of tensors, which are in the order of quant.Diff.
func (r *Diff) AddTensors(a, b gguf.Source, diffs []quant.TensorDiff) {
	for _, d := range diffs {
		t := TensorDiff{Name: d.Name, Status: string(d.Status), A: newDiffTensor(d.A), B: newDiffTensor(d.B)}
		if v := d.Values; v != nil {
			t.NMSE, t.Cosine, t.RMSE, t.Max = figure(v.NMSE), figure(v.Cosine), figure(v.RMSE), figure(v.Max)
			t.NonFiniteA, t.NonFiniteB, t.zeros = v.NonFiniteA, v.NonFiniteB, math.IsInf(v.NMSE, 0)
		}
		r.Tensors = append(r.Tensors, t)
		r.Same = r.Same && d.Status == quant.DiffSame
	}
	var names [2][]string
	for i, src := range []gguf.Source{a, b} {
		for _, t := range src.Tensors() {
			names[i] = append(names[i], t.Name)
		}
	}
	if !slices.Equal(names[0], names[1]) && slices.Equal(slices.Sorted(slices.Values(names[0])), slices.Sorted(slices.Values(names[1]))) {
		r.Notes = append(r.Notes, "the tensors are in another order")
	}
}

// figure returns a number that JSON has, or nil.
func figure(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

func newDiffTensor(t *gguf.TensorInfo) *DiffTensor {
	if t == nil {
		return nil
	}
	return &DiffTensor{t.Type.String(), t.Shape}
}

func (t *DiffTensor) text(shape bool) string {
	switch {
	case t == nil:
		return ""
	case shape:
		return t.Type + " " + display.Shape(t.Shape)
	}
	return t.Type
}

// Print lists the differences on a terminal.
func (r *Diff) Print(w io.Writer) {
	for _, note := range r.Notes {
		fmt.Fprintln(w, note)
	}
	if len(r.Metadata) > 0 {
		t := display.NewTable(w, []string{"key", "A", "B"})
		for _, p := range r.Metadata {
			key := p.Key
			if p.First != nil {
				key = fmt.Sprintf("%s, from %d on", key, *p.First)
			}
			t.AppendRow(table.Row{key, p.A.text(), p.B.text()})
		}
		t.Render()
		fmt.Fprintln(w)
	}
	same := 0
	t := display.NewTable(w, []string{"tensor", "A", "B", "NMSE", "cosine", "largest difference"}, "NMSE", "cosine", "largest difference").Spare("largest difference", "cosine")
	for _, d := range r.Tensors {
		if d.Status == string(quant.DiffSame) {
			same++
			continue
		}
		shape := d.Status == string(quant.DiffShape)
		t.AppendRow(table.Row{d.Name, d.A.text(shape), d.B.text(shape), d.distance(), decimals(d.Cosine, "%.6f"), decimals(d.Max, "%.3g")})
	}
	if same < len(r.Tensors) {
		t.Render()
		fmt.Fprintln(w)
	}
	switch {
	case r.Same && len(r.Tensors) == 0:
		fmt.Fprintln(w, "the metadata are the same")
	case r.Same:
		fmt.Fprintf(w, "the same: %d tensors\n", same)
	default:
		fmt.Fprintf(w, "different: keys %d, tensors %d; the same: tensors %d\n", len(r.Metadata), len(r.Tensors)-same, same)
	}
}

func (i *DiffItem) text() string {
	if i == nil {
		return "-"
	}
	return i.shown
}

// distance says how far the values of a tensor are from each other.
func (d TensorDiff) distance() string {
	switch {
	case d.NonFiniteA > 0 || d.NonFiniteB > 0:
		return fmt.Sprintf("%s without %d and %d NaN or infinite", decimals(d.NMSE, "%.3g"), d.NonFiniteA, d.NonFiniteB)
	case d.Status == string(quant.DiffOnlyA), d.Status == string(quant.DiffOnlyB), d.Status == string(quant.DiffShape):
		return d.Status
	case d.zeros:
		return "A is all zeros"
	case d.NMSE == nil:
		return "other bytes"
	}
	return decimals(d.NMSE, "%.3g")
}

func decimals(f *float64, format string) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf(format, *f)
}
