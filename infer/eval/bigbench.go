package eval

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/internal/pyrandom"
)

// bigBench are the tasks of BIG-bench (arXiv 2206.04615) that the Nous suite has. There are none by the rules of 0.4, which
// takes another data set.
func bigBench(p *Profile) []*Task {
	if !p.old {
		return nil
	}
	var tasks []*Task
	for name := range strings.FieldsSeq("causal_judgement date_understanding disambiguation_qa geometric_shapes " +
		"logical_deduction_five_objects logical_deduction_seven_objects logical_deduction_three_objects movie_recommendation navigate " +
		"reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks sports_understanding temporal_sequences " +
		"tracking_shuffled_objects_five_objects tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects") {
		t := &Task{
			Name: "bigbench_" + name, Groups: []string{"bigbench"}, Version: "0",
			Data:    DataSet{Folder: "bigbench", File: name + ".json", Hub: "google/BIG-bench"},
			Metrics: []*Measure{grade},
		}
		if name == "geometric_shapes" {
			t.Metrics = append(t.Metrics, &Measure{Name: "exact_str_match", of: func(e *example, o *outcome) float64 {
				return share(bigBenchOutput(o.text) == e.generate.want)
			}})
		}
		generates := len(t.Metrics) > 1
		t.open = func(data []byte) ([]json.RawMessage, func(json.RawMessage) (*example, error), error) {
			task := bigBenchTask{InputPrefix: "\nQ: ", OutputPrefix: "\nA: ", ChoicePrefix: "\n  choice: ", AppendChoices: true}
			if err := json.Unmarshal(data, &task); err != nil {
				return nil, nil, err
			}
			examples, err := withoutDuplicates(task.Examples)
			return examples, func(raw json.RawMessage) (*example, error) { return task.render(raw, generates) }, err
		}
		tasks = append(tasks, t)
	}
	return tasks
}

// bigBenchTask is a task.json.
type bigBenchTask struct {
	Prefix        string            `json:"task_prefix"`
	InputPrefix   string            `json:"example_input_prefix"`
	OutputPrefix  string            `json:"example_output_prefix"`
	ChoicePrefix  string            `json:"choice_prefix"`
	AppendChoices bool              `json:"append_choices_to_input"`
	Examples      []json.RawMessage `json:"examples"`
}

func withoutDuplicates(examples []json.RawMessage) ([]json.RawMessage, error) {
	seen := make(map[string]bool)
	var once []json.RawMessage
	for _, e := range examples {
		var b bytes.Buffer
		if err := json.Compact(&b, e); err != nil {
			return nil, err
		}
		if !seen[b.String()] {
			seen[b.String()] = true
			once = append(once, e)
		}
	}
	return once, nil
}

func (t *bigBenchTask) render(raw json.RawMessage, generates bool) (*example, error) {
	var row struct {
		Input  string     `json:"input"`
		Scores scores     `json:"target_scores"`
		Target textOrList `json:"target"`
	}
	if err := json.Unmarshal(raw, &row); err != nil {
		return nil, err
	}
	if len(row.Scores.names) == 0 {
		return nil, errors.New("there are no target_scores")
	}
	e := &example{choices: texts(row.Scores.names...), grades: row.Scores.values}
	e.context = t.Prefix + t.InputPrefix + row.Input
	if t.AppendChoices {
		shown := slices.Sorted(slices.Values(row.Scores.names))
		for _, i := range pyrandom.Permutation(42, len(shown)) {
			e.context += t.ChoicePrefix + shown[i]
		}
	}
	e.context += t.OutputPrefix
	if generates {
		if len(row.Target) == 0 {
			return nil, errors.New("there is no target")
		}
		e.generate = &generation{most: 128, want: row.Target[0]}
	}
	return e, nil
}

// scores are the members of an object of numbers, in their order.
type scores struct {
	names  []string
	values []float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *scores) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("target_scores is not an object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value float64
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("target_scores of %q: %w", name, err)
		}
		s.names, s.values = append(s.names, name.(string)), append(s.values, value)
	}
	return nil
}

// textOrList is a list of texts, or one.
type textOrList []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *textOrList) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*l = textOrList{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

// grade is the score of the likeliest choice.
var grade = &Measure{Name: "multiple_choice_grade", of: bigBenchGrade}

// bigBenchGrade is the score of the likeliest choice. Which of several it is that are as likely, the SHA-256 of the likelihoods as float64
// decides.
func bigBenchGrade(e *example, o *outcome) float64 {
	best := o.likelihoods[o.pick()]
	var tied []int
	var bits []byte
	for i, l := range o.likelihoods {
		bits = binary.LittleEndian.AppendUint64(bits, math.Float64bits(l))
		if l == best {
			tied = append(tied, i)
		}
	}
	sum := sha256.Sum256(bits)
	n := new(big.Int).SetBytes(sum[:])
	return e.grades[tied[n.Mod(n, big.NewInt(int64(len(tied)))).Int64()]]
}

var firstSentence = regexp.MustCompile(`[^.?!;\n]+`)

// bigBenchOutput is what of a generated text counts: its first sentence, within 128 characters.
func bigBenchOutput(text string) string {
	runes := []rune(text)
	return firstSentence.FindString(string(runes[:min(128, len(runes))]))
}
