package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// mark tells the formats of candidates apart, by shape and, in the style sheet, by colour.
type mark struct {
	class string
	// corners of a polygon around the middle, none of a circle. The first is so far turned from the
	// right, clockwise, in degrees.
	corners int
	turned  float64
	radius  float64
}

var (
	circle = mark{class: "dot", radius: 4.5}
	marks  = map[string]mark{
		"":             circle, // a report of before
		ggufFormat:     circle,
		"GPTQ":         {"dot format-gptq", 4, 45, 6},
		"AWQ":          {"dot format-awq", 3, -90, 6.5},
		"EXL2":         {"dot format-exl", 4, 0, 6.5},
		"EXL3":         {"dot format-exl", 4, 0, 6.5},
		"bitsandbytes": {"dot format-bnb", 3, 90, 6.5},
		"LLM.int8":     {"dot format-bnb", 3, 90, 6.5}, // which is of bitsandbytes
	}
	anyOther = mark{"dot format-other", 5, -90, 6}
)

func markOf(format string) mark {
	if m, ok := marks[format]; ok {
		return m
	}
	return anyOther
}

// mark draws one at a point.
func (s *svg) mark(m mark, class, title string, at point) {
	if m.corners == 0 {
		s.element("circle", class, title, `cx="%.1f" cy="%.1f" r="%.1f"`, at.x, at.y, m.radius)
		return
	}
	var corners []string
	for i := range m.corners {
		sin, cos := math.Sincos((m.turned + 360*float64(i)/float64(m.corners)) * math.Pi / 180)
		corners = append(corners, fmt.Sprintf("%.1f,%.1f", at.x+m.radius*cos, at.y+m.radius*sin))
	}
	s.element("polygon", class, title, `points="%s"`, strings.Join(corners, " "))
}

// key is the mark of a format beside its name.
func key(format string) template.HTML {
	var s svg
	m := markOf(format)
	s.mark(m, m.class, "", point{8, 8})
	return template.HTML(`<svg class="key" viewBox="0 0 16 16" aria-hidden="true">` + strings.TrimSpace(s.b.String()) + `</svg>`)
}

// label is what a candidate is called in a chart: by how its weights are packed, if no other candidate's are
// packed so. The mark tells the format where it has no room.
func (r *view) label(c Candidate) string {
	if !c.IsPacked() || slices.ContainsFunc(r.Candidates, func(other Candidate) bool { return other.Name != c.Name && other.What() == c.What() }) {
		return shortName(c.Name)
	}
	if len(c.What()) > longestName && c.Layout != "" {
		return shortName(c.Layout)
	}
	return shortName(c.What())
}

// formats are those of the candidates, in the order of the report, where there are several or one
// is not GGUF's.
func (r *Drift) formats() (formats []string) {
	if !r.mixed() {
		return nil
	}
	for _, c := range r.Candidates {
		if !slices.Contains(formats, c.Format) {
			formats = append(formats, c.Format)
		}
	}
	return formats
}
