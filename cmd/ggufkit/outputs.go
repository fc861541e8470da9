package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
)

// checkOutputs refuses, before any work, outputs that could not be written at its
// end, and those that are among what is read: models, texts and so on. Paths that
// are empty are none.
func checkOutputs(c *cli.Context, outputs, reads []string) error {
	var inputs []files.Input
	for _, read := range reads {
		for _, path := range convert.Files(read) {
			if info, err := os.Stat(path); err == nil {
				inputs = append(inputs, files.Input{Path: path, Info: info})
			}
		}
	}
	for i, path := range outputs {
		switch {
		case path == "":
		case isStdout(path) && (c.Bool("json") || slices.ContainsFunc(outputs[:i], isStdout)):
			return usagef(c, "only one thing can be written to standard output")
		case isStdout(path):
		case slices.ContainsFunc(outputs[:i], func(other string) bool { return other != "" && absolute(other) == absolute(path) }):
			return usagef(c, "two outputs are called %q", path)
		default:
			if err := files.Check(path, c.Bool("force"), inputs...); err != nil {
				return forceHint(c, err)
			}
		}
	}
	return nil
}

// absolute returns a path from the root, or as it is if there is none.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// checkModelOutput is checkOutputs for a GGUF file, which may be written as several.
func checkModelOutput(c *cli.Context, out string, split bool, reads []string) error {
	switch {
	case isStdout(out):
		return usagef(c, "a GGUF file cannot be written to standard output, since it is not written from its start to its end")
	case !strings.HasSuffix(out, ".gguf"):
		return usagef(c, "the output is called %q, but the name of a GGUF file ends in .gguf", out)
	case c.Bool("dry-run"):
		return nil
	case split: // how many there will be is not known yet, only where
		return files.Check(gguf.SplitPath(strings.TrimSuffix(out, ".gguf"), 0, 1), true)
	}
	return checkOutputs(c, []string{out}, reads)
}

// forceHint says what to do about an output that is there already.
func forceHint(c *cli.Context, err error) error {
	if errors.Is(err, fs.ErrExist) && !c.Bool("force") {
		return fmt.Errorf("%w: use --force to overwrite it", err)
	}
	return err
}

// isStdout reports whether a path of an output means standard output.
func isStdout(path string) bool {
	return slices.Contains([]string{"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}, path)
}

// printResults prints what a command found, as JSON or with show. If one of the
// reports that are asked for goes to standard output, it prints nothing.
func printResults(c *cli.Context, document any, show func(io.Writer), reports ...string) error {
	switch {
	case c.Bool("json"):
		return printJSON(c, document)
	case !slices.ContainsFunc(reports, isStdout):
		show(c.App.Writer)
	}
	return nil
}

// saveReport writes one of the reports that are asked for, and says so.
func saveReport(c *cli.Context, path, content string) error {
	if isStdout(path) {
		_, err := io.WriteString(c.App.Writer, content)
		return err
	}
	if err := files.Write(path, []byte(content), c.Bool("force")); err != nil {
		return err
	}
	if !c.Bool("quiet") {
		fmt.Fprintln(c.App.ErrWriter, "wrote", display.Printable(path))
	}
	return nil
}
