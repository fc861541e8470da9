package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/ggufkit/ggufkit/infer/display"
)

// view is a Drift as it is shown: its candidates from large to small, with the one to take, and the choice
// if there is one.
type view struct {
	*Drift
	said   *Drift  // with the candidates in the order of the report, in which sentences list them
	choice *Choice // or nil
	take   string  // the name of the candidate to take, or "", as where nobody knows the original
}

func newView(d *Drift, choice *Choice) *view {
	sorted := *d
	sorted.Candidates = slices.Clone(d.Candidates)
	slices.SortStableFunc(sorted.Candidates, func(a, b Candidate) int { return cmp.Compare(b.Bytes, a.Bytes) })
	r := &view{Drift: &sorted, said: d, choice: choice}
	if choice != nil {
		r.take = choice.Chosen.Name
	} else if good, _ := d.sortOut(); good != nil && !d.Base.Quantized {
		r.take = good.Name
	}
	return r
}

// Print shows the report on a terminal.
func (r *Drift) Print(w io.Writer) { newView(r, nil).print(w) }

// Print shows the choice, and what it rests on, on a terminal.
func (c *Choice) Print(w io.Writer) {
	c.PrintTable(w)
	fmt.Fprintln(w)
	for _, line := range slices.Concat(c.Summary, c.Terms) {
		display.Line(w, line)
	}
	fmt.Fprintln(w)
	newView(c.Drift, c).print(w)
}

// print shows what a Drift and a Choice have in common.
func (r *view) print(w io.Writer) {
	r.overview(w).Render()
	if len(r.Texts) > 1 {
		fmt.Fprintln(w)
		r.textTable(w).Render()
	}
	fmt.Fprintln(w)
	for _, line := range r.said.method() {
		display.Line(w, line)
	}
}
