package main

import (
	"encoding/json"
	"io"

	"github.com/urfave/cli/v2"

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
func printJSON(c *cli.Context, document any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}
