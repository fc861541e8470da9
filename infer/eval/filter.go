package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"

	"github.com/ggufkit/ggufkit/convert/yamldoc"
	"github.com/ggufkit/ggufkit/gguf"
)

// pipeline is an entry of filter_list: steps that a generated text goes through.
type pipeline struct {
	name  string
	steps []func(text string) string
}

func (p pipeline) apply(text string) string {
	for _, step := range p.steps {
		text = step(text)
	}
	return text
}

// filters reads filter_list.
func (t *yamlTask) filters(s setting) error {
	return s.each(func(fields []setting) error {
		var p pipeline
		for _, f := range fields {
			var err error
			switch f.Name {
			case "name":
				p.name, err = f.text()
			case "filter":
				err = f.each(func(step []setting) error {
					apply, err := filterStep(f, step)
					if apply != nil {
						p.steps = append(p.steps, apply)
					}
					return err
				})
			default:
				err = f.unknown()
			}
			if err != nil {
				return err
			}
		}
		t.pipelines = append(t.pipelines, p)
		return nil
	})
}

// filterStep reads a step, nil if it has nothing to do.
func filterStep(s setting, fields []setting) (func(string) string, error) {
	i := slices.IndexFunc(fields, func(f setting) bool { return f.Name == "function" })
	if i < 0 {
		return nil, s.errorf("%w: a step without a function", gguf.ErrCorrupt)
	}
	name, err := fields[i].text()
	if err != nil {
		return nil, err
	}
	others := slices.Delete(slices.Clone(fields), i, i+1)
	if name == "regex" {
		return regexStep(others)
	}
	apply, known := plainSteps[name]
	switch {
	case !known:
		return nil, fields[i].errorf("%w: the filter %s", gguf.ErrUnsupported, name)
	case len(others) > 0:
		return nil, others[0].unknown()
	}
	return apply, nil
}

// plainSteps are the filters that nothing more is said of. With one text for each document, some have nothing to do.
var plainSteps = map[string]func(string) string{
	"take_first": nil, "majority_vote": nil, "remove_whitespace": strip, "lowercase": strings.ToLower, "uppercase": strings.ToUpper,
}

// regexStep reads the filter regex: the first or the last match.
func regexStep(fields []setting) (func(string) string, error) {
	re, last, fallback := markedNumber, false, noNumber
	for _, f := range fields {
		var err error
		switch f.Name {
		case "regex_pattern":
			re, err = f.pattern(f.Value)
		case "group_select":
			plain, _ := f.Value.(yamldoc.Plain)
			last = plain.Text == "-1"
			if !last && plain.Text != "0" {
				err = f.errorf("%w: it is neither 0 nor -1", gguf.ErrUnsupported)
			}
		case "fallback":
			fallback, err = f.text()
		default:
			err = f.unknown()
		}
		if err != nil {
			return nil, err
		}
	}
	return func(text string) string { return find(re, text, last, fallback) }, nil
}

// Limits of a search in a text that was generated.
const (
	maxSearch    = time.Second
	maxBacktrack = 1 << 20 // entries of regexp2's stack
)

// pattern reads a regular expression of Python's.
func (s setting) pattern(v any) (*regexp2.Regexp, error) {
	source, ok := v.(string)
	if !ok {
		return nil, s.errorf("%w: it is no regular expression", gguf.ErrCorrupt)
	}
	re, err := regexp2.Compile(strings.ReplaceAll(source, "(?P<", "(?<"), regexp2.OptionMaxBacktrackingStackSize(maxBacktrack))
	if err != nil {
		return nil, s.errorf("%w: %w", gguf.ErrUnsupported, err)
	}
	re.MatchTimeout = maxSearch
	return re, nil
}

// find is findall of Python's re: a match is its first group that is not empty, or all of it if there are no groups. A search that takes too
// long finds nothing.
func find(re *regexp2.Regexp, text string, last bool, fallback string) string {
	m, err := re.FindStringMatch(text)
	for m != nil && err == nil && last {
		next, failed := re.FindNextMatch(m)
		if next == nil || failed != nil {
			break
		}
		m = next
	}
	if m == nil || err != nil {
		return fallback
	}
	groups := m.Groups()
	switch len(groups) {
	case 1:
		return strip(m.String())
	case 2:
		return strip(groups[1].String())
	}
	for _, g := range groups[1:] {
		if g.String() != "" {
			return strip(g.String())
		}
	}
	return strip(fallback)
}

// metrics reads metric_list.
func (t *yamlTask) metrics(s setting) error {
	return s.each(func(fields []setting) error {
		var f figure
		var higher, aggregation *setting
		for _, field := range fields {
			var err error
			switch field.Name {
			case "metric":
				f.name, err = field.text()
			case "aggregation":
				aggregation = &field
			case "higher_is_better":
				higher = &field
			case "ignore_case":
				f.matches.anyCase, err = field.truth()
			case "ignore_punctuation":
				f.matches.noPunctuation, err = field.truth()
			case "ignore_numbers":
				f.matches.noNumbers, err = field.truth()
			case "regexes_to_ignore":
				for _, v := range listed(field.Value) {
					re, failed := field.pattern(v)
					f.matches.without, err = append(f.matches.without, re), failed
					if err != nil {
						break
					}
				}
			default:
				err = field.unknown()
			}
			if err != nil {
				return err
			}
		}
		rules, known := figures[f.name]
		if !known {
			return s.errorf("%w: the metric %q", gguf.ErrUnsupported, f.name)
		}
		if aggregation != nil && aggregation.Value != rules.aggregation {
			return aggregation.errorf("%w: of %s it is %s", gguf.ErrUnsupported, f.name, rules.aggregation)
		}
		if higher != nil {
			if err := higher.is(!rules.lowerIsBetter); err != nil {
				return err
			}
		}
		t.figures = append(t.figures, f)
		return nil
	})
}

func (s setting) truth() (bool, error) {
	plain, ok := s.Value.(yamldoc.Plain)
	if !ok {
		return false, s.errorf("%w: neither true nor false", gguf.ErrCorrupt)
	}
	return plain.True, nil
}

// figures are the metrics that there are.
var figures = map[string]struct {
	aggregation   string
	lowerIsBetter bool
}{
	"acc": {aggregation: "mean"}, "acc_norm": {aggregation: "mean"}, "acc_bytes": {aggregation: "mean"},
	"exact_match":     {aggregation: "mean"},
	"perplexity":      {"perplexity", true},
	"word_perplexity": {"weighted_perplexity", true},
	"byte_perplexity": {"weighted_perplexity", true},
	"bits_per_byte":   {"bits_per_byte", true},
}

// defaults are the metrics of an output_type if there is no metric_list.
var defaults = map[string][]string{
	"multiple_choice": {"acc", "acc_norm"}, "generate_until": {"exact_match"}, "loglikelihood": {"perplexity", "acc"},
	"loglikelihood_rolling": {"word_perplexity", "byte_perplexity", "bits_per_byte"},
}

// measures makes the task's figures of metric_list and filter_list.
func (t *yamlTask) measures() error {
	if t.figures == nil {
		for _, name := range defaults[t.output] {
			t.figures = append(t.figures, figure{name: name})
		}
	}
	if t.pipelines == nil || t.output != "generate_until" {
		t.pipelines = []pipeline{{}}
	}
	for _, f := range t.figures {
		if !slices.Contains(defaults[t.output], f.name) && (f.name != "acc_bytes" || t.output != "multiple_choice") {
			return fmt.Errorf("%w: the metric %s of a task whose output_type is %s", gguf.ErrUnsupported, f.name, t.output)
		}
		for _, p := range t.pipelines {
			t.Metrics = append(t.Metrics, t.measure(f, p))
		}
	}
	if t.output == "multiple_choice" {
		t.Score = max(0, slices.IndexFunc(t.Metrics, func(m *Measure) bool { return m.Name == "acc_norm" }))
	}
	return nil
}

func (t *yamlTask) measure(f figure, p pipeline) *Measure {
	switch f.name {
	case "exact_match":
		return &Measure{Name: f.name, Filter: p.name, extract: p.apply, of: func(e *example, o *outcome) float64 {
			text := f.matches.plain(p.apply(o.text))
			return share(slices.ContainsFunc(append([]string{e.generate.want}, e.generate.also...), func(want string) bool {
				return f.matches.plain(want) == text
			}))
		}}
	case "acc_norm":
		return normalized
	case "acc_bytes":
		return byBytes
	case "perplexity":
		return perplexity(f.name, func(sum, n float64) float64 { return math.Exp(-sum / n) }, func(*example) int { return 1 })
	case "acc":
		if t.output == "loglikelihood" {
			return &Measure{Name: f.name, of: func(_ *example, o *outcome) float64 { return share(o.greedy[0]) }}
		}
		return accuracy
	}
	all := perplexities()
	return all[slices.IndexFunc(all, func(m *Measure) bool { return m.Name == f.name })]
}

// matching says what does not matter when texts are compared.
type matching struct {
	anyCase, noPunctuation, noNumbers bool
	without                           []*regexp2.Regexp
}

func (m matching) plain(s string) string {
	for _, re := range m.without {
		if replaced, err := re.Replace(s, "", -1, -1); err == nil {
			s = replaced
		}
	}
	if m.anyCase {
		s = strings.ToLower(s)
	}
	drop := func(characters string) {
		s = strings.Map(func(r rune) rune {
			if strings.ContainsRune(characters, r) {
				return -1
			}
			return r
		}, s)
	}
	if m.noPunctuation {
		drop("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
	}
	if m.noNumbers {
		drop("0123456789")
	}
	return s
}
