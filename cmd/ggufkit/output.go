package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/urfave/cli/v2"
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
		_, w.err = w.Writer.Write(visible(p))
	} else {
		_, w.err = w.Writer.Write(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// printJSON writes the one JSON document of a command.
func printJSON(c *cli.Context, document any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// secondsText prints how long something took.
func secondsText(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// bytesText prints a number of bytes in binary units with three digits.
func bytesText(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1000 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.*f %s", max(0, 2-int(math.Log10(max(1, value)))), value, unit)
}
