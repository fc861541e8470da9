package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Task is one that the harness knows by name.
type Task struct {
	Name    string
	Groups  []string // that it is in, the smallest first
	Version string
	Data    DataSet
	Split   string // of the data, that is evaluated
	// ShotSplit is where shots come from, "" if there can be none.
	ShotSplit string
	Shots     int // unless told otherwise
	// FirstShots takes the first of ShotSplit, and draws none.
	FirstShots bool
	// SpareShot draws one more, leaves the document itself out if it is among them, and takes the first of the others.
	SpareShot   bool
	Description string // stands before the shots
	Metrics     []*Measure
	// Score is the number of the metric that stands for the task in averages.
	Score  int
	path   string // of a user's file, instead of Data and Split
	render func(row json.RawMessage) (*example, error)
	// open is instead of render where a file is not a list of rows.
	open func(data []byte) ([]json.RawMessage, func(row json.RawMessage) (*example, error), error)
	// order, if not nil, is the order of n documents, of which a limit takes the first.
	order    func(n int) []int
	shotRows []json.RawMessage // instead of those of ShotSplit
	between  string            // of shots, if not a blank line
	joined   bool              // what is asked has no delimiter before it; shots have
	// encode, if not nil, makes tokens of all requests of a document, which are compared by their likelihoods for each token.
	encode func(e *encoder, requests []request) ([]*encoded, error)
}

// example is a document as it is asked.
type example struct {
	description string // stands before the shots, behind the task's
	context     string // what comes before the answer
	delimiter   string // between them
	answer      string // the right one, as shots have it
	choices     []choice
	gold        []int     // choices that are right
	grades      []float64 // of choices, where they are more or less right
	firstList   int       // choices that are of the first of two questions
	generate    *generation
	rolling     string // text whose likelihood is asked
	words       int    // of it as it was published
	bytes       int
}

// choice is one of the answers.
type choice struct {
	context string // what comes before it, if not the example's
	text    string
}

// generation is an answer to be written.
type generation struct {
	stops []string
	most  int      // tokens; 0: as many as the harness allows
	want  string   // what it is compared with
	also  []string // that are right too
}

// outcome is what a model makes of an example.
type outcome struct {
	likelihoods []float64 // of the choices, or of the rolling text
	greedy      []bool    // of the same: it is what the model would generate
	tokens      []int     // of each, where they are compared by their likelihoods for each token
	text        string    // generated
}

// pick returns the first of the likeliest choices.
func (o *outcome) pick() int {
	if o.tokens == nil {
		return first(o.likelihoods)
	}
	return likeliest(o.likelihoods, func(i int) int { return o.tokens[i] })
}

func first(values []float64) int {
	best := 0
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	return best
}

// Measure is a figure of a task.
type Measure struct {
	Name   string
	Filter string // of what is generated; "" is none
	// LowerIsBetter is of perplexities.
	LowerIsBetter bool
	extract       func(text string) string // what the filter makes of a text
	of            func(e *example, o *outcome) float64
	interval      func(value float64, n int) [2]float64    // of 95 %, where the score comes with one
	total         func(sum float64, of []*example) float64 // makes the figure of the sum of the documents'; nil: their mean
}

// NeedsData reports whether the documents are read from a directory of data, not from a file of the task's own.
func (t *Task) NeedsData() bool { return t.path == "" && t.Data.files == nil }

func (e *example) right(choice int) bool { return slices.Contains(e.gold, choice) }

// rolls asks for the likelihood of a text, for each word and byte of it as it was published.
func (e *example) rolls(text, published string) *example {
	e.rolling, e.words, e.bytes = text, len(spaces.Split(published, -1)), len(published)
	return e
}

func share(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// accuracy is 1 where the likeliest choice is right.
var accuracy = &Measure{Name: "acc", of: func(e *example, o *outcome) float64 { return share(e.right(o.pick())) }}

// normalized is accuracy by the likelihood for each character of a choice, byBytes for each byte.
var (
	normalized = accuracyBy("acc_norm", characters)
	byBytes    = accuracyBy("acc_bytes", func(text string) int { return len(text) })
)

func accuracyBy(name string, length func(text string) int) *Measure {
	return &Measure{Name: name, of: func(e *example, o *outcome) float64 {
		return share(e.right(likeliest(o.likelihoods, func(i int) int { return length(e.choices[i].text) })))
	}}
}

// likeliest returns the first choice with the highest likelihood for each unit of its length.
func likeliest(likelihoods []float64, length func(choice int) int) int {
	perUnit := make([]float64, len(likelihoods))
	for i, l := range likelihoods {
		perUnit[i] = l / float64(length(i))
	}
	return first(perUnit)
}

// texts makes choices.
func texts(list ...string) []choice {
	choices := make([]choice, len(list))
	for i, text := range list {
		choices[i].text = text
	}
	return choices
}

// asks makes an example of a question with several answers, one of which is right.
func asks(context string, right int, answers ...string) (*example, error) {
	e := &example{context: context, delimiter: " ", choices: texts(answers...), gold: []int{right}}
	if right >= 0 && right < len(answers) {
		e.answer = answers[right]
	}
	return e, nil
}

// reads makes a function that renders rows of one Go out of JSON.
func reads[T any](render func(row T) (*example, error)) func(json.RawMessage) (*example, error) {
	return func(raw json.RawMessage) (*example, error) {
		var row T
		if err := json.Unmarshal(raw, &row); err != nil {
			return nil, err
		}
		return render(row)
	}
}

// examine renders a row, and reports an error if nothing can be asked.
func examine(render func(json.RawMessage) (*example, error), row json.RawMessage) (*example, error) {
	e, err := render(row)
	if err != nil {
		return nil, err
	}
	if len(e.choices) == 0 && e.generate == nil && e.rolling == "" {
		return nil, errors.New("there is nothing to choose from")
	}
	for i, c := range e.choices {
		if c.text == "" {
			return nil, fmt.Errorf("choice %d is empty", i)
		}
	}
	if e.grades != nil && len(e.grades) != len(e.choices) || e.firstList > len(e.choices) {
		return nil, fmt.Errorf("there are %d labels for %d choices", len(e.grades), len(e.choices))
	}
	return e, nil
}

// number is an integer that some files have as text.
type number int

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(data []byte) error {
	var v json.Number
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	i, err := v.Int64()
	if err != nil || i < math.MinInt32 || i > math.MaxInt32 {
		return fmt.Errorf("%s is not the number of a choice", data)
	}
	*n = number(i)
	return nil
}
