package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/routing"
)

func moeCommand() *cli.Command {
	var texts, donors []string
	return &cli.Command{
		Name:  "moe",
		Usage: "look into mixtures of experts",
		Subcommands: []*cli.Command{{
			Name:      "doctor",
			Usage:     "how the routers of a mixture were made, what is wrong with them, and where they send a text",
			ArgsUsage: "MODEL",
			Description: "Without texts only the rows of the routers are looked at. With texts, the model is run on them:\n" +
				"which experts they are sent to, and how well the mixture predicts them beside its donors, the\n" +
				"models that it was made of. A recipe names its donors.",
			Flags: append(observeFlags(&texts),
				repeatedFlag("donor", "compare with `MODEL`; may be repeated", &donors, one(itself)),
				&cli.StringFlag{Name: "html", Usage: "write a page with heat maps to `FILE`"},
				seedFlag(),
			),
			Action: func(c *cli.Context) error { return examine(c, texts, donors) },
		}},
	}
}

// observeFlags say on which texts a mixture is run, and how.
func observeFlags(texts *[]string) []cli.Flag {
	return []cli.Flag{
		textFlag("run the model on the text", texts),
		ctxFlag(perplexity.DefaultCtx, "`N` tokens in a window"),
		chunksFlag("run at most `N` windows of each text"),
		computeFlag(), memoryFlag(),
	}
}

type doctorReport struct {
	Model   string        `json:"model"`
	Experts int           `json:"experts"`
	Mode    moe.GateMode  `json:"mode"`
	Reason  string        `json:"reason"`
	Faults  []string      `json:"faults"`
	Layers  []doctorLayer `json:"layers"`
	// How Texts were run, if there are any.
	Ctx     int          `json:"ctx,omitempty"`
	Compute string       `json:"compute,omitempty"`
	Texts   []doctorText `json:"texts,omitempty"`
	// Answers say whether the mixture is better than what it was made of.
	Answers []doctorAnswer `json:"answers,omitempty"`
}

type doctorLayer struct {
	Layer   int         `json:"layer"`
	Norms   []float64   `json:"norms"`
	Cosines [][]float64 `json:"cosines"`
	// Condition is null if it is infinite.
	Condition *float64 `json:"condition"`
}

type doctorText struct {
	File   string `json:"file"`
	Tokens int64  `json:"tokens"`
	doctorPPL
	Donors []doctorDonor   `json:"donors,omitempty"`
	Layers []doctorRouting `json:"layers"`

	windows []float64 // mean negative log-likelihood of each
}

type doctorRouting struct {
	Layer   int       `json:"layer"`
	Shares  []float64 `json:"shares"` // of the tokens, one for each expert
	Entropy float64   `json:"router_entropy"`
}

func examine(c *cli.Context, files, donors []string) (err error) {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	page := c.String("html")
	if err := checkOutputs(c, []string{page}, slices.Concat(args, donors, files)); err != nil {
		return err
	}
	texts, err := readTexts(c, files, c.Int("ctx"))
	if err != nil {
		return err
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	if convert.IsRecipe(args[0]) && len(texts) > 0 {
		recipe, err := moe.Read(args[0])
		if err != nil {
			return err
		}
		donors = append(donors, recipe.Models()...)
	}
	report, err := diagnose(c, model, args[0], texts, donors)
	if err != nil {
		return err
	}
	if err := printResults(c, report, report.print, page); err != nil || page == "" {
		return err
	}
	content, err := report.page()
	if err != nil {
		return err
	}
	return saveReport(c, page, content)
}

// diagnose looks at the routers of a mixture, and runs it and its donors on texts.
func diagnose(c *cli.Context, model gguf.Source, name string, texts []textFile, donors []string) (*doctorReport, error) {
	compute, err := infer.ParseCompute(c.String("compute"))
	if err != nil {
		return nil, asUsage(c, err)
	}
	d, err := moe.Diagnose(model)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := &doctorReport{Model: name, Experts: d.Experts, Mode: d.Mode, Reason: d.Reason, Faults: d.Faults}
	if r.Faults == nil {
		r.Faults = []string{}
	}
	for _, l := range d.Layers {
		layer := doctorLayer{Layer: l.Layer, Norms: l.Norms, Cosines: l.Cosines}
		if !math.IsInf(l.Condition, 1) {
			layer.Condition = &l.Condition
		}
		r.Layers = append(r.Layers, layer)
	}
	if len(texts) > 0 {
		r.Ctx, r.Compute = c.Int("ctx"), compute.String()
	}
	for _, t := range texts {
		observed, err := observe(c, model, t, donors, compute)
		if err != nil {
			return nil, err
		}
		r.Texts = append(r.Texts, observed)
	}
	r.Answers = answers(r.Texts)
	return r, nil
}

// observe runs the mixture and its donors on a text.
func observe(c *cli.Context, model gguf.Source, t textFile, donors []string, compute infer.Compute) (doctorText, error) {
	var tally routing.Tally
	result, _, _, err := score(c, model, []textFile{t}, infer.Options{Compute: compute, Router: tally.Add}, t.file)
	if err != nil {
		return doctorText{}, err
	}
	encoded, err := tokensOf(c, model, []textFile{t}, result.Ctx)
	if err != nil {
		return doctorText{}, err
	}
	observed := doctorText{File: t.file, doctorPPL: newDoctorPPL(result), Tokens: int64(result.Chunks * result.Ctx), windows: result.ChunkNLL[0]}
	for _, l := range tally.Layers() {
		routing := doctorRouting{Layer: l.Layer, Entropy: l.Entropy}
		for expert := range l.Chosen {
			routing.Shares = append(routing.Shares, l.Share(expert))
		}
		observed.Layers = append(observed.Layers, routing)
	}
	for _, path := range donors {
		donor, err := observeDonor(c, path, t, compute, observed, encoded[0].Tokens)
		if err != nil {
			return observed, fmt.Errorf("%s: %w", path, err)
		}
		observed.Donors = append(observed.Donors, donor)
	}
	return observed, nil
}

// observeDonor runs a donor on a text that the mixture was run on, as some tokens.
func observeDonor(c *cli.Context, path string, t textFile, compute infer.Compute, mixture doctorText, tokens []int32) (donor doctorDonor, err error) {
	model, err := openModel(c, path)
	if err != nil {
		return donor, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	encoded, err := tokensOf(c, model, []textFile{t}, c.Int("ctx"))
	if err != nil {
		return donor, err
	}
	result, _, _, err := score(c, model, []textFile{t}, infer.Options{Compute: compute}, filepath.Base(path)+" on "+t.file)
	if err != nil {
		return donor, err
	}
	donor = doctorDonor{Name: filepath.Base(path), doctorPPL: newDoctorPPL(result), windows: result.ChunkNLL[0]}
	if slices.Equal(encoded[0].Tokens, tokens) {
		donor.compare([][]float64{mixture.windows}, result.ChunkNLL)
	}
	return donor, nil
}

func (r *doctorReport) print(w io.Writer) {
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
			printText(w, line)
		}
	}
}

// markdown returns the sections of a model card with what print prints.
func (r *doctorReport) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## Routers\n\n%s\n\n", r.verdict())
	for _, fault := range r.Faults {
		fmt.Fprintf(&b, "* %s\n", fault)
	}
	r.rowsTable(&b).RenderMarkdown()
	if len(r.Texts) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "\n## Perplexity\n\nOf the mixture and of the models that it was made of: windows of %d tokens, the second halves scored, %s compute.\n\n", r.Ctx, r.Compute)
	r.perplexityTable(&b).RenderMarkdown()
	b.WriteString("\n\n")
	for _, line := range r.AnswerLines() {
		fmt.Fprintf(&b, "* %s\n", line)
	}
	fmt.Fprint(&b, "\n## Where the texts go\n\nThe part of a text's tokens that each expert is given.\n")
	for _, text := range r.Texts {
		fmt.Fprintf(&b, "\n### %s, %d tokens\n\n", textName(text.File), text.Tokens)
		r.routingTable(&b, text).RenderMarkdown()
	}
	return b.String()
}

func (r *doctorReport) verdict() string {
	return fmt.Sprintf("%d experts, %d layers with routers. Gate mode: %s (%s).", r.Experts, len(r.Layers), r.Mode, r.Reason)
}

func (r *doctorReport) rowsTable(w io.Writer) table.Writer {
	t := newTable(w, []string{"layer", "lengths of rows", "cosines between experts", "condition"}, "layer", "condition")
	for _, l := range r.Layers {
		low, high := l.cosineRange()
		t.AppendRow(table.Row{l.Layer, rangeText(minMax(l.Norms)), rangeText(low, high), l.ConditionText()})
	}
	return t
}

// routingTable shows where a text goes.
func (r *doctorReport) routingTable(w io.Writer, text doctorText) table.Writer {
	columns := []string{"layer"}
	for expert := range r.Experts {
		columns = append(columns, fmt.Sprintf("expert %d", expert))
	}
	columns = append(columns, "router entropy")
	t := newTable(w, columns, columns...)
	for _, l := range text.Layers {
		row := table.Row{l.Layer}
		for _, share := range l.Shares {
			row = append(row, percentText(share))
		}
		t.AppendRow(append(row, fmt.Sprintf("%.2f bits", l.Entropy)))
	}
	return t
}

// perplexityTable shows the mixture beside its donors, one text per column.
func (r *doctorReport) perplexityTable(w io.Writer) table.Writer {
	columns := []string{"perplexity"}
	for _, text := range r.Texts {
		columns = append(columns, textName(text.File))
	}
	t := newTable(w, columns, columns[1:]...)
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

func (l doctorLayer) cosineRange() (low, high float64) {
	low, high = 1, -1
	for a, row := range l.Cosines {
		for _, v := range row[:a] {
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high
}

// ConditionText writes the condition of the rows.
func (l doctorLayer) ConditionText() string {
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
func percentText(share float64) string   { return fmt.Sprintf("%.1f %%", 100*share) }

// textName returns the name of a file without directory and extension.
func textName(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

//go:embed doctor.html
var doctorPage string

// page returns the report as a page that needs nothing else.
func (r *doctorReport) page() (string, error) {
	return renderPage("doctor", doctorPage, template.FuncMap{
		"four": func(v float64) string { return fmt.Sprintf("%.4f", v) },
		"bits": func(v float64) string { return fmt.Sprintf("%.2f", v) },
		// shade is the opacity of a cell: none at 0, such that text can be read at 1.
		"shade": func(v float64) string { return fmt.Sprintf("%.3f", darkest*max(0, min(1, v))) },
	}, r)
}

// TableWidth is about how wide a table with a column for each expert is, in
// units of the text's size.
func (r doctorReport) TableWidth() int { return 12 + 5*r.Experts }
