package hf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Kind is a kind of outputs.
type Kind struct {
	// Name is what makes them, in one word, and By the same with its article.
	Name, By string
	// Marker is the file that only they have, and so may be replaced.
	Marker string
	// Side reports whether they have files of a name beside tensors, config.json and the card.
	Side func(name string) bool
}

// Place is the directory of an output, which appears in it whole or not at all.
type Place struct {
	dir  string // symbolic links are resolved
	kind Kind
	// exists says that it is there, with the files old of an earlier output.
	exists bool
	old    []string
}

// Check returns the error that writing there would, as far as it can be known, so that work
// for it need not begin.
func (p Place) Check() error {
	probe, err := p.create()
	if err != nil {
		return err
	}
	return probe.Remove()
}

// NewPlace looks at the directory of an output, of a kind. The error wraps fs.ErrExist if it is there already: with overwrite, only if it has
// files of names that checkpoints have and no marker. If something is to be replaced, nothing
// of what reads names may lie there.
func NewPlace(dir string, kind Kind, overwrite bool, reads ...string) (Place, error) {
	refuse := func(format string, args ...any) (Place, error) {
		return Place{}, &fs.PathError{Op: "write", Path: dir, Err: fmt.Errorf(format, args...)}
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(dir); err == nil {
			return refuse("it is a symbolic link that leads nowhere")
		}
		if parent, err := os.Stat(filepath.Dir(filepath.Clean(dir))); err != nil || !parent.IsDir() {
			return refuse("there is no directory %s: %w", filepath.Dir(filepath.Clean(dir)), fs.ErrNotExist)
		}
		return Place{dir: filepath.Clean(dir), kind: kind}, nil
	}
	switch {
	case err != nil:
		return Place{}, err
	case !info.IsDir():
		return refuse("it is no directory")
	case !overwrite:
		return refuse("%w", fs.ErrExist)
	}
	if err := spares(dir, reads); err != nil {
		return Place{}, err
	}
	p := Place{kind: kind, exists: true}
	if p.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return Place{}, err
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return Place{}, err
	}
	ours := false
	for _, e := range entries {
		if !p.writes(e.Name()) {
			continue
		}
		if e.IsDir() {
			return refuse("%s, which is to be written, is a directory", e.Name())
		}
		p.old = append(p.old, e.Name())
		ours = ours || e.Name() == kind.Marker
	}
	if len(p.old) > 0 && !ours {
		return refuse("it has %s but no %s, so it is not what %s wrote, and is not replaced: %w", strings.Join(p.old, ", "), kind.Marker, kind.By, fs.ErrExist)
	}
	return p, nil
}

var tensorFile = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors$`)

// writes reports whether files of this name are written there.
func (p Place) writes(name string) bool {
	return p.kind.Side(name) || slices.Contains([]string{configName, p.kind.Marker, cardName, safetensors.IndexName}, name) ||
		tensorFile.MatchString(name)
}

// create makes the directory that the output is written in: inside the old one or,
// if there is none, beside its place.
func (p Place) create() (*files.Dir, error) {
	if p.exists {
		return files.CreateDir(p.dir, p.kind.Name+"-new")
	}
	return files.CreateDir(filepath.Dir(p.dir), filepath.Base(p.dir))
}

// publish puts a whole output, in the directory from, in its place. What an earlier
// run wrote is moved aside, into .merge-old.tmp-* or as the kind is called, until the new files are there.
func (p Place) publish(from string) (err error) {
	if !p.exists {
		if err := os.Rename(from, p.dir); err != nil {
			return err
		}
		return files.SyncDir(filepath.Dir(p.dir))
	}
	aside, err := files.CreateDir(p.dir, p.kind.Name+"-old")
	if err != nil {
		return err
	}
	var undo []func() error
	defer func() {
		if err != nil {
			for _, back := range slices.Backward(undo) {
				if failed := back(); failed != nil {
					err = errors.Join(err, failed)
					return // what is aside stays there
				}
			}
		}
		err = errors.Join(err, aside.Remove())
	}()
	move := func(from, to, name string) error {
		from, to = filepath.Join(from, name), filepath.Join(to, name)
		if err := os.Rename(from, to); err != nil {
			return err
		}
		undo = append(undo, func() error { return os.Rename(to, from) })
		return nil
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	// Without config.json no half of a model is taken for a whole one, and by the marker
	// what a kill leaves is known.
	for _, name := range slices.Backward(p.arranged(p.old)) {
		if err := move(p.dir, aside.Path, name); err != nil {
			return err
		}
	}
	for _, name := range p.arranged(names) {
		if _, err := os.Lstat(filepath.Join(p.dir, name)); err == nil {
			return &fs.PathError{Op: "write", Path: filepath.Join(p.dir, name), Err: fs.ErrExist} // since the run began
		}
		if old, err := os.Stat(filepath.Join(aside.Path, name)); err == nil {
			if err := os.Chmod(filepath.Join(from, name), old.Mode().Perm()); err != nil {
				return err
			}
		}
		if err := move(from, p.dir, name); err != nil {
			return err
		}
	}
	return files.SyncDir(p.dir)
}

// arranged sorts the names of files such that the marker is the first, and config.json the
// last.
func (p Place) arranged(names []string) []string {
	rank := func(name string) int {
		switch name {
		case p.kind.Marker:
			return -1
		case configName:
			return 1
		}
		return 0
	}
	return slices.SortedFunc(slices.Values(names), func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
}

// spares returns an error if something that is read lies in dir.
func spares(dir string, reads []string) error {
	resolve := func(path string) (string, error) {
		path, err := filepath.EvalSymlinks(path)
		if err != nil {
			return "", err
		}
		return filepath.Abs(path)
	}
	target, err := resolve(dir)
	if err != nil {
		return err
	}
	for _, path := range reads {
		source, err := resolve(path)
		if err != nil {
			return err
		}
		if below, err := filepath.Rel(target, source); err == nil && filepath.IsLocal(below) {
			return fmt.Errorf("%s cannot be replaced, since %s is in it", dir, path)
		}
	}
	return nil
}
