package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
)

//go:embed drift.html
var driftPage string

// page returns the report as a page that needs nothing else.
func (r *driftReport) page() (string, error) {
	var unmoved []string
	for _, c := range r.Candidates {
		if c.KLD <= 0 {
			unmoved = append(unmoved, c.Name)
		}
	}
	return renderPage("drift", driftPage, template.FuncMap{
		"number":  func(v float64) string { return fmt.Sprintf("%.5f", v) },
		"short":   func(v float64) string { return fmt.Sprintf("%.3g", v) },
		"three":   func(v float64) string { return fmt.Sprintf("%.3f", v) },
		"fine":    func(v float64) string { return fmt.Sprintf("%.2f %%", 100*v) },
		"hundred": func(v float64) string { return fmt.Sprintf("%.2f", 100*v) },
		"speed":   func(v float64) string { return fmt.Sprintf("%.0f", v) },
		"two":     func(v float64) string { return fmt.Sprintf("%.2f", v) },
		"shade":   r.shade,
		"within":  func(v float64, low, high *float64) string { return withInterval("%.5f", v, low, high) },
		"part":    percentWithInterval,
	}, struct {
		*driftReport
		Choice            *choiceReport
		Meaning, Method   []string
		Unmoved           string
		Front, Perplexity template.HTML
		Layers, Routers   template.HTML
	}{r, r.choice, r.meaning(), r.method(), strings.Join(unmoved, ", "), r.frontChart(), r.perplexityChart(), r.layerChart(), r.routerChart()})
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
	var beaten []string
	var good *driftCandidate
	for i, c := range r.Candidates {
		switch {
		case slices.ContainsFunc(r.Candidates, func(other driftCandidate) bool { return other.Bytes <= c.Bytes && c.further(other) }):
			beaten = append(beaten, c.Name)
		case c.KLDHigh != nil && *c.KLDHigh <= closeEnough && (good == nil || c.Bytes < good.Bytes):
			good = &r.Candidates[i]
		}
	}
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

// further reports whether a candidate is further from the original than another, window by window
// and by more than chance.
func (c driftCandidate) further(other driftCandidate) bool {
	difference, err := drift.Difference(c.result(), other.result())
	if err != nil {
		return false // of another run
	}
	low, _ := difference.Interval(interval.Level)
	return low > 0
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

// frontChart shows size against divergence.
func (r *driftReport) frontChart() template.HTML {
	const height, left, right, top, bottom = 310., 74., chartWidth - 12, 12., 262.
	low, high, most := math.Inf(1), 0., 0.
	for _, c := range r.Candidates {
		if c.KLD > 0 {
			low, high = min(low, c.KLD), max(high, orElse(c.KLDHigh, c.KLD))
		}
		most = max(most, c.BPW)
	}
	if high == 0 {
		return "" // none differs
	}
	x, y := newAxis(0, most, left, right), newLogAxis(low, high, bottom, top)
	var s svg
	for _, v := range x.ticks() {
		s.line("grid", "", x.at(v), top, x.at(v), bottom)
		s.text("tick", "middle", x.at(v), bottom+18, tickText(v))
	}
	for _, v := range y.ticks() {
		s.line("grid", "", left, y.at(v), right, y.at(v))
		s.text("tick", "end", left-6, y.at(v)+4, tickText(v))
	}
	s.text("tick", "middle", (left+right)/2, bottom+40, "bits per weight")
	fmt.Fprintf(&s.b, "<text class=\"tick\" text-anchor=\"middle\" transform=\"translate(14 %.0f) rotate(-90)\">mean KL divergence, nats</text>\n", (top+bottom)/2)
	place := func(c driftCandidate) point { return point{x.at(c.BPW), y.at(c.KLD)} }
	var front []point
	for _, c := range r.pareto() {
		if c.KLD > 0 {
			front = append(front, place(c))
		}
	}
	if len(front) > 1 {
		s.path("front", "", front)
	}
	for _, c := range r.Candidates {
		if c.KLD > 0 {
			s.keepFree(place(c))
		}
	}
	for _, c := range r.Candidates {
		if c.KLD <= 0 {
			continue
		}
		p := place(c)
		s.line("interval", c.describe(), p.x, y.at(orElse(c.KLDLow, c.KLD)), p.x, y.at(orElse(c.KLDHigh, c.KLD)))
		class := "dot"
		if r.choice != nil && c.Name == r.choice.Chosen.Name {
			class = "dot chosen"
		}
		s.element("circle", class, c.describe(), `cx="%.1f" cy="%.1f" r="4.5"`, p.x, p.y)
		s.label(p, shortName(c.Name), box{left, top - 4, chartWidth, bottom})
	}
	return s.done(height, "bits per weight against mean KL divergence")
}

// nameWidth is how much room the names of candidates get at the left of a chart.
func (r *driftReport) nameWidth() float64 {
	width := 40.
	for _, c := range r.Candidates {
		width = max(width, textWidth(shortName(c.Name)))
	}
	return width + 14
}

// shortName cuts the middle out of names that would take too much of a chart.
func shortName(name string) string {
	const longest = 16
	runes := []rune(name)
	if len(runes) <= longest {
		return name
	}
	return string(runes[:6]) + "…" + string(runes[len(runes)-longest+7:])
}

const rowHeight = 26.

// perplexityChart shows how much the perplexities differ from the original's.
func (r *driftReport) perplexityChart() template.HTML {
	left, right := r.nameWidth(), chartWidth-80.
	low, high := 0., 0.
	change := func(ratio float64) float64 { return 100 * (ratio - 1) }
	ends := func(c driftCandidate) (low, high float64) {
		return change(orElse(c.PPLRatioLow, c.PPLRatio)), change(orElse(c.PPLRatioHigh, c.PPLRatio))
	}
	for _, c := range r.Candidates {
		from, to := ends(c)
		low, high = min(low, from), max(high, to)
	}
	x := newAxis(low, high, left, right)
	bottom := rowHeight*float64(len(r.Candidates)) + 4
	var s svg
	for _, v := range x.ticks() {
		s.line("grid", "", x.at(v), 4, x.at(v), bottom)
		s.text("tick", "middle", x.at(v), bottom+18, tickText(v))
	}
	for i, c := range r.Candidates {
		v := change(c.PPLRatio)
		from, to := ends(c)
		y := 4 + rowHeight*(float64(i)+0.5)
		title := fmt.Sprintf("%s: perplexity %.4f, the original's is %.4f, ratio %s", c.Name, c.PPL, r.Base.PPL, withInterval("%.4f", c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh))
		s.text("label", "end", left-8, y+4, shortName(c.Name))
		s.element("rect", "bar", title, `x="%.1f" y="%.1f" width="%.1f" height="14"`, x.at(min(0, v)), y-7, x.at(max(0, v))-x.at(min(0, v)))
		s.line("interval", title, x.at(from), y, x.at(to), y)
		s.text("label", "start", right+8, y+4, fmt.Sprintf("%+.2f %%", v))
	}
	s.line("zero", "", x.at(0), 4, x.at(0), bottom)
	s.text("tick", "middle", (left+right)/2, bottom+40, "change of perplexity, %")
	return s.done(bottom+50, "change of the perplexity of each candidate")
}

// layerChart shows how the error of the hidden states grows from layer to layer.
func (r *driftReport) layerChart() template.HTML {
	const height, left, right, top, bottom = 290., 74., chartWidth - 12, 12., 242.
	low, high, layers := math.Inf(1), 0., 0
	values := func(c driftCandidate) []float64 {
		v := []float64{c.Embedding}
		for _, l := range c.Layers {
			v = append(v, l.Hidden)
		}
		return v
	}
	for _, c := range r.Candidates {
		layers = len(c.Layers)
		for _, v := range values(c) {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return ""
	}
	x, y := axis{low: 0, high: float64(layers), from: left + 14, to: right - 8}, newLogAxis(low, high, bottom, top)
	var s svg
	for _, v := range y.ticks() {
		s.line("grid", "", left, y.at(v), right, y.at(v))
		s.text("tick", "end", left-6, y.at(v)+4, tickText(v))
	}
	step := max(1, (layers+7)/8)
	s.text("tick", "middle", x.at(0), bottom+18, "in")
	for l := step - 1; l < layers; l += step {
		s.text("tick", "middle", x.at(float64(l+1)), bottom+18, fmt.Sprint(l))
	}
	s.text("tick", "middle", (left+right)/2, bottom+40, "after layer (in: embeddings)")
	fmt.Fprintf(&s.b, "<text class=\"tick\" text-anchor=\"middle\" transform=\"translate(14 %.0f) rotate(-90)\">relative error</text>\n", (top+bottom)/2)
	for i, c := range r.Candidates {
		var points []point
		for l, v := range values(c) {
			if v > 0 {
				points = append(points, point{x.at(float64(l)), y.at(v)})
			}
		}
		if len(points) == 0 {
			continue
		}
		class := r.Series(i)
		s.path(class, c.Name, points)
		for l, v := range values(c) {
			if v > 0 {
				s.element("circle", class, fmt.Sprintf("%s: %.4g", c.Name, v), `cx="%.1f" cy="%.1f" r="2.5"`, x.at(float64(l)), y.at(v))
			}
		}
	}
	return s.done(height, "relative error of the hidden states after each layer")
}

// Series returns the style of a candidate's line: one of eight colours and four
// kinds of dashes, no two the same until all are used.
func (r *driftReport) Series(candidate int) string {
	return fmt.Sprintf("series c%d d%d", candidate%8, (candidate+candidate/8)%4)
}

// routerChart shows how often the routers choose the experts of the original.
func (r *driftReport) routerChart() template.HTML {
	if len(r.Candidates) == 0 || r.Candidates[0].Router == nil {
		return ""
	}
	left, right := r.nameWidth(), chartWidth-64.
	lowest := 1.
	for _, c := range r.Candidates {
		for _, l := range c.Layers {
			if l.SameExperts != nil {
				lowest = min(lowest, *l.SameExperts)
			}
		}
	}
	var s svg
	layers := len(r.Candidates[0].Layers)
	width := (right - left) / float64(layers)
	step := max(1, int(math.Ceil(24/width)))
	for l := 0; l < layers; l += step {
		s.text("tick", "middle", left+width*(float64(l)+0.5), 14, fmt.Sprint(l))
	}
	s.text("tick", "start", right+8, 14, "mean")
	for i, c := range r.Candidates {
		y := 20 + rowHeight*float64(i)
		s.text("label", "end", left-8, y+rowHeight/2+4, shortName(c.Name))
		for _, l := range c.Layers {
			if l.SameExperts == nil {
				continue
			}
			x := left + width*float64(l.Layer)
			other := 1 - *l.SameExperts
			s.element("rect", "heat", fmt.Sprintf("%s, layer %d: %.2f %% of the tokens go to the same experts, %.2f %% to the same one first", c.Name, l.Layer, 100**l.SameExperts, 100**l.SameFirstExpert),
				`x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill-opacity="%.3f"`, x, y, max(0.5, width-1), rowHeight-1, darkest*other/max(1-lowest, 1e-9))
			if width >= 44 {
				s.text("inside", "middle", x+width/2, y+rowHeight/2+4, fmt.Sprintf("%.1f", 100**l.SameExperts))
			}
		}
		s.text("label", "start", right+8, y+rowHeight/2+4, fmt.Sprintf("%.2f", 100**c.Router))
	}
	return s.done(20+rowHeight*float64(len(r.Candidates))+6, "tokens that the routers send to the same experts as the original, in percent")
}

// shade is the opacity of a cell of the matrix of texts: the more drift, the
// more, in proportion to its logarithm.
func (r *driftReport) shade(kld float64) string {
	low, high := math.Inf(1), 0.
	for _, c := range r.Candidates {
		for _, text := range c.ByText {
			if text.KLD > 0 {
				low, high = min(low, text.KLD), max(high, text.KLD)
			}
		}
	}
	if kld <= 0 || high <= low {
		return "0"
	}
	return fmt.Sprintf("%.3f", darkest*math.Log(kld/low)/math.Log(high/low))
}
