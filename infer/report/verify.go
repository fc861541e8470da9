package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/verify"
)

// PrintVerification lists what was found in a file on a terminal.
func PrintVerification(w io.Writer, r *verify.Report) {
	for _, note := range r.Notes {
		fmt.Fprintln(w, display.Printable(note))
	}
	var checks []string
	for _, c := range r.Checked {
		checks = append(checks, string(c))
	}
	what := fmt.Sprintf("%d tensors, %s; checked: %s", r.Tensors, display.Bytes(r.Bytes), strings.Join(checks, ", "))
	if r.Good {
		fmt.Fprintf(w, "good: %s: %s\n", display.Printable(r.File), what)
		return
	}
	t := display.NewTable(w, []string{"check", "file", "tensor", "offset", "what is wrong"}, "offset").Spare("file")
	for _, f := range r.Findings {
		offset := ""
		if f.Offset != nil {
			offset = fmt.Sprint(*f.Offset)
		}
		t.AppendRow(table.Row{string(f.Check), f.File, f.Tensor, offset, f.What})
	}
	t.Render()
	fmt.Fprintf(w, "not good: %s: %d findings in %s\n", display.Printable(r.File), len(r.Findings), what)
}
