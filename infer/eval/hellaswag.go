package eval

import (
	"regexp"
	"strings"
)

// hellaswag is HellaSwag (arXiv 1905.07830).
func hellaswag(p *Profile) []*Task {
	return []*Task{{
		Name: "hellaswag", Groups: []string{"gpt4all", "openllm"}, Version: p.version("0", "1.0"),
		Data:  DataSet{Folder: "hellaswag", Hub: "Rowan/hellaswag"},
		Split: "validation", ShotSplit: "train", SpareShot: !p.old, Metrics: []*Measure{accuracy, normalized}, Score: 1,
		render: reads(func(row struct {
			Activity string   `json:"activity_label"`
			CtxA     string   `json:"ctx_a"`
			CtxB     string   `json:"ctx_b"`
			Endings  []string `json:"endings"`
			Label    number   `json:"label"`
		}) (*example, error) {
			endings := make([]string, len(row.Endings))
			for i, ending := range row.Endings {
				endings[i] = withoutMarks(ending)
			}
			return asks(withoutMarks(row.Activity+": "+row.CtxA+" "+capitalize(row.CtxB)), int(row.Label), endings...)
		}),
	}}
}

var bracketed = regexp.MustCompile(`\[.*?\]`)

// withoutMarks takes out what WikiHow's articles have of their structure.
func withoutMarks(s string) string {
	s = strings.ReplaceAll(strip(s), " [title]", ". ")
	return strings.ReplaceAll(bracketed.ReplaceAllString(s, ""), "  ", " ")
}
