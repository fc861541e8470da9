package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// terminalOf returns the terminal that w writes to, nil if it is none.
func terminalOf(w io.Writer) *os.File {
	switch v := w.(type) {
	case *resultWriter:
		return terminalOf(v.Writer)
	case *console:
		return terminalOf(v.Writer)
	case *os.File:
		if term.IsTerminal(int(v.Fd())) {
			return v
		}
	}
	return nil
}

// lineWidth returns how many characters a line of w may have, 0 if there is no
// limit: what COLUMNS says, or the width of the terminal.
func lineWidth(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f := terminalOf(w); f != nil {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}
