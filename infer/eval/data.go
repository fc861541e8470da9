package eval

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// DataSet is where a task's documents come from.
type DataSet struct {
	Folder        string // below the directory of data
	File          string // in it; "": a file for each split
	Hub           string // name of the data set on the Hugging Face hub
	Configuration string // of the data set, "" is the only one

	files map[string][]string // paths of each split's, instead
}

// Data is a directory of data sets: DIR/FOLDER/SPLIT.jsonl, with the fields of the hub's. A split may also be .jsonl.gz, .jsonl.zst, .json (a list) or
// .parquet, as one file or as SPLIT-00000-of-00001.
type Data struct {
	Dir string
	// Files has the SHA-256 of each file that was read, by its path below Dir, if it is there.
	Files map[string]string
}

// ErrNoData means that a file of a data set is not there. The error says which and where it comes from.
var ErrNoData = errors.New("there is no such file of data")

// rows returns the rows of a split, each as JSON.
func (d *Data) rows(set DataSet, split string) ([]json.RawMessage, error) {
	if set.files != nil {
		return d.named(set.files[split], split)
	}
	for _, f := range formats {
		paths, err := d.paths(set.Folder, split, f.suffix)
		if err != nil {
			return nil, err
		}
		var rows []json.RawMessage
		for _, path := range paths {
			if rows, err = d.more(rows, path, f); err != nil {
				return nil, err
			}
		}
		if len(paths) > 0 {
			return rows, nil
		}
	}
	return nil, d.missing(set, split+formats[0].suffix, "split "+split)
}

// named returns the rows of files, whose names tell their formats.
func (d *Data) named(paths []string, split string) (rows []json.RawMessage, err error) {
	if len(paths) == 0 {
		return nil, fmt.Errorf("%w: data_files has none of split %s", ErrNoData, split)
	}
	for _, path := range paths {
		i := slices.IndexFunc(formats, func(f format) bool { return strings.HasSuffix(path, f.suffix) })
		if i < 0 {
			return nil, fmt.Errorf("%s: %w: data that is neither JSON nor Parquet", path, gguf.ErrUnsupported)
		}
		if rows, err = d.more(rows, path, formats[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// more returns rows with those of a file behind them.
func (d *Data) more(rows []json.RawMessage, path string, of format) ([]json.RawMessage, error) {
	err := d.read(path, func(file *files.File) error {
		some, err := of.rows(file)
		rows = append(rows, some...)
		return err
	})
	return rows, err
}

// file returns the whole file of a data set that has but one.
func (d *Data) file(set DataSet) (data []byte, err error) {
	data, err = d.whole(filepath.Join(d.Dir, filepath.FromSlash(set.Folder), set.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, d.missing(set, set.File, set.File)
	}
	return data, err
}

// whole returns the content of a file.
func (d *Data) whole(path string) (data []byte, err error) {
	err = d.read(path, func(file *files.File) error {
		data, err = io.ReadAll(file)
		return err
	})
	return data, err
}

// lines returns the lines of a file of JSON.
func (d *Data) lines(path string) (rows []json.RawMessage, err error) {
	err = d.read(path, func(file *files.File) error {
		rows, err = lines(file)
		return err
	})
	return rows, err
}

// read opens a file for f and remembers its hash.
func (d *Data) read(path string, f func(file *files.File) error) (err error) {
	file, err := files.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if file.Size() > maxData {
		return fmt.Errorf("%s: %w: %d bytes of data, of which there may be %d", path, gguf.ErrUnsupported, file.Size(), int64(maxData))
	}
	if err := f(file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	sum, err := files.SHA256(context.Background(), file)
	if err != nil {
		return err
	}
	name := path
	if below, err := filepath.Rel(d.Dir, path); err == nil && filepath.IsLocal(below) {
		name = below
	}
	if d.Files == nil {
		d.Files = make(map[string]string)
	}
	d.Files[filepath.ToSlash(name)] = sum
	return nil
}

// maxData bounds a file of data, and what is unpacked of it. The largest of those that there are has 50 MB.
const maxData = 1 << 30

// paths finds the files of a split in a format: one, or those that it was cut into.
func (d *Data) paths(folder, split, suffix string) ([]string, error) {
	dir := filepath.Join(d.Dir, filepath.FromSlash(folder))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, e := range entries { // in the order of their names
		part, found := strings.CutSuffix(e.Name(), suffix)
		if found && part == split {
			return []string{filepath.Join(dir, e.Name())}, nil
		}
		if cut, of := strings.CutPrefix(part, split+"-"); found && of && strings.Contains(cut, "-of-") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

func (d *Data) missing(set DataSet, file, what string) error {
	if set.Configuration != "" {
		what += ", configuration " + set.Configuration
	}
	return fmt.Errorf("%w: %s is %s of the hub's data set %s", ErrNoData, filepath.Join(d.Dir, filepath.FromSlash(set.Folder), file), what, set.Hub)
}

// format is how a file is written.
type format struct {
	suffix string
	rows   func(file *files.File) ([]json.RawMessage, error)
}

// formats are those that a split may be in.
var formats = []format{
	{".jsonl", func(f *files.File) ([]json.RawMessage, error) { return lines(f) }},
	{".jsonl.gz", func(f *files.File) ([]json.RawMessage, error) {
		r, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		return lines(r)
	}},
	{".jsonl.zst", func(f *files.File) ([]json.RawMessage, error) {
		r, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(maxData))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return lines(r)
	}},
	{".json", func(f *files.File) (rows []json.RawMessage, err error) {
		err = json.NewDecoder(f).Decode(&rows)
		return rows, err
	}},
	{".parquet", parquetRows},
}

var errTooMuchData = fmt.Errorf("%w: more than %d bytes of data", gguf.ErrUnsupported, int64(maxData))

// lines returns the lines of a file that are not blank.
func lines(r io.Reader) ([]json.RawMessage, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxData+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxData {
		return nil, errTooMuchData
	}
	var rows []json.RawMessage
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if !json.Valid(line) {
			return nil, fmt.Errorf("%w: line %d is not JSON", gguf.ErrCorrupt, n)
		}
		rows = append(rows, line)
	}
	return rows, nil
}
