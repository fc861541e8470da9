package report

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/routing"
)

// Imatrix is an importance matrix that was measured.
type Imatrix struct {
	File     string     `json:"file,omitempty"`
	Chunks   int64      `json:"chunks"`
	Ctx      int64      `json:"ctx"`
	Tensors  int        `json:"tensors"`
	Coverage []Coverage `json:"coverage,omitempty"`
}

// Coverage is the part of a text that the experts of one layer saw.
type Coverage struct {
	Layer   int     `json:"layer"`
	Tokens  int64   `json:"tokens"`
	Experts []int64 `json:"experts"` // tokens of each
	// Entropy is that of the router, in bits, the mean over the tokens.
	Entropy float64 `json:"router_entropy"`
	// Few lists the experts with fewer tokens than were asked for.
	Few []int `json:"below_min_tokens"`
}

// NewCoverage reports on what the experts of each layer saw, and which saw fewer than minTokens tokens.
func NewCoverage(layers []routing.Layer, minTokens int64) []Coverage {
	var reports []Coverage
	for _, l := range layers {
		r := Coverage{Layer: l.Layer, Tokens: l.Tokens, Experts: l.Chosen, Entropy: l.Entropy, Few: []int{}}
		for expert, n := range l.Chosen {
			if n < minTokens {
				r.Few = append(r.Few, expert)
			}
		}
		reports = append(reports, r)
	}
	return reports
}

// PrintCoverage shows the share of the tokens that each expert was given.
func (r Imatrix) PrintCoverage(w io.Writer, minTokens int64) {
	if len(r.Coverage) == 0 {
		fmt.Fprintln(w, "the model has no experts")
		return
	}
	columns := []string{"layer"}
	for expert := range r.Coverage[0].Experts {
		columns = append(columns, fmt.Sprintf("expert %d", expert))
	}
	columns = append(columns, "router entropy", "fewest tokens")
	t := display.NewTable(w, columns, columns...)
	few := 0
	for _, l := range r.Coverage {
		row := table.Row{l.Layer}
		fewest := l.Experts[0]
		for _, n := range l.Experts {
			row = append(row, fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(1, l.Tokens))))
			fewest = min(fewest, n)
		}
		t.AppendRow(append(row, fmt.Sprintf("%.2f bits", l.Entropy), fewest))
		few += len(l.Few)
	}
	t.Render()
	if few > 0 {
		fmt.Fprintf(w, "%d experts saw fewer than %d tokens: a longer text would serve them better\n", few, minTokens)
	}
}
