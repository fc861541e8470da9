package eval

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Paired compares a figure of a candidate with that of the first model, on the same documents.
type Paired struct {
	Task        string     `json:"task"` // or a group of them, or AllTasks
	Metric      string     `json:"metric"`
	N           int        `json:"n"`
	Delta       float64    `json:"delta"` // mean of the differences, candidate less first
	DeltaStderr *float64   `json:"delta_stderr"`
	CI95        [2]float64 `json:"ci95"` // percentiles of means of documents drawn again
	// OnlyBaseRight, OnlyCandidateRight and McNemar are of figures that are right or wrong: of documents that one has right, and the
	// probability of so unequal numbers of them if neither were better (McNemar's test, exact, two-sided).
	OnlyBaseRight      *int     `json:"only_base_right"`
	OnlyCandidateRight *int     `json:"only_candidate_right"`
	McNemar            *float64 `json:"mcnemar_p"`
	// ChangedAnswers is the part of documents whose answer is another, right or wrong.
	ChangedAnswers *float64 `json:"changed_answers"`
}

// AllTasks is the Task of figures over all documents of a run.
const AllTasks = "all"

// paired compares results on the same tasks, then those of groups that are whole, and of all, over their documents. changed says of
// each document whether it was answered otherwise.
func (p *Profile) paired(base, candidate []Result, changed [][]bool) []Paired {
	var all []Paired
	several := make(map[string]*differences)
	for i := range base {
		for j, m := range base[i].Metrics {
			if base[i].task.Metrics[j].total != nil {
				continue
			}
			d := &differences{base: m.values, candidate: candidate[i].Metrics[j].values, changed: changed[i]}
			all = append(all, d.paired(base[i].Task, m.Label()))
			if j == base[i].task.Score {
				for _, group := range append([]string{AllTasks}, base[i].task.Groups...) {
					sum, ok := several[group]
					if !ok {
						sum = &differences{}
						several[group] = sum
					}
					sum.tasks++
					sum.base, sum.candidate, sum.changed = append(sum.base, d.base...), append(sum.candidate, d.candidate...), append(sum.changed, d.changed...)
				}
			}
		}
	}
	sizes := p.groupSizes()
	for _, group := range slices.SortedFunc(maps.Keys(several), lastAll) {
		if sum := several[group]; sum.tasks > 1 && (group == AllTasks || sum.tasks == sizes[group]) {
			all = append(all, sum.paired(group, "score"))
		}
	}
	return all
}

// lastAll orders groups by name, with AllTasks last.
func lastAll(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == AllTasks:
		return 1
	case b == AllTasks:
		return -1
	}
	return strings.Compare(a, b)
}

// differences are figures of the same documents.
type differences struct {
	tasks           int // that they are of
	base, candidate []float64
	changed         []bool
}

func (d *differences) paired(task, metric string) Paired {
	n := len(d.base)
	values := make([]float64, n)
	whole := true
	only := [2]int{}
	changes := 0
	for i, b := range d.base {
		c := d.candidate[i]
		values[i] = c - b
		whole = whole && (b == 0 || b == 1) && (c == 0 || c == 1)
		if b > c {
			only[0]++
		} else if c > b {
			only[1]++
		}
		if d.changed[i] {
			changes++
		}
	}
	part := float64(changes) / float64(n)
	p := Paired{Task: task, Metric: metric, N: n, Delta: mean(values), DeltaStderr: standardError(values), CI95: bootstrap(values), ChangedAnswers: &part}
	if whole {
		probability := mcNemar(only[0], only[1])
		p.OnlyBaseRight, p.OnlyCandidateRight, p.McNemar = &only[0], &only[1], &probability
	}
	return p
}

// draws is how often the documents are drawn again for an interval.
const draws = 10000

// bootstrap returns the percentiles 2.5 and 97.5 of the means of as many values drawn again, always the same ones.
func bootstrap(values []float64) [2]float64 {
	r := rand.New(rand.NewPCG(1, 2))
	means := make([]float64, draws)
	for i := range means {
		var sum float64
		for range values {
			sum += values[r.IntN(len(values))]
		}
		means[i] = sum / float64(len(values))
	}
	slices.Sort(means)
	at := func(p float64) float64 {
		x := p * (draws - 1)
		i := int(x)
		return means[i] + (x-float64(i))*(means[min(i+1, draws-1)]-means[i])
	}
	return [2]float64{at(0.025), at(0.975)}
}

// mcNemar returns the two-sided probability of b against c, or further apart, of b + c fair coins.
func mcNemar(b, c int) float64 {
	n := b + c
	if n == 0 {
		return 1
	}
	logChoose := func(i int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		return a - b - c
	}
	var sum float64
	for i := range min(b, c) + 1 {
		sum += math.Exp(logChoose(i) - float64(n)*math.Ln2)
	}
	return min(1, 2*sum)
}
