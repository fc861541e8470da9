package eval

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/infer/display"
)

// rendered is a line of a file of documents that are written already: a user's task. It has one of these:
//
//   - choices, with the numbers of the right ones (gold), a score for each (scores), or 1 for those that are true (labels), after a
//     context or after contexts, one for each choice;
//   - a target, which the text generated after a context should be, up to one of until;
//   - a text, whose likelihood is asked.
type rendered struct {
	Context   string    `json:"context"`
	Contexts  []string  `json:"contexts"`
	Choices   []string  `json:"choices"`
	Gold      numbers   `json:"gold"`
	Scores    []float64 `json:"scores"`
	Labels    []float64 `json:"labels"`
	Delim     *string   `json:"delim"` // between context and choice; one space if it is not there
	Target    *string   `json:"target"`
	Until     []string  `json:"until"`
	MaxTokens int       `json:"max_tokens"`
	Text      string    `json:"text"`
}

// numbers is a list of them, or one.
type numbers []int

// UnmarshalJSON implements json.Unmarshaler.
func (n *numbers) UnmarshalJSON(data []byte) error {
	var one number
	if err := json.Unmarshal(data, &one); err == nil {
		*n = numbers{int(one)}
		return nil
	}
	return json.Unmarshal(data, (*[]int)(n))
}

// measures returns the figures that lines of the kind have.
func (r *rendered) measures() []*Measure {
	switch {
	case r.Text != "":
		return perplexities()
	case r.Target != nil:
		return []*Measure{{Name: "exact_match", of: func(e *example, o *outcome) float64 {
			return share(strip(o.text) == strip(e.generate.want))
		}}}
	case r.Scores != nil:
		return []*Measure{grade}
	case r.Labels != nil:
		return []*Measure{truth}
	}
	return []*Measure{accuracy, normalized}
}

func (r *rendered) example() (*example, error) {
	e := &example{context: r.Context, delimiter: " ", choices: texts(r.Choices...), gold: r.Gold, grades: append(r.Scores, r.Labels...)}
	if r.Delim != nil {
		e.delimiter = *r.Delim
	}
	if r.Contexts != nil {
		if len(r.Contexts) != len(r.Choices) {
			return nil, fmt.Errorf("there are %d contexts for %d choices", len(r.Contexts), len(r.Choices))
		}
		for i := range e.choices {
			e.choices[i].context = r.Contexts[i]
		}
	}
	if r.Text != "" {
		e.rolls(r.Text, r.Text)
	}
	if r.Target != nil {
		e.generate = &generation{stops: r.Until, most: r.MaxTokens, want: *r.Target}
	}
	kinds := 0
	for _, is := range []bool{r.Text != "", r.Target != nil, len(r.Choices) > 0} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return nil, errors.New("there must be choices, a target or a text, one of them")
	case len(r.Choices) > 0 && r.Gold == nil && e.grades == nil:
		return nil, errors.New("there is no gold, nor scores or labels")
	}
	return e, nil
}

// userTask returns the task that a file of rendered documents is.
func userTask(path string) (*Task, error) {
	t := &Task{Name: display.Stem(path), Version: "0", path: path, render: reads(func(r rendered) (*example, error) {
		return r.example()
	})}
	rows, err := new(Data).lines(path)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: there are no documents", path)
	}
	var first rendered
	if err := json.Unmarshal(rows[0], &first); err != nil {
		return nil, fmt.Errorf("%s: line 1: %w", path, err)
	}
	t.Metrics = first.measures()
	if first.Text == "" {
		t.Score = len(t.Metrics) - 1
	}
	for i, row := range rows {
		var r rendered
		if err := json.Unmarshal(row, &r); err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", path, i, err)
		}
		if r.measures()[0].Name != t.Metrics[0].Name {
			return nil, fmt.Errorf("%s: document %d is of another kind than the first", path, i)
		}
	}
	return t, nil
}
