package eval

// piqa is PIQA (arXiv 1911.11641).
func piqa(p *Profile) []*Task {
	return []*Task{{
		Name: "piqa", Groups: []string{"gpt4all"}, Version: p.version("0", "1.0"),
		Data:  DataSet{Folder: "piqa", Hub: "baber/piqa"},
		Split: "validation", ShotSplit: "train", Metrics: []*Measure{accuracy, normalized}, Score: 1,
		render: reads(func(row struct {
			Goal  string `json:"goal"`
			Sol1  string `json:"sol1"`
			Sol2  string `json:"sol2"`
			Label number `json:"label"`
		}) (*example, error) {
			return asks("Question: "+row.Goal+"\nAnswer:", int(row.Label), row.Sol1, row.Sol2)
		}),
	}}
}
