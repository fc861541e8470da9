package main

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// svg is a chart in the making, chartWidth units wide. What it looks like is the
// style sheet's matter.
type svg struct {
	b      strings.Builder
	labels []box
}

// chartWidth is such that text of 13 units can be read on a phone, where a
// chart is about 360 pixels wide.
const chartWidth = 420.

// darkest is the opacity of the darkest cell of a heat map, on which text can
// still be read.
const darkest = 0.5

type box struct{ x0, y0, x1, y1 float64 }

func (a box) overlaps(b box) bool {
	return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1
}

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

// keepFree has label put nothing around a point.
func (s *svg) keepFree(p point) {
	s.labels = append(s.labels, box{p.x - 5, p.y - 5, p.x + 5, p.y + 5})
}

// label writes a text beside a point where it covers nothing, further away with
// a line to it if there is no room, or not at all.
func (s *svg) label(p point, text string, within box) {
	w := textWidth(text)
	for _, distance := range []float64{1, 3, 5, 7} {
		for _, at := range []struct {
			anchor string
			dx, dy float64
		}{{"start", 8, 4}, {"end", -8, 4}, {"middle", 0, -10}, {"middle", 0, 18}, {"start", 8, 16}, {"start", 8, -8}, {"end", -8, 16}, {"end", -8, -8}} {
			x, y := p.x+distance*at.dx, p.y+4+distance*(at.dy-4)
			left := x - w*map[string]float64{"start": 0, "middle": 0.5, "end": 1}[at.anchor]
			b := box{left, y - 11, left + w, y + 3}
			free := b.x0 >= within.x0 && b.x1 <= within.x1 && b.y0 >= within.y0 && b.y1 <= within.y1
			for _, other := range s.labels {
				free = free && !b.overlaps(other)
			}
			if !free {
				continue
			}
			s.labels = append(s.labels, b)
			if distance > 1 {
				s.line("leader", "", p.x, p.y, max(b.x0, min(b.x1, p.x)), max(b.y0, min(b.y1, p.y)))
			}
			s.text("label", at.anchor, x, y, text)
			return
		}
	}
}

// done returns the chart.
func (s *svg) done(height float64, description string) template.HTML {
	return template.HTML(fmt.Sprintf("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=%q>\n%s</svg>", chartWidth, height, html.EscapeString(description), s.b.String()))
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

// newLogAxis returns one of whole decades, for values above 0.
func newLogAxis(low, high, from, to float64) axis {
	a := axis{low: math.Pow(10, math.Floor(math.Log10(low))), high: math.Pow(10, math.Ceil(math.Log10(high))), from: from, to: to, log: true}
	if a.high <= a.low {
		a.high = 10 * a.low
	}
	return a
}

// tickText writes a tick without what is too small to be more than rounding.
func tickText(v float64) string {
	return strconv.FormatFloat(math.Round(v*1e9)/1e9, 'f', -1, 64)
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
	if a.log {
		for e := math.Round(math.Log10(a.low)); e <= math.Round(math.Log10(a.high)); e++ {
			ticks = append(ticks, math.Pow(10, e))
		}
		return ticks
	}
	for i := math.Round(a.low / a.step); i <= math.Round(a.high/a.step); i++ {
		ticks = append(ticks, i*a.step+0) // never -0
	}
	return ticks
}
