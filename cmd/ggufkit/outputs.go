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

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
)

// checkOutputs refuses, before any work, outputs that could not be written at its
// end, and those that are among what is read: models, texts and so on. Paths that
// are empty are none.
func checkOutputs(c *call, outputs, reads []string) error {
	inputs := inputsOf(reads)
	for i, path := range outputs {
		switch {
		case path == "":
		case isStdout(path) && (c.json || slices.ContainsFunc(outputs[:i], isStdout)):
			return c.usagef("only one thing can be written to standard output")
		case isStdout(path):
		case slices.ContainsFunc(outputs[:i], func(other string) bool { return other != "" && absolute(other) == absolute(path) }):
			return c.usagef("two outputs are called %q", path)
		default:
			if err := files.Check(path, c.force, inputs...); err != nil {
				return forceHint(c, err)
			}
		}
	}
	return nil
}

// inputsOf returns the files that are read where paths are: models, texts and so on.
func inputsOf(reads []string) (inputs []files.Input) {
	for _, read := range reads {
		for _, path := range convert.Files(read) {
			if info, err := os.Stat(path); err == nil {
				inputs = append(inputs, files.Input{Path: path, Info: info})
			}
		}
	}
	return inputs
}

// absolute returns a path from the root, or as it is if there is none.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// modelOutput is a GGUF file to write.
type modelOutput struct {
	path   string
	split  bool // written as several files
	dryRun bool // not written
}

// checkModelOutput is checkOutputs for a GGUF file.
func checkModelOutput(c *call, out modelOutput, reads []string) error {
	switch {
	case isStdout(out.path):
		return c.usagef("a GGUF file cannot be written to standard output, since it is not written from its start to its end")
	case !strings.HasSuffix(out.path, ".gguf"):
		return c.usagef("the output is called %q, but the name of a GGUF file ends in .gguf", out.path)
	case out.dryRun:
		return nil
	case out.split: // how many there will be is not known yet, only where
		return files.Check(gguf.SplitPath(strings.TrimSuffix(out.path, ".gguf"), 0, 1), true)
	}
	return checkOutputs(c, []string{out.path}, reads)
}

// forceHint says what to do about an output that is there already.
func forceHint(c *call, err error) error {
	if errors.Is(err, fs.ErrExist) && !c.force {
		return fmt.Errorf("%w: use --force to overwrite it", err)
	}
	return err
}

// isStdout reports whether a path of an output means standard output.
func isStdout(path string) bool {
	return slices.Contains([]string{"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}, path)
}

// saveReport writes one of the reports that are asked for, and says so.
func saveReport(c *call, path, content string) error {
	if isStdout(path) {
		_, err := io.WriteString(c.stdout, content)
		return err
	}
	if err := files.Write(path, []byte(content), c.force); err != nil {
		return err
	}
	if !c.quiet {
		fmt.Fprintln(c.stderr, "wrote", display.Printable(path))
	}
	return nil
}
