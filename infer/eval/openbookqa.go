package eval

// openBookQA is OpenBookQA (arXiv 1809.02789).
func openBookQA(p *Profile) []*Task {
	return []*Task{{
		Name: "openbookqa", Groups: []string{"gpt4all"}, Version: p.version("0", "1.0"),
		Data:  DataSet{Folder: "openbookqa", Hub: "allenai/openbookqa", Configuration: "main"},
		Split: "test", ShotSplit: "train", Metrics: []*Measure{accuracy, normalized}, Score: 1,
		render: reads(func(q labelled) (*example, error) {
			right, err := q.right()
			if err != nil {
				return nil, err
			}
			return asks(q.Stem, right, q.Choices.Text...)
		}),
	}}
}
