package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
)

//go:embed drift.html
var driftPage string

// page returns the report as a page that needs nothing else.
func (r *driftReport) page() (string, error) {
	sorted := r.bySize()
	var unmoved []string
	for _, c := range sorted.Candidates {
		if c.KLD <= 0 {
			unmoved = append(unmoved, c.Name)
		}
	}
	narrow, unnamed := sorted.frontChart(chartWidth)
	wide, _ := sorted.frontChart(wideChart)
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
		"shade":    sorted.shade,
		"isChosen": sorted.isChosen,
		"size":     func(n *int64) string { return bytesText(*n) },
		"share":    func(n int64) string { return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(r.Base.Bytes)) },
		"moved":    func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
	}, struct {
		*driftReport
		Title, Take                 string
		Choice                      *choiceReport
		Verdicts                    []verdict
		Bands                       []band
		Meaning, Method             []string
		Unmoved, Unnamed            string
		Front, FrontWide, ByTexts   template.HTML
		Perplexity, Layers, Routers template.HTML
	}{
		sorted, r.title(), sorted.take, r.choice, r.choice.verdicts(), bands[:len(bands)-1], r.meaning(), r.method(), strings.Join(unmoved, ", "), strings.Join(unnamed, ", "),
		narrow, wide, sorted.textChart(),
		sorted.perplexityChart(), sorted.layerChart(), sorted.routerChart(),
	})
}

// title is what the model is called.
func (r *driftReport) title() string {
	if r.Provenance == nil {
		return textName(r.Model)
	}
	return printable(r.Provenance.Model.Name)
}

// bySize returns the report with its candidates from large to small, and the one to take known.
func (r *driftReport) bySize() *driftReport {
	sorted := *r
	sorted.Candidates = slices.Clone(r.Candidates)
	slices.SortStableFunc(sorted.Candidates, func(a, b driftCandidate) int { return cmp.Compare(b.Bytes, a.Bytes) })
	if r.choice != nil {
		sorted.take = r.choice.Chosen.Name
	} else if good, _ := r.sortOut(); good != nil {
		sorted.take = good.Name
	}
	return &sorted
}

// verdict is a candidate with its verdict, which is written once for those that follow each other.
type verdict struct {
	consideredReport
	Cells []string // in FitColumns
	Rows  int      // that the verdict is for; 0 if it is that of the one before
}

func (r *choiceReport) verdicts() []verdict {
	if r == nil {
		return nil
	}
	var verdicts []verdict
	first := 0
	for i, c := range r.Considered {
		verdicts = append(verdicts, verdict{consideredReport: c, Cells: r.fitCells(c)})
		if c.Reason != r.Considered[first].Reason {
			first = i
		}
		verdicts[first].Rows++
	}
	return verdicts
}

// pareto returns the candidates that none is both smaller and closer to the
// original than, from small to large.
func (r *driftReport) pareto() []driftCandidate {
	sorted := slices.Clone(r.Candidates)
	slices.SortStableFunc(sorted, func(a, b driftCandidate) int {
		return cmp.Or(cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.KLD, b.KLD))
	})
	var front []driftCandidate
	for _, c := range sorted {
		if len(front) == 0 || c.KLD < front[len(front)-1].KLD {
			front = append(front, c)
		}
	}
	return front
}

// closeEnough is the mean divergence that a candidate is recommended by where no limit was given.
const closeEnough = 0.01

// meaning says what the figures mean, in two sentences: which candidate to take, and which not
// to. Both go by divergence, and by what is not chance.
func (r *driftReport) meaning() []string {
	good, beaten := r.sortOut()
	here := "on this text"
	if len(r.Texts) > 1 {
		here = "on these texts"
	}
	sentences := []string{fmt.Sprintf("No candidate is sure to keep to a mean KL divergence of %g %s.", closeEnough, here)}
	if good != nil {
		sentences[0] = fmt.Sprintf("%s is the smallest that keeps to a mean KL divergence of %g %s: %.5f, 95 %% interval %.5f to %.5f%s. It has %.0f %% of the original's size, and the token that it thinks most likely is the original's in %.1f %% of all places.",
			good.Name, closeEnough, here, good.KLD, *good.KLDLow, *good.KLDHigh, good.worst(), 100*float64(good.Bytes)/float64(r.Base.Bytes), 100*good.SameTop)
	}
	if len(beaten) > 0 {
		return append(sentences, fmt.Sprintf("There is no reason to take %s: another candidate is at most as large and closer to the original, by more than chance.", listed(beaten, "or")))
	}
	if alike := r.alike(); len(alike) > 0 {
		return append(sentences, fmt.Sprintf("More text would be needed to tell %s.", listed(alike, "and")))
	}
	return append(sentences, "The choice is one of size: every larger candidate is closer to the original.")
}

// sortOut returns the smallest candidate that is close enough, or nil, and which are beaten by one
// that is at most as large.
func (r *driftReport) sortOut() (good *driftCandidate, beaten []string) {
	for i, c := range r.Candidates {
		switch {
		case slices.ContainsFunc(r.Candidates, func(other driftCandidate) bool { return other.Bytes <= c.Bytes && c.further(other) }):
			beaten = append(beaten, c.Name)
		case c.KLDHigh != nil && *c.KLDHigh <= closeEnough && (good == nil || c.Bytes < good.Bytes):
			good = &r.Candidates[i]
		}
	}
	return good, beaten
}

// further reports whether a candidate is further from the original than another, window by window
// and by more than chance.
func (c driftCandidate) further(other driftCandidate) bool {
	difference, err := drift.Difference(c.result(), other.result())
	return err == nil && difference.Positive(interval.Level) // an error is that of another run
}

// result returns as much of what was measured as drift.Difference needs.
func (c driftCandidate) result() drift.Result {
	result := drift.Result{Name: c.Name}
	for _, text := range c.ByText {
		result.KLD = append(result.KLD, text.KLDWindows)
	}
	return result
}

// worst says on which of several texts a candidate is furthest from the original.
func (c driftCandidate) worst() string {
	if len(c.ByText) < 2 {
		return ""
	}
	worst := slices.MaxFunc(c.ByText, func(a, b driftTextResult) int { return cmp.Compare(a.KLD, b.KLD) })
	return fmt.Sprintf("; on %s, the worst, %s", textName(worst.File), withInterval("%.5f", worst.KLD, worst.KLDLow, worst.KLDHigh))
}

// alike returns which candidates cannot be told from the next smaller one.
func (r *driftReport) alike() []string {
	sorted := slices.Clone(r.Candidates)
	slices.SortStableFunc(sorted, func(a, b driftCandidate) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var alike []string
	for i := 1; i < len(sorted); i++ {
		if !sorted[i].further(sorted[i-1]) {
			alike = append(alike, fmt.Sprintf("%s from %s", sorted[i-1].Name, sorted[i].Name))
		}
	}
	return alike
}

// listed joins names as a sentence does.
func listed(names []string, last string) string {
	n := len(names) - 1
	if n == 0 {
		return names[0]
	}
	return strings.Join(names[:n], ", ") + " " + last + " " + names[n]
}

// describe says all about a candidate's place in the charts.
func (c driftCandidate) describe() string {
	return fmt.Sprintf("%s: %s, %.2f bits per weight, KL divergence %s, perplexity %.3f", c.Name, bytesText(c.Bytes), c.BPW, withInterval("%.5f", c.KLD, c.KLDLow, c.KLDHigh), c.PPL)
}

// orElse returns what v points to, or what there is instead.
func orElse(v *float64, instead float64) float64 {
	if v == nil {
		return instead
	}
	return *v
}
