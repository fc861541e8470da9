package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"slices"

	"github.com/ggufkit/ggufkit/infer/eval"
)

//go:embed eval.html
var evalPage string

// Page returns the report as an HTML page that needs nothing else.
func (e *Eval) Page() (string, error) {
	type model struct {
		Name string
		Rows []evalRow
	}
	type chart struct {
		Name, Average string
		Chart         template.HTML
	}
	var models []model
	for _, f := range e.forms() {
		models = append(models, model{f.name, evalRows(f.results, f.averages)})
	}
	var suites, formats []chart
	for _, s := range e.suites() {
		suites = append(suites, chart{s.name, s.average, s.chart()})
	}
	all := e.Differences()
	for _, c := range e.Candidates {
		formats = append(formats, chart{Name: c.Name, Chart: differenceChart(e.shownOf(c.Name), e.shown(all), func(d EvalDifference) string { return d.Task })})
	}
	together := slices.DeleteFunc(slices.Clone(all), func(d EvalDifference) bool { return d.Task != eval.AllTasks })
	return renderPage("eval", evalPage, template.FuncMap{}, struct {
		*Eval
		Models          []model
		Suites, Formats []chart
		Together        template.HTML
	}{e, models, suites, formats, differenceChart(together, together, func(d EvalDifference) string { return d.Candidate })})
}

// evalForm is the model, or another form of it, with its scores.
type evalForm struct {
	name     string
	results  []eval.Result
	groups   []eval.Group
	averages map[string]float64
}

// forms lists the model, and its other forms.
func (e *Eval) forms() []evalForm {
	forms := []evalForm{{"the model", e.Results, e.Groups, e.Averages}}
	for _, c := range e.Candidates {
		forms = append(forms, evalForm{c.Name, c.Results, c.Groups, c.Averages})
	}
	return forms
}

// evalSuite is what a chart of scores has: the tasks of a suite, and what each form of the model scores.
type evalSuite struct {
	name, average string
	tasks         []string
	forms         []string
	scores        map[string][]suiteScore // by task, of each form
}

// suiteScore is in percent; half is that of the 95 % interval, 0 if there is none.
type suiteScore struct{ value, half float64 }

// rowOf is where a task stands in charts: with the other subjects of MMLU, if they are there.
func (f evalForm) rowOf(r eval.Result) string {
	for _, group := range eval.MMLU {
		if slices.Contains(r.Groups, group) && f.group(group, r.Score().Name) != nil {
			return group
		}
	}
	return r.Task
}

// group returns a figure of a group, or nil.
func (f evalForm) group(name, metric string) *eval.Group {
	i := slices.IndexFunc(f.groups, func(g eval.Group) bool { return g.Name == name && g.Metric == metric })
	if i < 0 {
		return nil
	}
	return &f.groups[i]
}

// score returns what stands in the row of a task.
func (f evalForm) score(r eval.Result) suiteScore {
	m := r.Score()
	s := suiteScore{value: 100 * m.Value}
	stderr := m.Stderr
	if g := f.group(f.rowOf(r), m.Name); g != nil {
		s.value, stderr = 100*g.Value, g.Stderr
	}
	if stderr != nil {
		s.half = 196 * *stderr
	}
	return s
}

// suites sorts the tasks into the suites that are whole, whose average there is, and others. What is no part of documents, as
// perplexities, is in none.
func (e *Eval) suites() []evalSuite {
	forms := e.forms()
	var names []string
	for _, f := range forms {
		names = append(names, f.name)
	}
	var suites []evalSuite
	placed := make(map[string]bool)
	fill := func(name, average string, belongs func(eval.Result) bool) {
		s := evalSuite{name: name, average: average, forms: names, scores: make(map[string][]suiteScore)}
		for i, r := range e.Results {
			row := forms[0].rowOf(r)
			if !r.Score().HigherIsBetter || !belongs(r) || s.scores[row] != nil {
				continue
			}
			placed[row] = true
			s.tasks = append(s.tasks, row)
			for _, f := range forms {
				s.scores[row] = append(s.scores[row], f.score(f.results[i]))
			}
		}
		slices.Sort(s.tasks)
		if len(s.tasks) > 0 {
			suites = append(suites, s)
		}
	}
	for _, name := range eval.Suites {
		if mean, ok := e.Averages[name]; ok {
			fill(name, fmt.Sprintf("%.2f", 100*mean), func(r eval.Result) bool { return slices.Contains(r.Groups, name) })
		}
	}
	rest := "other tasks"
	if len(suites) == 0 {
		rest = "tasks"
	}
	fill(rest, "", func(r eval.Result) bool { return !placed[forms[0].rowOf(r)] })
	return suites
}

// chart shows the score of each task: one bar for each form of the model.
func (s evalSuite) chart() template.HTML {
	left, right := 4., wideChart-70
	for _, task := range s.tasks {
		left = max(left, textWidth(task)+12)
	}
	names := 0.
	if len(s.forms) > 1 {
		for _, name := range s.forms {
			names = max(names, textWidth(shortName(name))+12)
		}
	}
	x := axis{low: 0, high: 100, from: left + names, to: right, step: 20}
	const line = 18.
	block := line*float64(len(s.forms)) + 8
	bottom := block*float64(len(s.tasks)) + 4
	var c svg
	c.verticals(x, bottom)
	for i, task := range s.tasks {
		top := 8 + block*float64(i)
		c.text("label", "end", left-8, top+block/2, task)
		for j, score := range s.scores[task] {
			y := top + line*(float64(j)+0.5)
			title := fmt.Sprintf("%s, %s: %.2f", task, s.forms[j], score.value)
			if score.half > 0 {
				title += fmt.Sprintf(" (%.2f to %.2f)", max(0, score.value-score.half), min(100, score.value+score.half))
			}
			class := "bar"
			if j == 0 {
				class = "bar chosen"
			}
			if len(s.forms) > 1 {
				c.text("tick", "end", x.from-8, y+4, shortName(s.forms[j]))
			}
			c.element("rect", class, title, `x="%.1f" y="%.1f" width="%.1f" height="12"`, x.from, y-6, x.at(score.value)-x.from)
			if score.half > 0 {
				c.line("interval", title, x.at(max(0, score.value-score.half)), y, x.at(min(100, score.value+score.half)), y)
			}
			c.text("label", "start", right+8, y+4, fmt.Sprintf("%.2f", score.value))
		}
	}
	c.text("tick", "middle", (x.from+right)/2, bottom+40, "score, %")
	return c.done("across", wideChart, bottom+50, "scores of "+s.name)
}

// verticals draws the lines of an axis of which bars or intervals begin, and writes what they say.
func (s *svg) verticals(x axis, bottom float64) {
	for _, v := range x.ticks() {
		s.line("grid", "", x.at(v), 4, x.at(v), bottom)
		s.text("tick", "middle", x.at(v), bottom+18, tickText(v))
	}
}

// shown leaves out differences that have no place in a chart: of other figures than that which stands for the task, and of subjects
// of MMLU, which are there together.
func (e *Eval) shown(all []EvalDifference) []EvalDifference {
	base := e.forms()[0]
	return slices.DeleteFunc(slices.Clone(all), func(d EvalDifference) bool {
		i := slices.IndexFunc(e.Results, func(r eval.Result) bool { return r.Task == d.Task })
		if i < 0 {
			return false // of several
		}
		r := e.Results[i]
		return r.Score().Label() != d.Metric || base.rowOf(r) != r.Task && slices.ContainsFunc(all, func(o EvalDifference) bool { return o.Task == base.rowOf(r) })
	})
}

// shownOf lists what is shown of a candidate.
func (e *Eval) shownOf(candidate string) []EvalDifference {
	return slices.DeleteFunc(e.shown(e.Differences()), func(d EvalDifference) bool { return d.Candidate != candidate })
}

// differenceChart shows differences, each under a name, on an axis that has room for all of some others too.
func differenceChart(rows, others []EvalDifference, name func(EvalDifference) string) template.HTML {
	if len(rows) == 0 {
		return ""
	}
	low, high := 0., 0.
	for _, d := range others {
		low, high = min(low, 100*d.CI95[0]), max(high, 100*d.CI95[1])
	}
	left, right := 4., wideChart-90
	for _, r := range rows {
		left = max(left, textWidth(name(r))+12)
	}
	x := dataAxis(low, high, left, right)
	bottom := rowHeight*float64(len(rows)) + 4
	var s svg
	s.verticals(x, bottom)
	s.line("zero", "", x.at(0), 4, x.at(0), bottom)
	for i, r := range rows {
		y := 4 + rowHeight*(float64(i)+0.5)
		title := fmt.Sprintf("%s, %s: %s points, %s", r.Task, r.Candidate, r.Points(), r.Verdict())
		s.text("label", "end", left-8, y+4, name(r))
		s.line("interval", title, x.at(100*r.CI95[0]), y, x.at(100*r.CI95[1]), y)
		s.element("circle", "dot", title, `cx="%.1f" cy="%.1f" r="4"`, x.at(100*r.Delta), y)
		s.text("label", "start", right+8, y+4, fmt.Sprintf("%+.2f", 100*r.Delta))
	}
	s.text("tick", "middle", (left+right)/2, bottom+40, "difference of the score, points")
	return s.done("across", wideChart, bottom+50, "differences of scores")
}
