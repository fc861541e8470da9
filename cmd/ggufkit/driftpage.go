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

// meaning says what the figures mean, in two sentences.
func (r *driftReport) meaning() []string {
	const bound = 0.01
	var good *driftCandidate
	for i, c := range r.Candidates {
		if c.PPLRatio+drift.Z95*c.PPLRatioError <= 1+bound && (good == nil || c.Bytes < good.Bytes) {
			good = &r.Candidates[i]
		}
	}
	sentences := []string{"No candidate is sure to keep the perplexity within 1 % of the original's on these texts."}
	if good != nil {
		sentences[0] = fmt.Sprintf("%s is the smallest that is sure to keep the perplexity within 1 %% of the original's on these texts: it has %.0f %% of the original's size, and the token that it thinks most likely is the original's in %.1f %% of all places.",
			good.Name, 100*float64(good.Bytes)/float64(r.Base.Bytes), 100*good.SameTop)
	}
	front := make(map[string]bool)
	for _, c := range r.pareto() {
		front[c.Name] = true
	}
	var beaten []string
	for _, c := range r.Candidates {
		if !front[c.Name] {
			beaten = append(beaten, c.Name)
		}
	}
	if n := len(beaten) - 1; n >= 0 {
		names := beaten[n]
		if n > 0 {
			names = strings.Join(beaten[:n], ", ") + " or " + names
		}
		return append(sentences, fmt.Sprintf("There is no reason to take %s, as another candidate is at most as large and at least as close to the original.", names))
	}
	return append(sentences, "The choice is one of size: every larger candidate is closer to the original.")
}

// describe says all about a candidate's place in the charts.
func (c driftCandidate) describe() string {
	return fmt.Sprintf("%s: %s, %.2f bits per weight, KL divergence %.5f ± %.5f, perplexity %.3f", c.Name, bytesText(c.Bytes), c.BPW, c.KLD, c.KLDError, c.PPL)
}

// frontChart shows size against divergence.
func (r *driftReport) frontChart() template.HTML {
	const height, left, right, top, bottom = 310., 74., chartWidth - 12, 12., 262.
	low, high, most := math.Inf(1), 0., 0.
	for _, c := range r.Candidates {
		if c.KLD > 0 {
			low, high = min(low, c.KLD), max(high, c.KLD+drift.Z95*c.KLDError)
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
		s.line("interval", c.describe(), p.x, y.at(c.KLD-drift.Z95*c.KLDError), p.x, y.at(c.KLD+drift.Z95*c.KLDError))
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
	change := func(c driftCandidate) (v, deviation float64) {
		return 100 * (c.PPLRatio - 1), 100 * drift.Z95 * c.PPLRatioError
	}
	for _, c := range r.Candidates {
		v, deviation := change(c)
		low, high = min(low, v-deviation), max(high, v+deviation)
	}
	x := newAxis(low, high, left, right)
	bottom := rowHeight*float64(len(r.Candidates)) + 4
	var s svg
	for _, v := range x.ticks() {
		s.line("grid", "", x.at(v), 4, x.at(v), bottom)
		s.text("tick", "middle", x.at(v), bottom+18, tickText(v))
	}
	for i, c := range r.Candidates {
		v, deviation := change(c)
		y := 4 + rowHeight*(float64(i)+0.5)
		title := fmt.Sprintf("%s: perplexity %.4f ± %.4f, the original's is %.4f ± %.4f", c.Name, c.PPL, c.PPLError, r.Base.PPL, r.Base.PPLError)
		s.text("label", "end", left-8, y+4, shortName(c.Name))
		s.element("rect", "bar", title, `x="%.1f" y="%.1f" width="%.1f" height="14"`, x.at(min(0, v)), y-7, x.at(max(0, v))-x.at(min(0, v)))
		s.line("interval", title, x.at(v-deviation), y, x.at(v+deviation), y)
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
