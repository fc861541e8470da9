package report

import (
	"fmt"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/infer/display"
)

// overview has a row for the base and one for each candidate.
func (r *view) overview(w io.Writer) table.Writer {
	ratio := "ratio to the " + r.Base.noun()
	columns := []string{"model", "size", "bits per weight", "perplexity", ratio, "mean KL divergence", "99 %", "same top token", "RMS Δp"}
	mixed, routed := r.mixed(), len(r.Candidates) > 0 && r.Candidates[0].Router != nil
	if routed {
		columns = append(columns, "same experts")
	}
	numbers := columns[1:]
	if mixed {
		columns = slices.Concat([]string{"model", "format", "size", "bits per packed weight"}, columns[2:])
		numbers = columns[2:]
	}
	t := display.NewTable(w, columns, numbers...).Spare("same experts", "RMS Δp", "99 %", "same top token", "bits per weight", ratio, "perplexity",
		"bits per packed weight")
	start := func(name string, s Storage) table.Row {
		if !mixed {
			return table.Row{name, display.Bytes(s.Bytes), fmt.Sprintf("%.2f", s.BPW)}
		}
		return table.Row{name, s.form(), display.Bytes(s.Bytes), s.packedBits(), fmt.Sprintf("%.2f", s.BPW)}
	}
	base := "the " + r.Base.noun()
	if !mixed {
		base += ", " + r.Base.What()
	}
	t.AppendRow(append(start(base, r.Base.Storage), fmt.Sprintf("%.3f", r.Base.PPL)))
	for _, c := range r.Candidates {
		row := append(start(c.Name, c.Storage),
			fmt.Sprintf("%.3f", c.PPL),
			withInterval("%.4f", c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh),
			withInterval("%.5f", c.KLD, c.KLDLow, c.KLDHigh), fmt.Sprintf("%.4f", c.KLDP99),
			percentWithInterval(c.SameTop, c.SameTopLow, c.SameTopHigh),
			fmt.Sprintf("%.2f %%", 100*c.RMSDeltaP),
		)
		if routed {
			row = append(row, fmt.Sprintf("%.2f %%", 100**c.Router))
		}
		t.AppendRow(row)
	}
	return t
}

// textTable has the divergence of each candidate on each text.
func (r *view) textTable(w io.Writer) table.Writer {
	columns := []string{"mean KL divergence"}
	for _, text := range r.Texts {
		columns = append(columns, display.Stem(text.File))
	}
	t := display.NewTable(w, columns, columns[1:]...)
	for _, c := range r.Candidates {
		row := table.Row{c.Name}
		for _, text := range c.ByText {
			row = append(row, withInterval("%.5f", text.KLD, text.KLDLow, text.KLDHigh))
		}
		t.AppendRow(row)
	}
	return t
}
