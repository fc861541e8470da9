package eval

import (
	"fmt"
	"strings"
)

// winogrande is WinoGrande (arXiv 1907.10641): the text behind the gap is scored with either option in it.
func winogrande(p *Profile) []*Task {
	return []*Task{{
		Name: "winogrande", Groups: []string{"gpt4all", "openllm"}, Version: p.version("0", "1.0"),
		Data:  DataSet{Folder: "winogrande", Hub: "allenai/winogrande", Configuration: "winogrande_xl"},
		Split: "validation", ShotSplit: "train", SpareShot: !p.old, Metrics: []*Measure{accuracy},
		render: reads(func(row struct {
			Sentence string `json:"sentence"`
			Option1  string `json:"option1"`
			Option2  string `json:"option2"`
			Answer   number `json:"answer"`
		}) (*example, error) {
			before, after, found := strings.Cut(row.Sentence, "_")
			if !found {
				return nil, fmt.Errorf("there is no _ in the sentence %q", row.Sentence)
			}
			rest := strip(after)
			e := &example{delimiter: " ", answer: rest, gold: []int{int(row.Answer) - 1}}
			for i, option := range []string{row.Option1, row.Option2} {
				e.choices = append(e.choices, choice{before + option, rest})
				if e.right(i) {
					e.context = before + option
				}
			}
			return e, nil
		}),
	}}
}
