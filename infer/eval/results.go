package eval

import (
	"cmp"
	"math"
	"slices"
)

// Result is what a model makes of a task.
type Result struct {
	Task    string   `json:"task"`
	Group   string   `json:"group,omitempty"`  // the smallest
	Groups  []string `json:"groups,omitempty"` // all
	Version string   `json:"version"`
	Shots   int      `json:"num_fewshot"`
	N       int      `json:"n"`
	Metrics []Metric `json:"metrics"`
	// Main is the label of the figure that stands for the task: acc_norm beside acc, mc2 beside mc1.
	Main    string   `json:"main_metric"`
	Samples []Sample `json:"samples,omitempty"`

	task *Task
}

// Metric is a figure of a task, over its documents.
type Metric struct {
	Name           string   `json:"name"`
	Filter         string   `json:"filter"`
	Value          float64  `json:"value"`
	Stderr         *float64 `json:"stderr"` // nil where there is none: of one document, or of perplexities
	HigherIsBetter bool     `json:"higher_is_better"`
	// CI95 is the 95 % interval that comes with a score of llama.cpp's; nil of others.
	CI95 *[2]float64 `json:"ci95,omitempty"`

	values []float64 // of the documents
}

// Label is the name, with that of the filter if there is one.
func (m Metric) Label() string {
	if m.Filter == noFilter {
		return m.Name
	}
	return m.Name + "," + m.Filter
}

// noFilter is the Filter of what is not generated.
const noFilter = "none"

// Score returns the figure that stands for the task.
func (r Result) Score() Metric {
	return r.Metrics[max(0, slices.IndexFunc(r.Metrics, func(m Metric) bool { return m.Label() == r.Main }))]
}

// Sample is a document.
type Sample struct {
	Doc      int                `json:"doc"`
	Requests []SampleRequest    `json:"requests"`
	Pick     *int               `json:"pick,omitempty"`
	Gold     any                `json:"gold,omitempty"`
	Metrics  map[string]float64 `json:"metrics"`
	Filters  map[string]string  `json:"filters,omitempty"`
}

// SampleRequest is what was asked, and answered.
type SampleRequest struct {
	ContextSHA256      string   `json:"ctx_sha256,omitempty"`
	TextSHA256         string   `json:"text_sha256,omitempty"`
	Continuation       *string  `json:"continuation,omitempty"`
	ContextTokens      int      `json:"ctx_tokens,omitempty"`
	ContinuationTokens int      `json:"cont_tokens,omitempty"`
	FedTokens          int      `json:"fed_tokens,omitempty"`
	NewTokens          *int     `json:"new_tokens,omitempty"`
	LogLikelihood      *float64 `json:"ll,omitempty"`
	Greedy             *bool    `json:"greedy,omitempty"`
	Text               *string  `json:"text,omitempty"`
}

// Group is a figure of several tasks.
type Group struct {
	Name   string   `json:"name"`
	Metric string   `json:"metric"`
	Value  float64  `json:"value"`
	Stderr *float64 `json:"stderr,omitempty"`
}

// result computes the figures of a task from what a model made of its documents.
func (s Selection) result(docs []*document, outcomes []*outcome) Result {
	t := s.Task
	r := Result{Task: t.Name, Version: t.Version, Shots: s.Shots, N: len(docs), task: t}
	if r.Groups = t.Groups; len(t.Groups) > 0 {
		r.Group = t.Groups[0]
	}
	examples := make([]*example, len(docs))
	for i, d := range docs {
		examples[i] = d.example
	}
	for _, m := range t.Metrics {
		metric := Metric{Name: m.Name, Filter: cmp.Or(m.Filter, noFilter), HigherIsBetter: !m.LowerIsBetter}
		var sum float64
		for i, e := range examples {
			v := m.of(e, outcomes[i])
			metric.values = append(metric.values, v)
			sum += v
		}
		if m.total != nil {
			metric.Value = m.total(sum, examples)
		} else {
			metric.Value = sum / float64(len(docs))
			metric.Stderr = standardError(metric.values)
		}
		if m.interval != nil {
			ci := m.interval(metric.Value, len(docs))
			metric.CI95 = &ci
		}
		r.Metrics = append(r.Metrics, metric)
	}
	r.Main = r.Metrics[t.Score].Label()
	return r
}

// standardError is the sample's standard deviation by the root of its size; nil of one value.
func standardError(values []float64) *float64 {
	if len(values) < 2 {
		return nil
	}
	e := math.Sqrt(variance(values) / float64(len(values)))
	return &e
}

func variance(values []float64) float64 {
	mean, squares := mean(values), 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return squares / float64(len(values)-1)
}

// groups returns the figures of the groups that are whole: with old rules the plain mean of the tasks, else by the documents.
func (p *Profile) groups(results []Result) []Group {
	members := make(map[string][]*Result)
	for i := range results {
		for _, g := range results[i].task.Groups {
			members[g] = append(members[g], &results[i])
		}
	}
	want := p.groupSizes()
	groups := []Group{}
	for name, of := range members {
		if len(of) < 2 || len(of) < want[name] && !p.old {
			continue
		}
		for _, metric := range of[0].Metrics {
			if g, ok := p.group(name, metric.Name, of); ok {
				groups = append(groups, g)
			}
		}
	}
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Metric, b.Metric)) })
	return groups
}

// groupSizes returns how many tasks there are in each group.
func (p *Profile) groupSizes() map[string]int {
	sizes := make(map[string]int)
	for _, t := range p.Tasks() {
		for _, g := range t.Groups {
			sizes[g]++
		}
	}
	return sizes
}

// group returns a figure of a group, if all its tasks have it.
func (p *Profile) group(name, metric string, of []*Result) (Group, bool) {
	g := Group{Name: name, Metric: metric}
	n, squares := 0, 0.0
	for _, r := range of {
		i := slices.IndexFunc(r.Metrics, func(m Metric) bool { return m.Name == metric })
		if i < 0 || r.Metrics[i].values == nil {
			return g, false
		}
		m := r.Metrics[i]
		weight := 1.0
		if !p.old {
			weight = float64(r.N)
		}
		g.Value += weight * m.Value
		n += r.N
		if m.Stderr != nil {
			e := *m.Stderr
			squares += float64(r.N-1) * e * e * float64(r.N)
		}
	}
	if p.old {
		g.Value /= float64(len(of))
		return g, true
	}
	g.Value /= float64(n)
	if n > len(of) {
		e := math.Sqrt(squares / float64(n-len(of)) / float64(n))
		g.Stderr = &e
	}
	return g, true
}
