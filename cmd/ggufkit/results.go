package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/ggufkit/ggufkit/infer/display"
)

// resultWriter is standard output. It remembers the first error, so that commands
// need not look after each line: run does when they are done.
type resultWriter struct {
	io.Writer
	terminal bool // which is sent no control characters
	err      error
}

func (w *resultWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.terminal {
		_, w.err = w.Writer.Write(display.Visible(p))
	} else {
		_, w.err = w.Writer.Write(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// LineWidth is for package display: what is printed fits the terminal.
func (w *resultWriter) LineWidth() int { return lineWidth(w) }

// printJSON writes the one JSON document of a command.
func printJSON(c *call, document any) error {
	encoder := json.NewEncoder(c.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// printResults prints what a command found, as JSON or with show. If one of the
// reports that are asked for goes to standard output, it prints nothing.
func printResults(c *call, document any, show func(io.Writer), reports ...string) error {
	switch {
	case c.json:
		return printJSON(c, document)
	case !slices.ContainsFunc(reports, isStdout):
		show(c.stdout)
	}
	return nil
}

// printNotes says what the user should know but did not ask for.
func printNotes(c *call, notes []string) {
	if c.quiet {
		return
	}
	for _, note := range notes {
		fmt.Fprintln(c.stderr, "note:", display.Message(note))
	}
}

// printWarnings says, also with --quiet, what is wrong with files beside a checkpoint.
func printWarnings(c *call, warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(c.stderr, "warning:", display.Message(warning))
	}
}
