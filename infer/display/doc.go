// Package display writes numbers, names, sentences and tables for people to read.
//
// What comes from files is shown such that it cannot do harm: [Printable] escapes control
// characters, [Name] cuts what has no end, too. Tables and lines fit the terminal, if the
// writer knows how wide it is ([Width]).
//
//	t := display.NewTable(os.Stdout, []string{"tensor", "bytes"}, "bytes")
//	t.AppendRow(table.Row{info.Name, display.Bytes(info.Bytes())})
//	t.Render()
package display

import "io"

// Width returns how many characters a line of w may have, 0 if there is no limit. A writer
// says so with a method LineWidth.
func Width(w io.Writer) int {
	if limited, ok := w.(interface{ LineWidth() int }); ok {
		return limited.LineWidth()
	}
	return 0
}
