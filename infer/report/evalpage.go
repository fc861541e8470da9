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
	models := []model{{"the model", evalRows(e.Results, e.Averages)}}
	for _, c := range e.Candidates {
		models = append(models, model{c.Name, evalRows(c.Results, c.Averages)})
	}
	return renderPage("eval", evalPage, template.FuncMap{}, struct {
		*Eval
		Models       []model
		Scores, Diff template.HTML
	}{e, models, e.scoreChart(), e.differenceChart()})
}

// scoreOf returns the figure that stands for a task, if it is a part of documents.
func scoreOf(r eval.Result) (eval.Metric, bool) {
	m := r.Score()
	return m, m.HigherIsBetter
}

// scoreChart shows the score of each task with the interval that its standard error tells.
func (e *Eval) scoreChart() template.HTML {
	type row struct {
		name  string
		value float64
		error float64
	}
	var rows []row
	for _, r := range byTask(e.Results) {
		if m, ok := scoreOf(r); ok {
			v := row{name: r.Task, value: 100 * m.Value}
			if m.Stderr != nil {
				v.error = 196 * *m.Stderr
			}
			rows = append(rows, v)
		}
	}
	if len(rows) == 0 {
		return ""
	}
	left, right := 4., wideChart-70
	for _, r := range rows {
		left = max(left, textWidth(r.name)+12)
	}
	x := axis{low: 0, high: 100, from: left, to: right, step: 20}
	bottom := rowHeight*float64(len(rows)) + 4
	var s svg
	for _, v := range x.ticks() {
		s.line("grid", "", x.at(v), 4, x.at(v), bottom)
		s.text("tick", "middle", x.at(v), bottom+18, tickText(v))
	}
	for i, r := range rows {
		y := 4 + rowHeight*(float64(i)+0.5)
		title := fmt.Sprintf("%s: %.2f ± %.2f", r.name, r.value, r.error)
		s.text("label", "end", left-8, y+4, r.name)
		s.element("rect", "bar", title, `x="%.1f" y="%.1f" width="%.1f" height="14"`, left, y-7, x.at(r.value)-left)
		s.line("interval", title, x.at(max(0, r.value-r.error)), y, x.at(min(100, r.value+r.error)), y)
		s.text("label", "start", right+8, y+4, fmt.Sprintf("%.2f", r.value))
	}
	s.text("tick", "middle", (left+right)/2, bottom+40, "score, %")
	return s.done("across", wideChart, bottom+50, "score of each task")
}

// differenceChart shows how the scores of each candidate differ, task by task.
func (e *Eval) differenceChart() template.HTML {
	var rows []EvalDifference
	low, high := 0., 0.
	for _, d := range e.Differences() {
		if d.Task != eval.AllTasks && !e.stands(d) {
			continue
		}
		rows = append(rows, d)
		low, high = min(low, 100*d.CI95[0]), max(high, 100*d.CI95[1])
	}
	if len(rows) == 0 {
		return ""
	}
	slices.SortStableFunc(rows, func(a, b EvalDifference) int { return compareTasks(a.Task, b.Task) })
	name := func(d EvalDifference) string { return d.Task + ", " + d.Candidate }
	left, right := 4., wideChart-90
	for _, r := range rows {
		left = max(left, textWidth(name(r))+12)
	}
	x := dataAxis(low, high, left, right)
	bottom := rowHeight*float64(len(rows)) + 4
	var s svg
	for _, v := range x.ticks() {
		s.line("grid", "", x.at(v), 4, x.at(v), bottom)
		s.text("tick", "middle", x.at(v), bottom+18, tickText(v))
	}
	s.line("zero", "", x.at(0), 4, x.at(0), bottom)
	for i, r := range rows {
		y := 4 + rowHeight*(float64(i)+0.5)
		title := fmt.Sprintf("%s: %s points, %s", name(r), r.Points(), r.Verdict())
		s.text("label", "end", left-8, y+4, name(r))
		s.line("interval", title, x.at(100*r.CI95[0]), y, x.at(100*r.CI95[1]), y)
		s.element("circle", "dot", title, `cx="%.1f" cy="%.1f" r="4"`, x.at(100*r.Delta), y)
		s.text("label", "start", right+8, y+4, fmt.Sprintf("%+.2f", 100*r.Delta))
	}
	s.text("tick", "middle", (left+right)/2, bottom+40, "difference of the score, points")
	return s.done("across", wideChart, bottom+50, "difference of the score of each task and candidate")
}

// stands reports whether a difference is of the figure that stands for its task.
func (e *Eval) stands(d EvalDifference) bool {
	i := slices.IndexFunc(e.Results, func(r eval.Result) bool { return r.Task == d.Task })
	return i >= 0 && e.Results[i].Score().Label() == d.Metric
}

// compareTasks has all tasks last.
func compareTasks(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == eval.AllTasks:
		return 1
	case b == eval.AllTasks:
		return -1
	case a < b:
		return -1
	}
	return 1
}
