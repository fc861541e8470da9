package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/routing"
)

// Doctor is what is known of the routers of a mixture and, with texts, of what they do.
type Doctor struct {
	Model   string        `json:"model"`
	Experts int           `json:"experts"`
	Mode    moe.GateMode  `json:"mode"`
	Reason  string        `json:"reason"`
	Faults  []string      `json:"faults"`
	Layers  []DoctorLayer `json:"layers"`
	// How Texts were run, if there are any.
	Ctx     int          `json:"ctx,omitempty"`
	Compute string       `json:"compute,omitempty"`
	Texts   []DoctorText `json:"texts,omitempty"`
	// Answers say whether the mixture is better than what it was made of.
	Answers []Answer `json:"answers,omitempty"`
}

// DoctorLayer is moe.RouterRows.
type DoctorLayer struct {
	Layer   int         `json:"layer"`
	Norms   []float64   `json:"norms"`
	Cosines [][]float64 `json:"cosines"`
	// Condition is null if it is infinite.
	Condition *float64 `json:"condition"`
}

// DoctorText is a mixture on a text, beside its donors.
type DoctorText struct {
	File   string `json:"file"`
	Tokens int64  `json:"tokens"`
	Score
	Donors []Donor         `json:"donors,omitempty"`
	Layers []DoctorRouting `json:"layers"`

	windows []float64 // mean negative log-likelihood of each
}

// DoctorRouting is where the router of a layer sends a text.
type DoctorRouting struct {
	Layer   int       `json:"layer"`
	Shares  []float64 `json:"shares"` // of the tokens, one for each expert
	Entropy float64   `json:"router_entropy"`
}

// NewDoctor reports on the routers of a mixture.
func NewDoctor(model string, d *moe.Diagnosis) *Doctor {
	r := &Doctor{Model: model, Experts: d.Experts, Mode: d.Mode, Reason: d.Reason, Faults: d.Faults}
	if r.Faults == nil {
		r.Faults = []string{}
	}
	for _, l := range d.Layers {
		layer := DoctorLayer{Layer: l.Layer, Norms: l.Norms, Cosines: l.Cosines}
		if !math.IsInf(l.Condition, 1) {
			layer.Condition = &l.Condition
		}
		r.Layers = append(r.Layers, layer)
	}
	return r
}

// NewDoctorText reports on how a mixture predicts a text, and where its routers send it.
func NewDoctorText(file string, result perplexity.Result, layers []routing.Layer) DoctorText {
	t := DoctorText{File: file, Score: newScore(result), Tokens: int64(result.Chunks * result.Ctx), windows: result.ChunkNLL[0]}
	for _, l := range layers {
		routing := DoctorRouting{Layer: l.Layer, Entropy: l.Entropy}
		for expert := range l.Chosen {
			routing.Shares = append(routing.Shares, l.Share(expert))
		}
		t.Layers = append(t.Layers, routing)
	}
	return t
}

// AddDonor adds how a model that the mixture was made of predicts the text. Both can be compared if they
// have the same tokens of it.
func (t *DoctorText) AddDonor(name string, result perplexity.Result, sameTokens bool) {
	donor := Donor{Name: name, Score: newScore(result), windows: result.ChunkNLL[0]}
	if sameTokens {
		donor.compare([][]float64{t.windows}, result.ChunkNLL)
	}
	t.Donors = append(t.Donors, donor)
}

// AddText adds a text. All must have the same donors.
func (r *Doctor) AddText(t DoctorText) {
	r.Texts = append(r.Texts, t)
	r.Answers = answers(r.Texts)
}

// Print shows the report on a terminal.
func (r *Doctor) Print(w io.Writer) {
	fmt.Fprintln(w, r.verdict())
	for _, fault := range r.Faults {
		fmt.Fprintln(w, "!", fault)
	}
	fmt.Fprintln(w)
	r.rowsTable(w).Render()
	for _, text := range r.Texts {
		fmt.Fprintf(w, "\n%s: %d tokens\n", text.File, text.Tokens)
		r.routingTable(w, text).Render()
	}
	if len(r.Texts) > 0 {
		fmt.Fprintln(w)
		r.perplexityTable(w).Render()
	}
	if len(r.Answers) > 0 {
		fmt.Fprintln(w)
		for _, line := range r.AnswerLines() {
			display.Line(w, line)
		}
	}
}

// Markdown returns the sections of a model card with what Print prints.
func (r *Doctor) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## Routers\n\n%s\n\n", r.verdict())
	for _, fault := range r.Faults {
		fmt.Fprintf(&b, "* %s\n", fault)
	}
	r.rowsTable(&b).RenderMarkdown()
	if len(r.Texts) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "\n## Perplexity\n\nOf the mixture and of the models that it was made of: windows of %d tokens, the second halves scored, %s compute.\n\n",
		r.Ctx, r.Compute)
	r.perplexityTable(&b).RenderMarkdown()
	b.WriteString("\n\n")
	for _, line := range r.AnswerLines() {
		fmt.Fprintf(&b, "* %s\n", line)
	}
	fmt.Fprint(&b, "\n## Where the texts go\n\nThe part of a text's tokens that each expert is given.\n")
	for _, text := range r.Texts {
		fmt.Fprintf(&b, "\n### %s, %d tokens\n\n", display.Stem(text.File), text.Tokens)
		r.routingTable(&b, text).RenderMarkdown()
	}
	return b.String()
}

func (r *Doctor) verdict() string {
	return fmt.Sprintf("%d experts, %d layers with routers. Gate mode: %s (%s).", r.Experts, len(r.Layers), r.Mode, r.Reason)
}

func (r *Doctor) rowsTable(w io.Writer) table.Writer {
	t := display.NewTable(w, []string{"layer", "lengths of rows", "cosines between experts", "condition"}, "layer", "condition")
	for _, l := range r.Layers {
		low, high := l.cosineRange()
		t.AppendRow(table.Row{l.Layer, rangeText(minMax(l.Norms)), rangeText(low, high), l.ConditionText()})
	}
	return t
}

// routingTable shows where a text goes.
func (r *Doctor) routingTable(w io.Writer, text DoctorText) table.Writer {
	columns := []string{"layer"}
	for expert := range r.Experts {
		columns = append(columns, fmt.Sprintf("expert %d", expert))
	}
	columns = append(columns, "router entropy")
	t := display.NewTable(w, columns, columns...)
	for _, l := range text.Layers {
		row := table.Row{l.Layer}
		for _, share := range l.Shares {
			row = append(row, display.Percent(share))
		}
		t.AppendRow(append(row, fmt.Sprintf("%.2f bits", l.Entropy)))
	}
	return t
}

// perplexityTable shows the mixture beside its donors, one text per column.
func (r *Doctor) perplexityTable(w io.Writer) table.Writer {
	columns := []string{"perplexity"}
	for _, text := range r.Texts {
		columns = append(columns, display.Stem(text.File))
	}
	t := display.NewTable(w, columns, columns[1:]...)
	row := table.Row{"the mixture"}
	for _, text := range r.Texts {
		row = append(row, fmt.Sprintf("%.4f", text.PPL))
	}
	t.AppendRow(row)
	for i, donor := range r.Texts[0].Donors {
		row := table.Row{donor.Name}
		for _, text := range r.Texts {
			row = append(row, fmt.Sprintf("%.4f", text.Donors[i].PPL))
		}
		t.AppendRow(row)
	}
	return t
}

func (l DoctorLayer) cosineRange() (low, high float64) {
	low, high = 1, -1
	for a, row := range l.Cosines {
		for _, v := range row[:a] {
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high
}

// ConditionText writes the condition of the rows.
func (l DoctorLayer) ConditionText() string {
	if l.Condition == nil {
		return "infinite"
	}
	return fmt.Sprintf("%.3g", *l.Condition)
}

func minMax(x []float64) (low, high float64) {
	low, high = x[0], x[0]
	for _, v := range x {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

func rangeText(low, high float64) string { return fmt.Sprintf("%.4f to %.4f", low, high) }

//go:embed doctor.html
var doctorPage string

// Page returns the report as an HTML page that needs nothing else.
func (r *Doctor) Page() (string, error) {
	return renderPage("doctor", doctorPage, template.FuncMap{
		"four": func(v float64) string { return fmt.Sprintf("%.4f", v) },
		"bits": func(v float64) string { return fmt.Sprintf("%.2f", v) },
		// shade is the opacity of a cell: none at 0, such that text can be read at 1.
		"shade": func(v float64) string { return fmt.Sprintf("%.3f", darkest*max(0, min(1, v))) },
	}, r)
}

// TableWidth is about how wide a table with a column for each expert is, in
// units of the text's size.
func (r *Doctor) TableWidth() int { return 12 + 5*r.Experts }
