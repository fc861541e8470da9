package display_test

import (
	"io"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/infer/display"
)

// render prints a table on so many columns, 0 for no limit.
func render(columns int, fill func(w io.Writer) table.Writer) string {
	s := screen{columns: columns}
	fill(&s).Render()
	return s.String()
}

// screen is as wide as it says.
type screen struct {
	strings.Builder
	columns int
}

func (s *screen) LineWidth() int { return s.columns }

func TestTablesFitTheTerminal(t *testing.T) {
	columns := []string{"model", "size", "mean divergence", "perplexity", "verdict"}
	fill := func(b io.Writer) table.Writer {
		t := display.NewTable(b, columns, columns[1:4]...).Spare("perplexity")
		t.AppendRow(table.Row{"Q8_0", "9.28 MiB", "0.00024 ± 0.00003", "14.237 ± 1.021", "good enough, but larger than IQ4_XS"})
		t.AppendRow(table.Row{"IQ4_XS", "4.99 MiB", "0.00467 ± 0.00016", "14.237 ± 1.021", "chosen: the smallest that is good enough"})
		return t
	}
	for _, test := range []struct {
		columns int
		want    string
	}{
		{0, `
model       size    mean divergence      perplexity  verdict
───────────────────────────────────────────────────────────────────────────────────────────────
Q8_0    9.28 MiB  0.00024 ± 0.00003  14.237 ± 1.021  good enough, but larger than IQ4_XS
IQ4_XS  4.99 MiB  0.00467 ± 0.00016  14.237 ± 1.021  chosen: the smallest that is good enough
`},
		{80, `
model       size    mean divergence      perplexity  verdict
────────────────────────────────────────────────────────────────────────────────
Q8_0    9.28 MiB  0.00024 ± 0.00003  14.237 ± 1.021  good enough, but larger
                                                     than IQ4_XS
IQ4_XS  4.99 MiB  0.00467 ± 0.00016  14.237 ± 1.021  chosen: the smallest that
                                                     is good enough
`},
		{64, `
model       size    mean divergence  verdict
────────────────────────────────────────────────────────────────
Q8_0    9.28 MiB  0.00024 ± 0.00003  good enough, but larger
                                     than IQ4_XS
IQ4_XS  4.99 MiB  0.00467 ± 0.00016  chosen: the smallest that
                                     is good enough
(no room for perplexity)
`},
	} {
		require.Equal(t, strings.TrimPrefix(test.want, "\n"), render(test.columns, fill), "%d columns", test.columns)
	}
}

// No line of any table is longer than the terminal is wide.
func TestTablesFitAnyTerminal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zé]{1,9}( [a-z]{1,9}){0,3}`), 2, 12, rapid.ID).Draw(rt, "names")
		right := rapid.SliceOfN(rapid.SampledFrom(names[1:]), 0, len(names)).Draw(rt, "right")
		rows := rapid.SliceOfN(rapid.SliceOfN(rapid.StringMatching(`([a-z0-9._é\n]{1,30} ?){0,3}`), len(names), len(names)), 1, 4).Draw(rt, "rows")
		limit := rapid.IntRange(20, 200).Draw(rt, "limit")
		out := render(limit, func(b io.Writer) table.Writer {
			t := display.NewTable(b, names, right...)
			for _, row := range rows {
				cells := table.Row{}
				for _, cell := range row {
					cells = append(cells, cell)
				}
				t.AppendRow(cells)
			}
			return t
		})
		for _, line := range strings.Split(out, "\n") {
			require.LessOrEqual(rt, text.StringWidth(line), limit, "%s", out)
		}
	})
}
