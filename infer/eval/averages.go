package eval

import "slices"

// Suites are the groups that have an average: the leaderboard's six, and those that the Nous suite is made of.
var Suites = []string{"openllm", "agieval", "gpt4all", "truthfulqa", "bigbench"}

var nousSuites = Suites[1:]

// MMLU are the groups of its subjects, which are one task of a suite.
var MMLU = []string{"hendrycksTest", "mmlu"}

// Averages are the plain means of suites, as cards have them: of the leaderboard's six, of the four of the Nous suite, and of
// these. One that is not whole is missing.
func (p *Profile) averages(results []Result) map[string]float64 {
	averages := make(map[string]float64)
	for _, suite := range Suites {
		if mean, ok := p.average(suite, results); ok {
			averages[suite] = mean
		}
	}
	var nous []float64
	for _, suite := range nousSuites {
		if mean, ok := averages[suite]; ok {
			nous = append(nous, mean)
		}
	}
	if len(nous) == 4 {
		averages["nous"] = mean(nous)
	}
	return averages
}

// average returns the mean of a suite's tasks, those of MMLU being one.
func (p *Profile) average(suite string, results []Result) (float64, bool) {
	var scores, subjects []float64
	for _, t := range p.Tasks() {
		if !slices.Contains(t.Groups, suite) {
			continue
		}
		i := slices.IndexFunc(results, func(r Result) bool { return r.Task == t.Name })
		if i < 0 {
			return 0, false
		}
		score := results[i].Metrics[t.Score].Value
		if slices.ContainsFunc(t.Groups, func(g string) bool { return slices.Contains(MMLU, g) }) {
			subjects = append(subjects, score)
		} else {
			scores = append(scores, score)
		}
	}
	if len(subjects) > 0 {
		scores = append(scores, mean(subjects))
	}
	return mean(scores), len(scores) > 0
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
