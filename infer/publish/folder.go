package publish

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Errors that callers can test for.
var (
	// ErrForeign means that a file that would have to be written is there and was not made here, or was changed since.
	ErrForeign = errors.New("it is there already, and publish has not made it, or somebody has changed it since")
	// ErrOther means that a file was made with other arguments.
	ErrOther = errors.New("it was made with other arguments")
)

// recordName is the file in which a folder keeps what was made in it.
const recordName = ".ggufkit-publish.json"

// maxRecord bounds memory: a thousand files take less than a tenth.
const maxRecord = 16 << 20

// Folder is the directory of a published model. It knows which files in it were made by an earlier run, and of what: a
// later one leaves what is whole, makes what is missing, and touches nothing else.
type Folder struct {
	dir  string
	held *os.File // nil if nothing is to be made
	// created says that the directory was not there.
	created bool
	made    map[string]record
}

// record is what is known of a file that was made.
type record struct {
	SHA256 string `json:"sha256"`
	// Before is the sum of what is there until the file has its name, "" of nothing.
	Before string      `json:"before,omitempty"`
	Of     []gguf.Fact `json:"of"`
}

// Open takes a directory for this process, and creates it if it is not there. The error wraps files.ErrLocked if another
// process publishes into it.
func Open(dir string) (f *Folder, err error) {
	errMade := os.Mkdir(dir, 0o777)
	if errMade != nil && !errors.Is(errMade, fs.ErrExist) {
		return nil, errMade
	}
	held, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, held.Close())
		}
	}()
	if err := files.Lock(held); errors.Is(err, files.ErrLocked) {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if f, err = Look(dir); err == nil {
		f.held, f.created = held, errMade == nil
	}
	return f, err
}

// Look reads what was made in a directory, which need not be there. Nothing can be made in it.
func Look(dir string) (*Folder, error) {
	f := &Folder{dir: dir, made: make(map[string]record)}
	path := f.Path(recordName)
	in, err := files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if in.Size() > maxRecord {
		return nil, fmt.Errorf("%s: %w: it has %d bytes", path, gguf.ErrCorrupt, in.Size())
	}
	data, err := io.ReadAll(io.NewSectionReader(in, 0, in.Size()))
	if err != nil {
		return nil, err
	}
	if f.made, err = parseRecords(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// records is the file.
type records struct {
	Version int               `json:"version"`
	Files   map[string]record `json:"files"`
}

const recordsVersion = 1

func parseRecords(data []byte) (map[string]record, error) {
	var r records
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", gguf.ErrCorrupt, err)
	}
	if r.Files == nil {
		r.Files = make(map[string]record)
	}
	if r.Version != recordsVersion {
		return nil, fmt.Errorf("%w: version %d", gguf.ErrUnsupported, r.Version)
	}
	for name := range r.Files {
		if !filepath.IsLocal(name) || filepath.Base(name) != name || strings.ContainsAny(name, `/\`) {
			return nil, fmt.Errorf("%w: %q is not the name of a file", gguf.ErrCorrupt, name)
		}
	}
	return r.Files, nil
}

// Close lets others publish into the directory. One that Open made and in which nothing is, it removes.
func (f *Folder) Close() error {
	if f.held == nil {
		return nil
	}
	if f.created && len(f.made) == 0 {
		_ = os.Remove(f.dir) // which fails if there is something, such as unfinished work
	}
	return f.held.Close()
}

// Path returns where a file of a name is.
func (f *Folder) Path(name string) string { return filepath.Join(f.dir, name) }

// Names lists the files that were made here.
func (f *Folder) Names() (names []string) {
	for name := range f.made {
		names = append(names, name)
	}
	return names
}

// Sum returns the SHA-256 of a file that was made here.
func (f *Folder) Sum(name string) string { return f.made[name].SHA256 }

// State is what has become of a file.
type State int

// States of files.
const (
	Absent  State = iota // it has to be made
	Whole                // it is there
	Another              // it was made here, but of something else
)

// State looks for a file that is made of some facts, and reads it. Of one that is Another it says what is different. The error
// wraps ErrForeign for a file that was not made here.
func (f *Folder) State(ctx context.Context, name string, of []gguf.Fact) (state State, changed string, err error) {
	sum, err := f.sum(ctx, name)
	if err != nil || sum == "" {
		return Absent, "", err
	}
	r, ok := f.made[name]
	switch {
	case !ok || sum != r.SHA256 && sum != r.Before:
		return Absent, "", fmt.Errorf("%s: %w", f.Path(name), ErrForeign)
	case sum != r.SHA256:
		return Another, "it is that of an earlier run", nil
	}
	if changed = gguf.Changed(r.Of, of); changed != "" {
		return Another, changed, nil
	}
	return Whole, "", nil
}

// Find is State for a file that is to be made where it is not whole. Without overwrite, the error wraps ErrForeign or ErrOther for
// one that is in the way; with it, such a file is Another.
func (f *Folder) Find(ctx context.Context, name string, of []gguf.Fact, overwrite bool) (State, error) {
	state, changed, err := f.State(ctx, name, of)
	switch {
	case errors.Is(err, ErrForeign) && overwrite:
		return Another, nil
	case err == nil && state == Another && !overwrite:
		err = fmt.Errorf("%s: %w: %s", f.Path(name), ErrOther, changed)
	}
	return state, err
}

// sum returns the SHA-256 of a file, "" if it is not there.
func (f *Folder) sum(ctx context.Context, name string) (string, error) {
	in, err := files.Open(f.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	sum, err := files.SHA256(ctx, in)
	return sum, errors.Join(err, in.Close())
}

// record takes down what a file will be that gets its name next. A file that is replaced is known until then.
func (f *Folder) record(ctx context.Context, name, sum string, of []gguf.Fact) error {
	before, err := f.sum(ctx, name)
	if err != nil {
		return err
	}
	f.made[name] = record{SHA256: sum, Before: before, Of: of}
	data, err := json.MarshalIndent(records{recordsVersion, f.made}, "", " ")
	if err != nil {
		return err
	}
	return files.Write(f.Path(recordName), append(data, '\n'), true)
}

// Put writes a small file, unless it is there as it should be. One that was not made here is only replaced with overwrite.
func (f *Folder) Put(ctx context.Context, name string, data []byte, of []gguf.Fact, overwrite bool) error {
	was, err := f.sum(ctx, name)
	if err != nil {
		return err
	}
	r, known := f.made[name]
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	ours := known && (was == r.SHA256 || was == r.Before)
	switch {
	case was == sum && ours && gguf.Changed(r.Of, of) == "":
		return files.Check(f.Path(name), true) // which also removes what a killed run has left
	case was != "" && was != sum && !ours && !overwrite:
		return fmt.Errorf("%s: %w", f.Path(name), ErrForeign)
	}
	if err := f.record(ctx, name, sum, of); err != nil {
		return err
	}
	return files.Write(f.Path(name), data, was != "")
}

// Read returns a small file that was made here, of at most so many bytes.
func (f *Folder) Read(name string, most int64) ([]byte, error) {
	in, err := files.Open(f.Path(name))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if in.Size() > most {
		return nil, fmt.Errorf("%s: it has %d bytes, at most %d are possible", in.Name(), in.Size(), most)
	}
	return io.ReadAll(io.NewSectionReader(in, 0, in.Size()))
}

// Write writes a GGUF file that is made of some facts. One that was made here before is replaced, another one only with overwrite.
func (f *Folder) Write(ctx context.Context, name string, src gguf.Source, of []gguf.Fact, overwrite bool) error {
	state, _, err := f.State(ctx, name, of)
	if overwrite && errors.Is(err, ErrForeign) {
		err = nil
	}
	if err != nil {
		return err
	}
	if err := gguf.Tidy(f.Path(name)); err != nil {
		return err
	}
	to := gguf.Destination{Path: f.Path(name), Source: src, Overwrite: overwrite || state == Another}
	return f.write(ctx, []gguf.Destination{to}, gguf.WriteOptions{Job: of})
}

// write writes models, and records each before it has its name.
func (f *Folder) write(ctx context.Context, to []gguf.Destination, opts gguf.WriteOptions) error {
	opts.Seal = func(path, sum string) error { return f.record(ctx, filepath.Base(path), sum, opts.Job) }
	_, err := gguf.WriteAll(ctx, to, opts)
	return err
}

// Sums returns the SHA-256 sums of files as sha256sum -c takes them.
func (f *Folder) Sums(names []string) string {
	var lines strings.Builder
	for _, name := range names {
		fmt.Fprintf(&lines, "%s  %s\n", f.Sum(name), name)
	}
	return lines.String()
}
