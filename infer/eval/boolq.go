package eval

// boolQ is BoolQ (arXiv 1905.10044) of SuperGLUE.
func boolQ(p *Profile) []*Task {
	t := &Task{
		Name: "boolq", Groups: []string{"gpt4all"}, Version: p.version("1", "2.0"),
		Data:  DataSet{Folder: "boolq", Hub: "aps/super_glue", Configuration: "boolq"},
		Split: "validation", ShotSplit: "train", Metrics: []*Measure{accuracy},
	}
	t.render = reads(func(row struct {
		Passage  string `json:"passage"`
		Question string `json:"question"`
		Label    number `json:"label"`
	}) (*example, error) {
		context := row.Passage + "\nQuestion: " + row.Question + "?\nAnswer:"
		if p.old {
			return asks(context, 1-int(row.Label), "yes", "no")
		}
		return asks(context, int(row.Label), "no", "yes")
	})
	if p.old {
		// Right is what says whether yes is likelier than no, so that a tie is no.
		t.Metrics = []*Measure{{Name: "acc", of: func(e *example, o *outcome) float64 {
			return share(o.likelihoods[0] > o.likelihoods[1] == (e.gold[0] == 0))
		}}}
	}
	return []*Task{t}
}
