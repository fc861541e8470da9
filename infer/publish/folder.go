package publish

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/results"
)

// Errors that callers can test for.
var (
	// ErrForeign means that a file that would have to be written is there and was not made here, or was changed since.
	ErrForeign = errors.New("it is there already, and publish has not made it, or somebody has changed it since")
	// ErrOther means that a file was made with other arguments.
	ErrOther = errors.New("it was made with other arguments")
)

// recordName returns the name of the file in which a folder keeps what a run, or one of several parts of it, has made in it.
func recordName(part results.Part) string {
	if part.IsAll() {
		return recordStart + recordEnd
	}
	return fmt.Sprintf("%s-%dof%d%s", recordStart, part.Number, part.Of, recordEnd)
}

const (
	recordStart = ".ggufkit-publish"
	recordEnd   = ".json"
)

// recordOf returns whose record is kept under a name.
func recordOf(name string) (part results.Part, ok bool) {
	if name == recordStart+recordEnd {
		return results.Part{}, true
	}
	if _, err := fmt.Sscanf(name, recordStart+"-%dof%d"+recordEnd, &part.Number, &part.Of); err != nil {
		return results.Part{}, false
	}
	return part, !part.IsAll() && name == recordName(part)
}

// maxRecord bounds memory: a thousand files take less than a tenth.
const maxRecord = 16 << 20

// Folder is the directory of a published model. It knows which files in it were made by an earlier run, and of what: a
// later one leaves what is whole, makes what is missing, and touches nothing else.
type Folder struct {
	dir  string
	held *os.File // nil if nothing is to be made
	// created says that the directory was not there.
	created bool
	part    results.Part
	made    map[string]record // by this part, or by runs that are none
	others  map[string]record // by all others
	parts   int               // of a run that was divided, else 0
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

// OpenPart opens a directory, and creates it if it is not there, for one of several processes that make each its own part of the files in it.
// They need not know of each other: each keeps its own record.
func OpenPart(dir string, part results.Part) (*Folder, error) {
	if part.IsAll() {
		return Open(dir)
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f := &Folder{dir: dir, part: part}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, f.save() // by which others see how many parts there are
}

// Look reads what was made in a directory, which need not be there. Nothing can be made in it.
func Look(dir string) (*Folder, error) {
	f := &Folder{dir: dir}
	return f, f.read()
}

// read reads what is recorded by now.
func (f *Folder) read() error {
	f.made, f.others, f.parts = make(map[string]record), make(map[string]record), f.part.Of
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		part, ok := recordOf(entry.Name())
		if !ok {
			continue
		}
		path := f.Path(entry.Name())
		made, err := readRecords(path)
		if err != nil {
			return err
		}
		if !part.IsAll() {
			if f.parts > 1 && f.parts != part.Of {
				return fmt.Errorf("%s: it is of one of %d parts, but there are some of %d: take another DIR, or remove the records of those that do not count", path, part.Of, f.parts)
			}
			f.parts = part.Of
		}
		if part == f.part {
			f.made = made
		} else {
			maps.Copy(f.others, made)
		}
	}
	return nil
}

func readRecords(path string) (map[string]record, error) {
	in, err := files.Open(path)
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
	made, err := parseRecords(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return made, nil
}

// Parts returns how many parts make the files, 0 if they are not divided.
func (f *Folder) Parts() int { return f.parts }

// known returns what is known of a file that was made here.
func (f *Folder) known(name string) (record, bool) {
	if r, ok := f.made[name]; ok {
		return r, true
	}
	r, ok := f.others[name]
	return r, ok
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
		if !files.IsName(name) {
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
func (f *Folder) Sum(name string) string {
	r, _ := f.known(name)
	return r.SHA256
}

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
	r, ok := f.known(name)
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
	return f.save()
}

func (f *Folder) save() error {
	data, err := json.MarshalIndent(records{recordsVersion, f.made}, "", " ")
	if err != nil {
		return err
	}
	return files.Write(f.Path(recordName(f.part)), append(data, '\n'), true)
}

// Put writes a small file, unless it is there as it should be. One that was not made here is only replaced with overwrite.
func (f *Folder) Put(ctx context.Context, name string, data []byte, of []gguf.Fact, overwrite bool) error {
	was, err := f.sum(ctx, name)
	if err != nil {
		return err
	}
	r, known := f.known(name)
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

// Write writes a GGUF file that is made of some facts. One that was made here before is replaced, another one only with overwrite. One that
// another part has made meanwhile of the same facts is left as it is.
func (f *Folder) Write(ctx context.Context, name string, src gguf.Source, of []gguf.Fact, overwrite bool) error {
	for again := false; ; again = true {
		if err := f.read(); err != nil {
			return err
		}
		state, _, err := f.State(ctx, name, of)
		if overwrite && errors.Is(err, ErrForeign) {
			err = nil
		}
		if err != nil || state == Whole {
			return err
		}
		to := gguf.Destination{Path: f.Path(name), Source: src, Overwrite: overwrite || state == Another}
		if err := f.write(ctx, []gguf.Destination{to}, gguf.WriteOptions{}, of); again || !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// write writes models that are made of some facts, and records each before it has its name.
func (f *Folder) write(ctx context.Context, to []gguf.Destination, opts gguf.WriteOptions, of []gguf.Fact) error {
	opts.Seal = func(path, sum string) error { return f.record(ctx, filepath.Base(path), sum, of) }
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
