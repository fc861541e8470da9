package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// svg is a chart in the making. What it looks like is the style sheet's matter.
type svg struct {
	b strings.Builder
}

// chartWidth is how wide charts are, such that text of 13 units can be read on a phone,
// where a chart is about 360 pixels wide.
const chartWidth = 420.

// darkest is the opacity of the darkest cell of a heat map, on which text can
// still be read.
const darkest = 0.5

// element adds an element without content, or with a title that is shown when
// it is pointed at.
func (s *svg) element(name, class, title, format string, args ...any) {
	fmt.Fprintf(&s.b, "<%s class=%q %s>", name, class, fmt.Sprintf(format, args...))
	if title != "" {
		fmt.Fprintf(&s.b, "<title>%s</title>", html.EscapeString(title))
	}
	fmt.Fprintf(&s.b, "</%s>\n", name)
}

func (s *svg) line(class, title string, x0, y0, x1, y1 float64) {
	s.element("line", class, title, `x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"`, x0, y0, x1, y1)
}

func (s *svg) path(class, title string, points []point) {
	var d strings.Builder
	for i, p := range points {
		fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], p.x, p.y)
	}
	s.element("path", class, title, `d="%s"`, d.String())
}

type point struct{ x, y float64 }

// text writes a text at a point: anchor is start, middle or end.
func (s *svg) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(&s.b, "<text class=%q text-anchor=%q x=\"%.1f\" y=\"%.1f\">%s</text>\n", class, anchor, x, y, html.EscapeString(text))
}

// textWidth is about how wide a text of 13 units is at most.
func textWidth(text string) float64 { return 8.3 * float64(utf8.RuneCountInString(text)) }

// place writes a label where there is room for it, with a line to its dot if that is not beside it.
func (s *svg) place(class string, p place, text string) {
	if p.leader != nil {
		s.line("leader", "", p.leader.from.x, p.leader.from.y, p.leader.to.x, p.leader.to.y)
	}
	s.text(class, "middle", (p.x0+p.x1)/2, p.y1-3, text)
}

// grid draws the lines of two axes between their ends, and writes what they say.
func (s *svg) grid(x, y axis, xName, yName string) {
	if !x.log && x.step > 0 {
		for _, v := range x.ticks() {
			s.line("grid", "", x.at(v), y.to, x.at(v), y.from)
			s.text("tick", "middle", x.at(v), y.from+18, tickText(v))
		}
	}
	for _, v := range y.ticks() {
		s.line("grid", "", x.from, y.at(v), x.to, y.at(v))
		s.text("tick", "end", x.from-6, y.at(v)+4, tickText(v))
	}
	s.text("tick", "middle", (x.from+x.to)/2, y.from+40, xName)
	fmt.Fprintf(&s.b, "<text class=\"tick\" text-anchor=\"middle\" transform=\"translate(14 %.0f) rotate(-90)\">%s</text>\n", (y.from+y.to)/2, yName)
}

// ends writes the names of lines beside their right ends, apart from each other.
func (s *svg) ends(classes, names []string, ends []point, x, low, high float64) {
	var heights []float64
	for _, p := range ends {
		heights = append(heights, p.y)
	}
	for i, y := range spread(heights, labelHeight+1, low, high) {
		s.line("leader", "", ends[i].x+4, ends[i].y, x-3, y)
		s.text(classes[i], "start", x, y+4, names[i])
	}
}

// done returns the chart.
func (s *svg) done(class string, width, height float64, description string) template.HTML {
	return template.HTML(fmt.Sprintf("<svg class=%q viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=%q>\n%s</svg>", class, width, height,
		html.EscapeString(description), s.b.String()))
}

// axis maps values to units of a chart.
type axis struct {
	low, high float64 // values
	from, to  float64 // where they are
	step      float64 // between ticks, unless there are decades
	log       bool
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log(max(v, low)), math.Log(low), math.Log(high)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// newAxis returns an axis whose ends are ticks around the values from low to high.
func newAxis(low, high, from, to float64) axis {
	if high <= low {
		high = low + 1
	}
	step := niceStep((high - low) / 5)
	return axis{low: math.Floor(low/step) * step, high: math.Ceil(high/step) * step, from: from, to: to, step: step}
}

// dataAxis returns an axis that begins and ends a little beyond the values from low to high.
func dataAxis(low, high, from, to float64) axis {
	room := 0.05 * (high - low)
	if room <= 0 {
		room = max(0.05*math.Abs(high), 1e-9)
	}
	low, high = low-room, high+room
	return axis{low: low, high: high, from: from, to: to, step: niceStep((high - low) / 5)}
}

// dataLogAxis is dataAxis for the logarithms of values above 0.
func dataLogAxis(low, high, from, to float64) axis {
	room := max(math.Pow(high/low, 0.06), 1.15)
	return axis{low: low / room, high: high * room, from: from, to: to, log: true}
}

// tickText writes a tick without what is too small to be more than rounding.
func tickText(v float64) string {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64) // cannot fail
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

// niceStep returns the next larger of 1, 2 and 5 times a power of ten.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= v*(1-1e-9) {
			return factor * power
		}
	}
	return 10 * power
}

// ticks returns values to write beside an axis.
func (a axis) ticks() []float64 {
	var ticks []float64
	if !a.log {
		for i := math.Ceil(a.low/a.step - 1e-9); i <= math.Floor(a.high/a.step+1e-9); i++ {
			ticks = append(ticks, i*a.step+0) // never -0
		}
		return ticks
	}
	factors := []float64{1}
	if a.high/a.low < 300 {
		factors = []float64{1, 2, 5}
	}
	for e := math.Floor(math.Log10(a.low)); e <= math.Ceil(math.Log10(a.high)); e++ {
		for _, factor := range factors {
			if v := factor * math.Pow(10, e); v >= a.low && v <= a.high {
				ticks = append(ticks, v)
			}
		}
	}
	return ticks
}
