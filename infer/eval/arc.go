package eval

import (
	"fmt"
	"slices"
)

// arc is the AI2 Reasoning Challenge (arXiv 1803.05457).
func arc(p *Profile) []*Task {
	var tasks []*Task
	for name, configuration := range map[string]string{"arc_easy": "ARC-Easy", "arc_challenge": "ARC-Challenge"} {
		t := &Task{
			Name: name, Groups: []string{"gpt4all"}, Version: p.version("0", "1.0"),
			Data:  DataSet{Folder: name, Hub: "allenai/ai2_arc", Configuration: configuration},
			Split: "test", ShotSplit: "train", Metrics: []*Measure{accuracy, normalized}, Score: 1, render: reads(labelled.arc),
		}
		if name == "arc_challenge" {
			t.Groups = append(t.Groups, "openllm")
		}
		tasks = append(tasks, t)
	}
	return tasks
}

// labelled is a question whose answers have labels.
type labelled struct {
	Question string `json:"question"`
	Stem     string `json:"question_stem"`
	Choices  struct {
		Text  []string `json:"text"`
		Label []string `json:"label"`
	} `json:"choices"`
	AnswerKey string `json:"answerKey"`
}

func (q labelled) right() (int, error) {
	right := slices.Index(q.Choices.Label, strip(q.AnswerKey))
	if right < 0 || right >= len(q.Choices.Text) {
		return 0, fmt.Errorf("answerKey %q is not one of the labels %q", q.AnswerKey, q.Choices.Label)
	}
	return right, nil
}

func (q labelled) arc() (*example, error) {
	right, err := q.right()
	if err != nil {
		return nil, err
	}
	return asks("Question: "+q.Question+"\nAnswer:", right, q.Choices.Text...)
}
