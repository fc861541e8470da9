package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// shardSizes returns the number of tensors in each file of a split set; f lists
// the tensors file by file.
func shardSizes(f *gguf.File) ([]int, error) {
	var sizes []int
	total := 0
	for _, path := range f.Paths() {
		n, err := tensorCount(path, f.ByteOrder())
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, n)
		total += n
	}
	if total != len(f.Tensors()) {
		return nil, fmt.Errorf("%w: %s: the split files have %d tensors, but their headers say %d", gguf.ErrCorrupt, f.Paths()[0], len(f.Tensors()), total)
	}
	return sizes, nil
}

// tensorCount reads the count that follows magic and version in a GGUF file.
func tensorCount(path string, order binary.ByteOrder) (n int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var count [8]byte
	if _, err := file.ReadAt(count[:], 8); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return int(order.Uint64(count[:])), nil
}

// section is a run of tensors of another source, with metadata of its own.
type section struct {
	gguf.Source
	meta    *gguf.Metadata
	first   int
	tensors []gguf.TensorInfo
}

func (s *section) Metadata() *gguf.Metadata   { return s.meta }
func (s *section) Tensors() []gguf.TensorInfo { return s.tensors }
func (s *section) ReadRows(dst []byte, tensor int, first, n int64) error {
	return s.Source.ReadRows(dst, s.first+tensor, first, n)
}

// splitLike returns the view in as many sections as the source's files, of
// which sizes has the numbers of tensors. Files but the first that lost all
// their tensors are left out.
func splitLike(view *quant.View, sizes []int) []*section {
	tensors := view.Tensors()
	var sections []*section
	first, end := 0, 0 // in the view, in the source
	for i, size := range sizes {
		end += size
		last := first
		for last < len(tensors) && view.Origin(last) < end {
			last++
		}
		s := &section{Source: view, meta: &gguf.Metadata{}, first: first, tensors: tensors[first:last]}
		if i == 0 {
			s.meta = view.Metadata().Clone()
		} else if alignment, ok := view.Metadata().Get("general.alignment"); ok {
			s.meta.Set("general.alignment", alignment)
		}
		if i == 0 || last > first {
			sections = append(sections, s)
		}
		first = last
	}
	if len(sections) > 1 {
		for i, s := range sections {
			s.meta.Set("split.no", uint16(i))
			s.meta.Set("split.count", uint16(len(sections)))
			s.meta.Set("split.tensors.count", int32(len(tensors)))
		}
	}
	return sections
}

// writeShards does what writeModel does, into files split like the source's.
// If it fails, it removes those it has written.
func writeShards(c *cli.Context, view *quant.View, from map[string]gguf.Type, out string, sizes []int) (err error) {
	sections := splitLike(view, sizes)
	if len(sections) == 1 {
		return writeModel(c, view, from, out, 0)
	}
	prefix, ok := strings.CutSuffix(out, ".gguf")
	if !ok {
		return usagef(c, "the output is called %q, but the name of a GGUF file ends in .gguf", out)
	}
	report, err := newWriteReport(view, from)
	if err != nil {
		return err
	}
	report.FileBytes = 0
	total := int64(0)
	for i, s := range sections {
		_, size, err := gguf.Layout(s)
		if err != nil {
			return err
		}
		report.FileBytes += size
		for _, t := range s.tensors {
			total += t.Bytes()
		}
		path := gguf.SplitPath(prefix, i, len(sections))
		if _, err := os.Lstat(path); err == nil && !c.Bool("force") && !c.Bool("dry-run") {
			return fmt.Errorf("%w: use --force to overwrite it", &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist})
		}
	}
	if c.Bool("dry-run") {
		return report.print(c, view)
	}
	defer func() {
		if err != nil {
			for _, path := range report.Files {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	progress := newProgress(c, "writing", byteRate)
	defer progress.stop()
	before := int64(0)
	for i, s := range sections {
		paths, err := gguf.Write(c.Context, gguf.SplitPath(prefix, i, len(sections)), s, gguf.WriteOptions{
			Overwrite: c.Bool("force"),
			Threads:   c.Int("threads"),
			Progress:  func(done, _ int64) { progress.update(before+done, total) },
		})
		if err != nil {
			return err
		}
		report.Files = append(report.Files, paths...)
		for _, t := range s.tensors {
			before += t.Bytes()
		}
	}
	progress.stop()
	if c.Bool("json") {
		return printJSON(c, report)
	}
	if !c.Bool("quiet") {
		for _, path := range report.Files {
			fmt.Fprintln(c.App.ErrWriter, "wrote", path)
		}
		fmt.Fprintf(c.App.ErrWriter, "%s, %.2f bits per weight\n", bytesText(report.FileBytes), report.BPW)
	}
	return nil
}
