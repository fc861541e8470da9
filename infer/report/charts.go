package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/infer/display"
)

// band is a range of divergences: from the end of the one before to its own.
type band struct {
	Below float64 // nats
	word  string
	// Moved is the part of the probability that moves from some tokens to others at the upper
	// end, in the mean and at most: by Pinsker's inequality, √(Below / 2).
	Moved float64
}

// bands say what a divergence means.
var bands = []band{
	{0.001, "hardly any", math.Sqrt(0.001 / 2)},
	{0.01, "small", math.Sqrt(0.01 / 2)},
	{0.1, "noticeable", math.Sqrt(0.1 / 2)},
	{math.Inf(1), "large", 1},
}

// bandOf returns the word for a divergence.
func bandOf(kld float64) string {
	return bands[slices.IndexFunc(bands, func(b band) bool { return kld < b.Below })].word
}

// isChosen reports whether a candidate is the one to take.
func (r *view) isChosen(c Candidate) bool { return c.Name == r.take }

// class returns the classes of what belongs to a candidate.
func (r *view) class(class string, c Candidate) string {
	if r.isChosen(c) {
		return class + " chosen"
	}
	return class
}

// drawOrder returns the candidates with the one to take last, which is in front.
func (r *view) drawOrder() []Candidate {
	order := slices.Clone(r.Candidates)
	if at := slices.IndexFunc(order, r.isChosen); at >= 0 {
		order = append(slices.Delete(order, at, at+1), r.Candidates[at])
	}
	return order
}

// moved returns the candidates that differ from the original at all.
func (r *Drift) moved() []Candidate {
	return slices.DeleteFunc(slices.Clone(r.Candidates), func(c Candidate) bool { return c.KLD <= 0 })
}

// sizeUnit returns the unit for the sizes of some candidates, and how many bytes it has.
func sizeUnit(of []Candidate) (name string, bytes float64) {
	var most int64
	for _, c := range of {
		most = max(most, c.Bytes)
	}
	if most >= 1000<<20 {
		return "GiB", 1 << 30
	}
	return "MiB", 1 << 20
}

// sizeAxis returns an axis for the sizes of some candidates, and its name.
func sizeAxis(of []Candidate, from, to float64) (x axis, name string, at func(Candidate) float64) {
	unit, bytes := sizeUnit(of)
	low, high := math.Inf(1), 0.
	for _, c := range of {
		low, high = min(low, float64(c.Bytes)/bytes), max(high, float64(c.Bytes)/bytes)
	}
	x = dataAxis(low, high, from, to)
	return x, "size of the file, " + unit, func(c Candidate) float64 { return x.at(float64(c.Bytes) / bytes) }
}

// Charts are as wide as a phone takes them, and one is there for wide screens too.
const (
	wideChart   = 900.
	leftOfChart = 74.
)

// front is the layout of the chart that shows size against divergence.
type front struct {
	width, height float64
	plot          box
	x, y          axis
	xName         string
	bands         []bandName
	order         []Candidate // in which the dots are drawn
	best          []point     // of those that none beats in both, from small to large
	whiskers      []segment
	labelling
}

// bandName is where the name of a band is written.
type bandName struct {
	word   string  // "" if there is no room for it
	limit  float64 // the upper end of the band, 0 if that is not in the chart
	anchor string
	at     point
}

// newFront arranges the candidates that differ from the original, of which there must be one. A
// wide chart has what divergences mean beside it.
func newFront(r *view, width float64) *front {
	f := &front{width: width, height: 460}
	right := width - 10
	if f.wide() {
		right = width - 150
	}
	f.plot = box{leftOfChart, 10, right, f.height - 48}
	f.within = f.plot
	f.order = slices.DeleteFunc(r.drawOrder(), func(c Candidate) bool { return c.KLD <= 0 })
	low, high := math.Inf(1), 0.
	for _, c := range f.order {
		low, high = min(low, c.KLD), max(high, orElse(c.KLDHigh, c.KLD))
	}
	var at func(Candidate) float64
	f.x, f.xName, at = sizeAxis(f.order, f.plot.x0, f.plot.x1)
	f.y = dataLogAxis(low, high, f.plot.y1, f.plot.y0)
	position := func(c Candidate) point { return point{at(c), f.y.at(c.KLD)} }
	for _, c := range r.pareto() {
		if c.KLD > 0 {
			f.best = append(f.best, position(c))
		}
	}
	for i := 1; i < len(f.best); i++ {
		f.lines = append(f.lines, segment{f.best[i-1], f.best[i]})
	}
	for _, c := range f.order {
		p := position(c)
		f.whiskers = append(f.whiskers, segment{point{p.x, f.y.at(orElse(c.KLDLow, c.KLD))}, point{p.x, f.y.at(orElse(c.KLDHigh, c.KLD))}})
		f.labels = append(f.labels, label{p, r.nameLength(c)})
	}
	f.lines = append(f.lines, f.whiskers...)
	f.nameBands()
	return f
}

func (f *front) wide() bool { return f.width > chartWidth }

// nameBands finds room for the names of the bands that the chart reaches into.
func (f *front) nameBands() {
	from := f.y.low
	for _, b := range bands {
		to := min(b.Below, f.y.high)
		if from >= to {
			continue
		}
		upper, lower := f.y.at(to), f.y.at(from)
		from = to
		var name bandName
		if to == b.Below {
			name.limit = to
			f.lines = append(f.lines, segment{point{f.plot.x0, upper}, point{f.plot.x1, upper}})
		}
		if lower-upper >= labelHeight+4 {
			f.nameBand(&name, b.word+" drift", upper, lower)
		}
		f.bands = append(f.bands, name)
	}
}

// nameBand finds room for the name of the band between two heights: beside a wide chart, else in a
// corner of the band where no dot is.
func (f *front) nameBand(name *bandName, word string, upper, lower float64) {
	if f.wide() {
		name.word, name.anchor, name.at = word, "start", point{f.plot.x1 + 10, (upper+lower)/2 + 4}
		return
	}
	w := textWidth(word)
	for _, top := range []float64{upper + 2, lower - labelHeight - 2} {
		for _, left := range []float64{f.plot.x1 - w - 4, f.plot.x0 + 4} {
			b := box{left, top, left + w, top + labelHeight}
			if !slices.ContainsFunc(f.labels, func(l label) bool { return b.distance(l.dot) < dotRadius }) {
				name.word, name.anchor, name.at = word, "middle", point{left + w/2, top + labelHeight - 3}
				f.taken = append(f.taken, b)
				return
			}
		}
	}
}

// frontChart draws size against divergence. It names the candidates for whose labels there was no
// room.
func (r *view) frontChart(width float64) (chart template.HTML, unnamed []string) {
	if len(r.moved()) == 0 {
		return "", nil
	}
	f := newFront(r, width)
	var s svg
	s.grid(f.x, f.y, f.xName, "mean KL divergence, nats")
	for _, b := range f.bands {
		if b.limit > 0 {
			s.line("limit", "", f.plot.x0, f.y.at(b.limit), f.plot.x1, f.y.at(b.limit))
		}
		if b.word != "" {
			s.text("band", b.anchor, b.at.x, b.at.y, b.word)
		}
	}
	if len(f.best) > 1 {
		s.path("front", "", f.best)
	}
	for i, p := range f.places() {
		if p.found {
			s.place(r.class("label", f.order[i]), p, r.label(f.order[i]))
		} else {
			unnamed = append(unnamed, f.order[i].Name)
		}
	}
	for i, c := range f.order {
		class, dot, whisker := r.class(markOf(c.Format).class, c), f.labels[i].dot, f.whiskers[i]
		if !slices.Contains(f.best, dot) {
			class += " beaten"
		}
		s.line("interval", c.describe(), whisker.from.x, whisker.from.y, whisker.to.x, whisker.to.y)
		s.mark(markOf(c.Format), class, c.describe(), dot)
	}
	class := "narrow"
	if f.wide() {
		class = "across"
	}
	return s.done(class, f.width, f.height, "size of the file against mean KL divergence"), unnamed
}

// textChart shows the divergence on each text against size, of the candidates that none beats in
// both.
func (r *view) textChart() template.HTML {
	shown := slices.DeleteFunc(r.pareto(), func(c Candidate) bool { return c.KLD <= 0 })
	if len(r.Texts) < 2 || len(shown) == 0 {
		return ""
	}
	const top, bottom = 10., 332.
	widest, low, high := 0., math.Inf(1), 0.
	for t, text := range r.Texts {
		widest = max(widest, bold*textWidth(shortName(display.Stem(text.File))))
		for _, c := range shown {
			if v := c.ByText[t].KLD; v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return ""
	}
	right := chartWidth - widest - 22
	x, name, at := sizeAxis(shown, leftOfChart, right)
	y := dataLogAxis(low, high, bottom, top)
	var s svg
	s.grid(x, y, name, "mean KL divergence, nats")
	worst := r.worstText(shown)
	var classes, names []string
	var ends []point
	for t, text := range r.Texts {
		class, labelClass := "series", "label"
		if t == worst {
			class, labelClass = "series chosen", "label chosen"
		}
		var points []point
		for _, c := range shown {
			if v := c.ByText[t].KLD; v > 0 {
				points = append(points, point{at(c), y.at(v)})
			}
		}
		if len(points) == 0 {
			continue
		}
		s.path(class, display.Stem(text.File), points)
		for _, c := range shown {
			if m := c.ByText[t]; m.KLD > 0 {
				s.element("circle", class, fmt.Sprintf("%s on %s: %s", c.Name, display.Stem(text.File), withInterval("%.5f", m.KLD, m.KLDLow, m.KLDHigh)),
					`cx="%.1f" cy="%.1f" r="3"`, at(c), y.at(m.KLD))
			}
		}
		classes = append(classes, labelClass)
		names = append(names, shortName(display.Stem(text.File)))
		ends = append(ends, points[len(points)-1])
	}
	s.ends(classes, names, ends, right+18, top+4, bottom)
	for _, c := range shown {
		if r.isChosen(c) {
			s.line("limit", c.Name, at(c), top, at(c), bottom)
		}
	}
	return s.done("narrow", chartWidth, bottom+50, "size of the file against mean KL divergence, for each text")
}

// worstText returns the text on which the one to take loses the most or, if there is none, all
// candidates together.
func (r *view) worstText(candidates []Candidate) int {
	sums := make([]float64, len(r.Texts))
	for _, c := range candidates {
		if r.take != "" && !r.isChosen(c) {
			continue
		}
		for t, m := range c.ByText {
			sums[t] += m.KLD
		}
	}
	worst := 0
	for t, sum := range sums {
		if sum > sums[worst] {
			worst = t
		}
	}
	return worst
}

// nameLength is how wide the name of a candidate is in a chart.
func (r *view) nameLength(c Candidate) float64 {
	width := textWidth(r.label(c))
	if r.isChosen(c) {
		width *= bold
	}
	return width
}

// bold is how much wider text in bold is.
const bold = 1.12

// nameWidth is how much room the names of candidates get at the left of a chart.
func (r *view) nameWidth() float64 {
	width := 40.
	for _, c := range r.Candidates {
		width = max(width, r.nameLength(c))
	}
	return width + 14
}

// longestName is how many characters of a name there is room for in a chart.
const longestName = 16

// shortName cuts the middle out of names that would take too much of a chart.
func shortName(name string) string {
	runes := []rune(name)
	if len(runes) <= longestName {
		return name
	}
	return string(runes[:6]) + "…" + string(runes[len(runes)-longestName+7:])
}

const rowHeight = 26.

// perplexityChart shows how much the perplexities differ from the original's.
func (r *view) perplexityChart() template.HTML {
	left, right := r.nameWidth(), chartWidth-80.
	low, high := 0., 0.
	change := func(ratio float64) float64 { return 100 * (ratio - 1) }
	ends := func(c Candidate) (low, high float64) {
		return change(orElse(c.PPLRatioLow, c.PPLRatio)), change(orElse(c.PPLRatioHigh, c.PPLRatio))
	}
	for _, c := range r.Candidates {
		from, to := ends(c)
		low, high = min(low, from), max(high, to)
	}
	x := dataAxis(low, high, left, right)
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
		title := fmt.Sprintf("%s: perplexity %.4f, the %s's is %.4f, ratio %s", c.Name, c.PPL, r.Base.noun(), r.Base.PPL,
			withInterval("%.4f", c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh))
		s.text(r.class("label", c), "end", left-8, y+4, r.label(c))
		s.element("rect", r.class("bar", c), title, `x="%.1f" y="%.1f" width="%.1f" height="14"`, x.at(min(0, v)), y-7, x.at(max(0, v))-x.at(min(0, v)))
		s.line("interval", title, x.at(from), y, x.at(to), y)
		s.text(r.class("label", c), "start", right+8, y+4, fmt.Sprintf("%+.2f %%", v))
	}
	s.line("zero", "", x.at(0), 4, x.at(0), bottom)
	s.text("tick", "middle", (left+right)/2, bottom+40, "change of perplexity, %")
	return s.done("narrow", chartWidth, bottom+50, "change of the perplexity of each candidate")
}

// layerChart shows how the error of the hidden states grows from layer to layer.
func (r *view) layerChart() template.HTML {
	// Errors that are no more than the rounding of float32 are left out: embeddings that are
	// float16 and not bfloat16 have such.
	const rounding = 1e-7
	values := func(c Candidate) []float64 {
		v := []float64{c.Embedding}
		for _, l := range c.Layers {
			v = append(v, l.Hidden)
		}
		for i := range v {
			if v[i] < rounding {
				v[i] = 0
			}
		}
		return v
	}
	low, high, layers := math.Inf(1), 0., 0
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
	const top = 10.
	bottom := top + max(232, (labelHeight+1)*float64(len(r.Candidates)))
	right := chartWidth - r.nameWidth() - 6
	x, y := axis{low: 0, high: float64(layers), from: leftOfChart, to: right}, dataLogAxis(low, high, bottom, top)
	var s svg
	s.grid(x, y, "after layer (in: embeddings)", "relative error")
	step := max(1, (layers+6)/7)
	s.text("tick", "middle", x.at(0), bottom+18, "in")
	for l := step - 1; l < layers; l += step {
		s.text("tick", "middle", x.at(float64(l+1)), bottom+18, fmt.Sprint(l))
	}
	var classes, names []string
	var ends []point
	for _, c := range r.drawOrder() {
		var points []point
		for l, v := range values(c) {
			if v > 0 {
				points = append(points, point{x.at(float64(l)), y.at(v)})
			}
		}
		if len(points) == 0 {
			continue
		}
		class := r.class("series", c)
		s.path(class, c.Name, points)
		for l, v := range values(c) {
			if v > 0 {
				s.element("circle", class, fmt.Sprintf("%s: %.4g", c.Name, v), `cx="%.1f" cy="%.1f" r="2.5"`, x.at(float64(l)), y.at(v))
			}
		}
		classes = append(classes, r.class("label", c))
		names = append(names, r.label(c))
		ends = append(ends, points[len(points)-1])
	}
	s.ends(classes, names, ends, right+18, top+4, bottom)
	return s.done("narrow", chartWidth, bottom+50, "relative error of the hidden states after each layer")
}

// routerChart shows how often the routers choose the experts of the original.
func (r *view) routerChart() template.HTML {
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
		s.text(r.class("label", c), "end", left-8, y+rowHeight/2+4, r.label(c))
		for _, l := range c.Layers {
			if l.SameExperts == nil {
				continue
			}
			x := left + width*float64(l.Layer)
			other := 1 - *l.SameExperts
			s.element("rect", "heat", fmt.Sprintf("%s, layer %d: %.2f %% of the tokens go to the same experts, %.2f %% to the same one first", c.Name,
				l.Layer, 100**l.SameExperts, 100**l.SameFirstExpert),
				`x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill-opacity="%.3f"`, x, y, max(0.5, width-1), rowHeight-1, darkest*other/max(1-lowest, 1e-9))
			if width >= 44 {
				s.text("inside", "middle", x+width/2, y+rowHeight/2+4, fmt.Sprintf("%.1f", 100**l.SameExperts))
			}
		}
		s.text(r.class("label", c), "start", right+8, y+rowHeight/2+4, fmt.Sprintf("%.2f", 100**c.Router))
	}
	return s.done("narrow", chartWidth, 20+rowHeight*float64(len(r.Candidates))+6,
		fmt.Sprintf("tokens that the routers send to the same experts as the %s, in percent", r.Base.noun()))
}

// shade is the opacity of a cell of the matrix of texts: the more drift, the
// more, in proportion to its logarithm.
func (r *view) shade(kld float64) string {
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

// describe says all about a candidate's place in the charts.
func (c Candidate) describe() string {
	name := c.Name
	if c.IsPacked() {
		name += ", " + c.What()
	}
	return fmt.Sprintf("%s: %s, %.2f bits per weight, KL divergence %s, perplexity %.3f", name, display.Bytes(c.Bytes), c.BPW,
		withInterval("%.5f", c.KLD, c.KLDLow, c.KLDHigh), c.PPL)
}

// orElse returns what v points to, or what there is instead.
func orElse(v *float64, instead float64) float64 {
	if v == nil {
		return instead
	}
	return *v
}
