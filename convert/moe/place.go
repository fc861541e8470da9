package moe

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

// place is the directory of an output.
type place struct {
	dir string // symbolic links are resolved
	// exists says that it is there, with the files old of an earlier merge.
	exists bool
	old    []string
}

// CheckOutput returns the error that Merge.Write would if a mixture of the recipe
// cannot be written to dir, so that work for it need not begin. If something is to be
// replaced in dir, nothing of what reads names may lie there.
func (r *Recipe) CheckOutput(dir string, overwrite bool, reads ...string) error {
	p, err := r.place(dir, overwrite, reads...)
	if err != nil {
		return err
	}
	probe, err := p.create()
	if err != nil {
		return err
	}
	return probe.Remove()
}

// place looks at the directory of an output.
func (r *Recipe) place(dir string, overwrite bool, reads ...string) (place, error) {
	refuse := func(format string, args ...any) (place, error) {
		return place{}, &fs.PathError{Op: "write", Path: dir, Err: fmt.Errorf(format, args...)}
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(dir); err == nil {
			return refuse("it is a symbolic link that leads nowhere")
		}
		if parent, err := os.Stat(filepath.Dir(filepath.Clean(dir))); err != nil || !parent.IsDir() {
			return refuse("there is no directory %s: %w", filepath.Dir(filepath.Clean(dir)), fs.ErrNotExist)
		}
		return place{dir: filepath.Clean(dir)}, nil
	}
	switch {
	case err != nil:
		return place{}, err
	case !info.IsDir():
		return refuse("it is no directory")
	case !overwrite:
		return refuse("%w", fs.ErrExist)
	}
	if err := r.spares(dir, reads); err != nil {
		return place{}, err
	}
	p := place{exists: true}
	if p.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return place{}, err
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return place{}, err
	}
	merged := false
	for _, e := range entries {
		if !written(e.Name()) {
			continue
		}
		if e.IsDir() {
			return refuse("%s, which is to be written, is a directory", e.Name())
		}
		p.old = append(p.old, e.Name())
		merged = merged || e.Name() == recipeName
	}
	if len(p.old) > 0 && !merged {
		return refuse("it has %s but no %s, so it is not what a merge wrote, and is not replaced: %w", strings.Join(p.old, ", "), recipeName, fs.ErrExist)
	}
	return p, nil
}

var tensorFile = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors$`)

// written reports whether merges write files of this name.
func written(name string) bool {
	return slices.Contains(copied, name) || slices.Contains([]string{configName, recipeName, "README.md", safetensors.IndexName}, name) ||
		tensorFile.MatchString(name)
}

// create makes the directory that the output is written in: inside the old one or,
// if there is none, beside its place.
func (p place) create() (*files.Dir, error) {
	if p.exists {
		return files.CreateDir(p.dir, "merge-new")
	}
	return files.CreateDir(filepath.Dir(p.dir), filepath.Base(p.dir))
}

// publish puts a whole output, in the directory from, in its place. What an earlier
// merge wrote is moved aside, into .merge-old.tmp-*, until the new files are there.
func (p place) publish(from string) (err error) {
	if !p.exists {
		if err := os.Rename(from, p.dir); err != nil {
			return err
		}
		return files.SyncDir(filepath.Dir(p.dir))
	}
	aside, err := files.CreateDir(p.dir, "merge-old")
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
	// Without config.json no half of a model is taken for a whole one, and with the recipe
	// what a kill leaves is known as a merge.
	for _, name := range slices.Backward(arranged(p.old)) {
		if err := move(p.dir, aside.Path, name); err != nil {
			return err
		}
	}
	for _, name := range arranged(names) {
		if _, err := os.Lstat(filepath.Join(p.dir, name)); err == nil {
			return &fs.PathError{Op: "write", Path: filepath.Join(p.dir, name), Err: fs.ErrExist} // since the merge began
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

// arranged sorts the names of files such that the recipe, by which a merge is known, is
// the first, and config.json the last.
func arranged(names []string) []string {
	rank := func(name string) int {
		switch name {
		case recipeName:
			return -1
		case configName:
			return 1
		}
		return 0
	}
	return slices.SortedFunc(slices.Values(names), func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
}

// spares returns an error if the recipe, one of its models or something else that is
// read lies in dir.
func (r *Recipe) spares(dir string, reads []string) error {
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
	for _, path := range slices.Concat(r.Models(), []string{r.path}, reads) {
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
