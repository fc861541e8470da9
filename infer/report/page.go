package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"github.com/ggufkit/ggufkit/infer/display"
)

// pageStyle is what pages have in common.
//
//go:embed page.css
var pageStyle string

// renderPage fills in a page, which puts the common style where it has {{style}}.
func renderPage(name, page string, functions template.FuncMap, data any) (string, error) {
	t, err := template.New(name).
		Funcs(template.FuncMap{
			"bytes": display.Bytes, "name": display.Stem, "percent": display.Percent,
			"style": func() template.CSS { return template.CSS(pageStyle) },
		}).
		Funcs(functions).Parse(page)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return b.String(), err
}

//go:embed drift.html
var driftPage string

// Page returns the report as an HTML page that needs nothing else.
func (r *Drift) Page() (string, error) { return newView(r, nil).page() }

// Page is that of Drift, with the choice.
func (c *Choice) Page() (string, error) { return newView(c.Drift, c).page() }

func (r *view) page() (string, error) {
	var unmoved []string
	for _, c := range r.Candidates {
		if c.KLD <= 0 {
			unmoved = append(unmoved, c.Name)
		}
	}
	narrow, unnamed := r.frontChart(chartWidth)
	wide, _ := r.frontChart(wideChart)
	return renderPage("drift", driftPage, template.FuncMap{
		"number":   func(v float64) string { return fmt.Sprintf("%.5f", v) },
		"point":    func(v *float64) string { return fmt.Sprintf("%.5f", *v) },
		"short":    func(v float64) string { return fmt.Sprintf("%.3g", v) },
		"three":    func(v float64) string { return fmt.Sprintf("%.3f", v) },
		"fine":     func(v float64) string { return fmt.Sprintf("%.2f %%", 100*v) },
		"hundred":  func(v float64) string { return fmt.Sprintf("%.2f", 100*v) },
		"two":      func(v float64) string { return fmt.Sprintf("%.2f", v) },
		"band":     bandOf,
		"within":   func(v float64, low, high *float64) string { return withInterval("%.5f", v, low, high) },
		"part":     percentWithInterval,
		"shade":    r.shade,
		"isChosen": r.isChosen,
		"key":      key, "form": Storage.form, "packedBits": Storage.packedBits,
		"size":  func(n *int64) string { return display.Bytes(*n) },
		"share": func(n int64) string { return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(r.Base.Bytes)) },
		"moved": func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
	}, struct {
		*Drift
		Title, Take, Noun           string
		Formats                     []string
		Choice                      *Choice
		Verdicts                    []verdict
		Bands                       []band
		Meaning, Method             []string
		Unmoved, Unnamed            string
		Front, FrontWide, ByTexts   template.HTML
		Perplexity, Layers, Routers template.HTML
	}{
		Drift: r.Drift, Title: r.title(), Take: r.take, Noun: r.Base.noun(), Formats: r.said.formats(),
		Choice: r.choice, Verdicts: r.choice.verdicts(),
		Bands: bands[:len(bands)-1], Meaning: r.said.meaning(), Method: r.said.method(),
		Unmoved: strings.Join(unmoved, ", "), Unnamed: strings.Join(unnamed, ", "),
		Front: narrow, FrontWide: wide, ByTexts: r.textChart(),
		Perplexity: r.perplexityChart(), Layers: r.layerChart(), Routers: r.routerChart(),
	})
}

// verdict is a candidate with its verdict, which is written once for those that follow each other.
type verdict struct {
	Considered
	Cells []string // in FitColumns
	Rows  int      // that the verdict is for; 0 if it is that of the one before
}

func (c *Choice) verdicts() []verdict {
	if c == nil {
		return nil
	}
	var verdicts []verdict
	first := 0
	for i, considered := range c.Considered {
		verdicts = append(verdicts, verdict{Considered: considered, Cells: c.fitCells(considered)})
		if considered.Reason != c.Considered[first].Reason {
			first = i
		}
		verdicts[first].Rows++
	}
	return verdicts
}
