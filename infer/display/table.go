package display

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Table is a table that fits the terminal: headers, then cells of text are
// folded, then columns are left out, and what is left out is said below. Cells and
// column names may be from files, what is not printable in them is escaped.
type Table struct {
	table.Writer
	w       io.Writer
	columns []tableColumn
}

type tableColumn struct {
	number int // from 1
	name   string
	right  bool // aligned to the right, never folded
	spare  int  // columns with higher numbers are left out first, 0 last
	widest int  // cell
}

// columnGap is what stands between columns.
const columnGap = "  "

// NewTable returns a table with the given column names. Columns named in right
// are aligned to the right.
func NewTable(w io.Writer, columns []string, right ...string) *Table {
	t := &Table{Writer: table.NewWriter(), w: w}
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true, SeparateFooter: true}
	style.Format.Header = text.FormatDefault
	style.Format.Footer = text.FormatDefault
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = columnGap
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	header := table.Row{}
	for i, name := range columns {
		t.columns = append(t.columns, tableColumn{number: i + 1, name: Name(name), right: slices.Contains(right, name)})
		header = append(header, Name(name))
	}
	t.AppendHeader(header)
	t.configure(nil, nil)
	return t
}

// Spare names the columns that are left out if there is no room for all, the first
// one first. Others are left out after them, from the right, but for the first.
func (t *Table) Spare(names ...string) *Table {
	for i := range t.columns {
		if at := slices.Index(names, t.columns[i].name); at >= 0 {
			t.columns[i].spare = len(names) - at
		}
	}
	return t
}

// AppendRow adds a row.
func (t *Table) AppendRow(row table.Row, config ...table.RowConfig) {
	t.Writer.AppendRow(t.cells(row), config...)
}

// AppendFooter adds a row below the rule at the end.
func (t *Table) AppendFooter(row table.Row, config ...table.RowConfig) {
	t.Writer.AppendFooter(t.cells(row), config...)
}

func (t *Table) cells(row table.Row) table.Row {
	cells := make(table.Row, len(row))
	for i, cell := range row {
		s := Name(fmt.Sprint(cell))
		cells[i] = s
		t.columns[i].widest = max(t.columns[i].widest, text.StringWidth(s))
	}
	return cells
}

// Render prints the table.
func (t *Table) Render() string {
	limit := Width(t.w)
	widths, hidden := t.fit(limit)
	t.configure(widths, hidden)
	out := t.Writer.Render()
	if n := len(hidden); n > 0 {
		names := make([]string, n)
		for i, column := range hidden {
			names[i] = column.name
		}
		note := fmt.Sprintf("(no room for %s)", strings.Join(names, ", "))
		if n > 4 {
			note = fmt.Sprintf("(no room for %s, %s ... %s: %d columns)", names[0], names[1], names[n-1], n)
		}
		Line(t.w, note)
	}
	return out
}

// configure sets how wide columns are, by their numbers, where that is limited, and
// which are hidden.
func (t *Table) configure(widths map[int]int, hidden []tableColumn) {
	var configs []table.ColumnConfig
	for _, column := range t.columns {
		config := table.ColumnConfig{Number: column.number, Hidden: slices.Contains(hidden, column)}
		if column.right {
			config.Align, config.AlignHeader, config.AlignFooter = text.AlignRight, text.AlignRight, text.AlignRight
		}
		if width, limited := widths[column.number]; limited {
			config.WidthMax, config.WidthMaxEnforcer = width, wrapped
		}
		configs = append(configs, config)
	}
	t.SetColumnConfigs(configs)
}

// Line prints a line of text, folded at blanks if the terminal is narrower.
func Line(w io.Writer, line string) {
	if limit := Width(w); limit > 0 {
		line = wrapped(line, limit)
	}
	fmt.Fprintln(w, line)
}

// wrapped is text.WrapSoft without the blanks at the ends of lines, which are not
// aligned to the right otherwise.
func wrapped(s string, width int) string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// Cells of text are folded to no less than these widths: as long as there are
// columns to spare, and when there are none.
const (
	foldFirst = 24
	foldLast  = 8
)

// fit returns how wide each column may be, and which columns are left out, in
// their order, so that a line has at most limit characters.
func (t *Table) fit(limit int) (widths map[int]int, hidden []tableColumn) {
	shown := slices.Clone(t.columns)
	if limit == 0 || total(shown, func(c tableColumn) int { return max(c.widest, text.StringWidth(c.name)) }) <= limit {
		return nil, nil
	}
	for _, least := range []int{foldFirst, foldLast} {
		for {
			if widths = fold(shown, limit, least); widths != nil {
				break
			}
			at := expendable(shown, least == foldLast)
			if at < 0 {
				break
			}
			shown = slices.Delete(shown, at, at+1)
		}
		if widths != nil {
			break
		}
	}
	for _, column := range t.columns {
		if !slices.Contains(shown, column) {
			hidden = append(hidden, column)
		}
	}
	return widths, hidden
}

// expendable returns which column to leave out next, -1 if there is none. If last is
// set, any but the first can be.
func expendable(columns []tableColumn, last bool) int {
	at := -1
	for i, column := range columns {
		if column.spare > 0 && (at < 0 || column.spare > columns[at].spare) {
			at = i
		}
	}
	if at < 0 && last && len(columns) > 1 {
		at = len(columns) - 1
	}
	return at
}

// fold returns widths with which the columns fit, nil if there are none. The widest
// column of text is made narrower first, the first column, what a row is called,
// last.
func fold(columns []tableColumn, limit, least int) map[int]int {
	widths := make(map[int]int)
	for _, column := range columns {
		widths[column.number] = max(column.widest, longestWord(column.name))
	}
	width := func(c tableColumn) int { return widths[c.number] }
	for total(columns, width) > limit {
		narrow := widestText(columns[1:], widths, least)
		if narrow == 0 {
			narrow = widestText(columns[:1], widths, least)
		}
		if narrow == 0 {
			return nil
		}
		widths[narrow]--
	}
	return widths
}

// widestText returns the number of the widest column of text that is wider than
// least, 0 if there is none.
func widestText(columns []tableColumn, widths map[int]int, least int) int {
	widest := 0
	for _, column := range columns {
		if !column.right && widths[column.number] > max(least, widths[widest]) {
			widest = column.number
		}
	}
	return widest
}

func total(columns []tableColumn, width func(tableColumn) int) int {
	sum := 0
	for _, column := range columns {
		sum += width(column) + len(columnGap)
	}
	return sum
}

func longestWord(s string) int {
	longest := 0
	for _, word := range strings.Fields(s) {
		longest = max(longest, text.StringWidth(word))
	}
	return longest
}
