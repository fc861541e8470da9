package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

// resultWriter is standard output. It remembers the first error, so that commands
// need not look after each line: run does when they are done.
type resultWriter struct {
	io.Writer
	err error
}

func (w *resultWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.Writer.Write(p)
	w.err = err
	return n, err
}

// printJSON writes the one JSON document of a command.
func printJSON(c *cli.Context, document any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
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

// writeWhole writes a file that appears whole or not at all.
func writeWhole(path, data string) error {
	temporary := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.tmp-%08x", filepath.Base(path), rand.Uint32()))
	err := os.WriteFile(temporary, []byte(data), 0o666)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(temporary))
	}
	return err
}

// checkFree refuses an output that is there already, before any work. A path that
// is empty is none.
func checkFree(c *cli.Context, path string) error {
	if _, err := os.Lstat(path); path != "" && err == nil && !c.Bool("force") {
		return fmt.Errorf("%s: %w: use --force to overwrite it", path, fs.ErrExist)
	}
	return nil
}
