package report

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/routing"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// Imatrix is an importance matrix that was measured.
type Imatrix struct {
	File     string     `json:"file,omitempty"`
	Chunks   int64      `json:"chunks"`
	Ctx      int64      `json:"ctx"`
	Tensors  int        `json:"tensors"`
	Coverage []Coverage `json:"coverage,omitempty"`
	*ImatrixStatistics
}

// ImatrixStatistics says what the values of an importance matrix are like.
type ImatrixStatistics struct {
	Values []ImatrixTensor `json:"statistics"`
	Layers []ImatrixLayer  `json:"layers"`
}

// ImatrixTensor has the figures of imatrix.Statistics.
type ImatrixTensor struct {
	Tensor   string  `json:"tensor"`
	Layer    int     `json:"layer"`
	Matrices int     `json:"matrices"`
	Seen     int     `json:"seen"`
	Values   int     `json:"values"`
	Sum      float64 `json:"sum"`
	Mean     float64 `json:"mean"`
	StdDev   float64 `json:"std_dev"`
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`
	Skew     float64 `json:"skew"`
	Kurtosis float64 `json:"kurtosis"`
	Entropy  float64 `json:"entropy"`
	Active   float64 `json:"active"`
	ImatrixLikeness
}

// ImatrixLayer has those of imatrix.LayerStatistics.
type ImatrixLayer struct {
	Layer int     `json:"layer"`
	Sum   float64 `json:"sum"`
	ImatrixLikeness
}

// ImatrixLikeness compares with the layer before; null where there is none.
type ImatrixLikeness struct {
	Gain        *float64 `json:"gain"`
	Cosine      *float64 `json:"cosine"`
	Correlation *float64 `json:"correlation"`
	Covariance  *float64 `json:"covariance"`
}

func newImatrixLikeness(l imatrix.Likeness) ImatrixLikeness {
	return ImatrixLikeness{known(l.Gain), known(l.Cosine), known(l.Correlation), known(l.Covariance)}
}

// NewImatrixStatistics reports on an importance matrix.
func NewImatrixStatistics(sums *imatrix.Sums) *ImatrixStatistics {
	tensors, layers := sums.Statistics()
	r := &ImatrixStatistics{Layers: []ImatrixLayer{}}
	for _, s := range tensors {
		r.Values = append(r.Values, ImatrixTensor{
			s.Tensor, s.Layer, s.Matrices, s.Seen, s.Values, s.Sum, s.Mean, s.StdDev, s.Min, s.Max, s.Skew, s.Kurtosis, s.Entropy, s.Active,
			newImatrixLikeness(s.Likeness),
		})
	}
	for _, l := range layers {
		r.Layers = append(r.Layers, ImatrixLayer{l.Layer, l.Sum, newImatrixLikeness(l.Likeness)})
	}
	return r
}

// Print shows the figures of tensors and layers.
func (r *ImatrixStatistics) Print(w io.Writer) {
	short := func(x *float64) string { return decimals(x, "%.2f") }
	long := func(x *float64) string { return decimals(x, "%.4f") }
	columns := []string{"tensor", "sum", "mean", "std dev", "min", "max", "skew", "kurtosis", "entropy", "active", "gain", "cosine", "correlation", "covariance"}
	t := display.NewTable(w, columns, columns[1:]...).Spare("skew", "kurtosis", "covariance", "min", "active")
	for _, s := range r.Values {
		name := s.Tensor
		if s.Seen < s.Matrices {
			name += fmt.Sprintf(" (%d of %d)", s.Seen, s.Matrices)
		}
		t.AppendRow(table.Row{
			name, fmt.Sprintf("%.4f", s.Sum), fmt.Sprintf("%.4f", s.Mean), fmt.Sprintf("%.4f", s.StdDev), fmt.Sprintf("%.4g", s.Min), fmt.Sprintf("%.4g", s.Max),
			fmt.Sprintf("%.4f", s.Skew), fmt.Sprintf("%.4f", s.Kurtosis), fmt.Sprintf("%.2f %%", 100*s.Entropy), fmt.Sprintf("%.2f %%", 100*s.Active),
			short(s.Gain), long(s.Cosine), long(s.Correlation), long(s.Covariance),
		})
	}
	t.Render()
	if len(r.Layers) == 0 {
		return
	}
	fmt.Fprintln(w)
	columns = []string{"layer", "sum", "gain", "cosine", "correlation", "covariance"}
	t = display.NewTable(w, columns, columns...)
	for _, l := range r.Layers {
		t.AppendRow(table.Row{l.Layer, fmt.Sprintf("%.4f", l.Sum), short(l.Gain), long(l.Cosine), long(l.Correlation), long(l.Covariance)})
	}
	t.Render()
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
