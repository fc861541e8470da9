package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	convertarch "github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/infer/arch"
	"github.com/ggufkit/ggufkit/infer/display"
)

// Models are those that can be converted or run.
type Models struct {
	Models []ModelFamily `json:"models"`
}

// ModelFamily is what can be done with the models of some classes, of one architecture.
type ModelFamily struct {
	// Family is the name that people know, that of the architecture for those that are only run.
	Family string `json:"family"`
	// Classes are the names in config.json's architectures, none of models that are only run.
	Classes []string `json:"classes"`
	// Architecture is general.architecture of their GGUF files.
	Architecture string `json:"architecture"`
	// Converts is whether checkpoints are converted, and GGUF files exported, Runs whether
	// models compute logits, or embeddings.
	Converts bool `json:"converts"`
	Runs     bool `json:"runs"`
	// Special is what is special about them; it may be empty.
	Special string `json:"special"`
	// Checked is what they were compared with.
	Checked []string `json:"checked_against"`
}

// What the models were compared with. TestModels says on which data.
const (
	checkedBytes  = "convert_hf_to_gguf.py's bytes"
	checkedLogits = "llama.cpp's logits"
)

// unrecorded are architectures that run without a small model in infer/testdata whose logits
// are compared: their parts are those of others.
var unrecorded = []string{"afmoe", "bailingmoe2", "exaone-moe", "gpt-oss", "qwen3vl"}

// unlike are classes of which convert_hf_to_gguf.py makes something else.
var unlike = []string{"CamembertModel"}

// NewModels reports on all models, in the order of the tables that convert and run them.
func NewModels() *Models {
	runs := arch.Names()
	r := new(Models)
	converted := make(map[string]bool)
	for _, a := range convertarch.Architectures {
		for _, name := range append([]string{a.Name}, a.Variants...) {
			converted[name] = true
			r.add(ModelFamily{a.Family, append([]string{a.Class}, a.Others...), name, true, slices.Contains(runs, name), a.Special, nil})
		}
	}
	for _, name := range runs {
		if !converted[name] {
			r.add(ModelFamily{Family: name, Classes: []string{}, Architecture: name, Runs: true})
		}
	}
	return r
}

func (r *Models) add(m ModelFamily) {
	if m.Converts && !slices.Contains(unlike, m.Classes[0]) {
		m.Checked = append(m.Checked, checkedBytes)
	}
	if m.Runs && !slices.Contains(unrecorded, m.Architecture) {
		m.Checked = append(m.Checked, checkedLogits)
	}
	r.Models = append(r.Models, m)
}

// Print shows the models on a terminal.
func (r *Models) Print(w io.Writer) {
	r.table(w, ", ").Render()
	fmt.Fprintln(w)
	display.Line(w, r.footer())
}

// Markdown is what Print prints, for the documentation.
func (r *Models) Markdown() string {
	var b strings.Builder
	r.table(&b, "<br>").RenderMarkdown()
	return b.String() + "\n\n" + r.footer() + "\n"
}

func (r *Models) table(w io.Writer, between string) *display.Table {
	t := display.NewTable(w, []string{"family", "class", "architecture", "converts", "runs", "what is special", "checked against"}).
		Spare("checked against", "class", "what is special")
	yes := map[bool]string{true: "yes"}
	for _, m := range r.Models {
		t.AppendRow(table.Row{m.Family, strings.Join(m.Classes, between), m.Architecture, yes[m.Converts], yes[m.Runs], m.Special, strings.Join(m.Checked, between)})
	}
	return t
}

// footer says how many there are.
func (r *Models) footer() string {
	classes, runs := make(map[string]bool), make(map[string]bool)
	for _, m := range r.Models {
		for _, class := range m.Classes {
			classes[class] = true
		}
		if m.Runs {
			runs[m.Architecture] = true
		}
	}
	return fmt.Sprintf("%d classes are converted, %d architectures run. Of models for images or sound it is the text part.", len(classes), len(runs))
}
