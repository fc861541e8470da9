package eval

import "strings"

// agiEval is the part of AGIEval (arXiv 2304.06364) that is English and multiple choice.
func agiEval(p *Profile) []*Task {
	var tasks []*Task
	for name := range strings.FieldsSeq("aqua-rat logiqa-en lsat-ar lsat-lr lsat-rc sat-en sat-en-without-passage sat-math") {
		hub, group := "hails/agieval-", "agieval_nous"
		if p.old {
			hub, group = "dmayhem93/agieval-", "agieval"
		}
		tasks = append(tasks, &Task{
			Name: "agieval_" + strings.ReplaceAll(name, "-", "_"), Groups: []string{group}, Version: p.version("0", "1.0"),
			Data:  DataSet{Folder: "agieval/" + name, Hub: hub + name},
			Split: "test", Metrics: []*Measure{accuracy, normalized}, Score: 1,
			render: reads(func(row struct {
				Query   string   `json:"query"`
				Choices []string `json:"choices"`
				Gold    []int    `json:"gold"` // some are past the last choice, and can never be right
			}) (*example, error) {
				return &example{context: row.Query, delimiter: " ", choices: texts(row.Choices...), gold: row.Gold}, nil
			}),
		})
	}
	return tasks
}
