package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/eval"
)

// board is a task of the Open LLM Leaderboard, as the front matter of model cards has it.
type board struct {
	name          string // with the shots
	kind, config  string // of the data set
	split         string
	tasks, groups []string // that have the figure, one of them
	metric, of    string   // its name in cards, and here
	called        string   // the metric, for people
}

var leaderboard = []board{
	{"AI2 Reasoning Challenge (%d-Shot)", "ai2_arc", "ARC-Challenge", "test", []string{"arc_challenge"}, nil, "acc_norm", "acc_norm", "normalized accuracy"},
	{"HellaSwag (%d-Shot)", "hellaswag", "", "validation", []string{"hellaswag"}, nil, "acc_norm", "acc_norm", "normalized accuracy"},
	{"MMLU (%d-Shot)", "cais/mmlu", "all", "test", nil, eval.MMLU, "acc", "acc", "accuracy"},
	{"TruthfulQA (%d-shot)", "truthful_qa", "multiple_choice", "validation", []string{"truthfulqa_mc"}, nil, "mc2", "mc2", ""},
	{"TruthfulQA (%d-shot)", "truthful_qa", "multiple_choice", "validation", []string{"truthfulqa_mc2"}, nil, "mc2", "acc", ""},
	{"Winogrande (%d-shot)", "winogrande", "winogrande_xl", "validation", []string{"winogrande"}, nil, "acc", "acc", "accuracy"},
	{"GSM8k (%d-shot)", "gsm8k", "main", "test", []string{"gsm8k"}, nil, "acc", "acc", "accuracy"},
	{"GSM8k (%d-shot)", "gsm8k", "main", "test", []string{"gsm8k"}, nil, "acc", "exact_match", "accuracy"},
}

// ModelIndex returns the scores of the leaderboard's tasks as front matter of a model card, in YAML. source is the address that they
// are from, or "".
func (e *Eval) ModelIndex(source string) (string, error) {
	index, err := yaml.Marshal(yaml.MapSlice{{Key: "model-index", Value: []any{
		yaml.MapSlice{{Key: "name", Value: display.Stem(e.Model)}, {Key: "results", Value: e.forms()[0].boardResults(source)}},
	}}})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# by ggufkit, as %s scores\n", e.Harness)
	if e.Partial() {
		b.WriteString("# of some of the documents only: not comparable with scores of all\n")
	}
	b.Write(index)
	return b.String(), nil
}

// boardResults lists the scores of the leaderboard's tasks as front matter has them.
func (f evalForm) boardResults(source string) []any {
	results := []any{}
	for _, b := range leaderboard {
		value, shots, ok := f.boardFigure(b)
		if !ok {
			continue
		}
		dataSet := yaml.MapSlice{{Key: "name", Value: fmt.Sprintf(b.name, shots)}, {Key: "type", Value: b.kind}}
		if b.config != "" {
			dataSet = append(dataSet, yaml.MapItem{Key: "config", Value: b.config})
		}
		dataSet = append(dataSet, yaml.MapItem{Key: "split", Value: b.split},
			yaml.MapItem{Key: "args", Value: yaml.MapSlice{{Key: "num_few_shot", Value: shots}}})
		metric := yaml.MapSlice{{Key: "type", Value: b.metric}, {Key: "value", Value: math.Round(1e4*value) / 100}}
		if b.called != "" {
			metric = append(metric, yaml.MapItem{Key: "name", Value: b.called})
		}
		result := yaml.MapSlice{
			{Key: "task", Value: yaml.MapSlice{{Key: "type", Value: "text-generation"}, {Key: "name", Value: "Text Generation"}}},
			{Key: "dataset", Value: dataSet},
			{Key: "metrics", Value: []any{metric}},
		}
		if source != "" {
			result = append(result, yaml.MapItem{Key: "source", Value: yaml.MapSlice{{Key: "url", Value: source}}})
		}
		results = append(results, result)
	}
	return results
}

// boardFigure finds the figure of a leaderboard's task, with the number of shots.
func (f evalForm) boardFigure(b board) (value float64, shots int, ok bool) {
	for _, r := range f.results {
		i := slices.IndexFunc(r.Metrics, func(m eval.Metric) bool { return m.Name == b.of })
		if i >= 0 && slices.Contains(b.tasks, r.Task) {
			return r.Metrics[i].Value, r.Shots, true
		}
		if slices.ContainsFunc(b.groups, func(g string) bool { return slices.Contains(r.Groups, g) }) {
			shots = r.Shots
		}
	}
	for _, g := range f.groups {
		if slices.Contains(b.groups, g.Name) && g.Metric == b.of {
			return g.Value, shots, true
		}
	}
	return 0, 0, false
}
