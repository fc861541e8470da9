package report

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/infer/display"
)

// overview has a row for the base and one for each candidate.
func (r *view) overview(w io.Writer) table.Writer {
	columns := []string{"model", "size", "bits per weight", "perplexity", "ratio to the original", "mean KL divergence", "99 %", "same top token", "RMS Δp"}
	routed := len(r.Candidates) > 0 && r.Candidates[0].Router != nil
	if routed {
		columns = append(columns, "same experts")
	}
	t := display.NewTable(w, columns, columns[1:]...).Spare("same experts", "RMS Δp", "99 %", "same top token", "bits per weight", "ratio to the original",
		"perplexity")
	t.AppendRow(table.Row{"the original, " + r.Base.Type, display.Bytes(r.Base.Bytes), fmt.Sprintf("%.2f", r.Base.BPW), fmt.Sprintf("%.3f", r.Base.PPL)})
	for _, c := range r.Candidates {
		row := table.Row{
			c.Name, display.Bytes(c.Bytes), fmt.Sprintf("%.2f", c.BPW),
			fmt.Sprintf("%.3f", c.PPL),
			withInterval("%.4f", c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh),
			withInterval("%.5f", c.KLD, c.KLDLow, c.KLDHigh), fmt.Sprintf("%.4f", c.KLDP99),
			percentWithInterval(c.SameTop, c.SameTopLow, c.SameTopHigh),
			fmt.Sprintf("%.2f %%", 100*c.RMSDeltaP),
		}
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
