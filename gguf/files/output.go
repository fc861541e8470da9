package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Target is the place of an output.
type Target struct {
	// Path is where the file will be: symbolic links are resolved.
	Path      string
	overwrite bool
	old       fs.FileInfo // nil if there is none yet
}

// NewTarget looks at the place of an output. The error wraps fs.ErrExist if a file is
// there that may not be overwritten, ErrNotRegular if what is there is no file, ErrInput
// if it is one of the inputs, whether it may be overwritten or not, and fs.ErrNotExist if
// there is no directory for it.
func NewTarget(path string, overwrite bool, inputs ...Input) (Target, error) {
	refuse := func(err error) (Target, error) {
		return Target{}, &fs.PathError{Op: "write", Path: path, Err: err}
	}
	t := Target{Path: path, overwrite: overwrite}
	info, err := os.Stat(path)
	switch {
	case err == nil:
		if err := checkRegular("write", path, info); err != nil {
			return Target{}, err
		}
		t.old = info
	case !errors.Is(err, fs.ErrNotExist):
		return Target{}, err
	}
	if link, err := os.Lstat(path); err == nil && link.Mode()&fs.ModeSymlink != 0 {
		if t.Path, err = filepath.EvalSymlinks(path); err != nil {
			return refuse(fmt.Errorf("it is a symbolic link that leads nowhere: %w", err))
		}
	}
	for _, in := range inputs {
		if t.old != nil && os.SameFile(t.old, in.Info) {
			if in.Path != path {
				return refuse(fmt.Errorf("it is the same file as %s: %w", in.Path, ErrInput))
			}
			return refuse(ErrInput)
		}
	}
	if t.old != nil && !overwrite {
		return refuse(fs.ErrExist)
	}
	dir, err := os.Stat(filepath.Dir(t.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse(fmt.Errorf("there is no directory %s: %w", filepath.Dir(t.Path), fs.ErrNotExist))
	case err != nil:
		return refuse(err)
	case !dir.IsDir():
		return refuse(fmt.Errorf("%s is no directory", filepath.Dir(t.Path)))
	}
	return t, nil
}

// Mode returns the mode to create the output with: that of the file it replaces.
func (t Target) Mode() fs.FileMode {
	if t.old != nil {
		return t.old.Mode().Perm()
	}
	return 0o666
}

// Create makes the output, under a temporary name, and removes those of outputs
// that were never finished.
func (t Target) Create() (*Output, error) {
	dir, prefix := filepath.Dir(t.Path), temporaryPrefix(t.Path)
	sweep(dir, prefix)
	for {
		path := filepath.Join(dir, prefix+unforeseeable())
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, t.Mode())
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", t.Path, err)
		}
		if !errors.Is(Lock(f), ErrLocked) {
			return t.Output(f), nil
		}
		f.Close() // swept by another run before it was locked
	}
}

// Output returns the open file f, which is in the directory of the target, as what
// will be there.
func (t Target) Output(f *os.File) *Output { return &Output{File: f, target: t} }

// Output is a file that is written under another name until it is whole.
type Output struct {
	*os.File
	target    Target
	published bool
	direct    direct
}

// Create makes an output that will be at path, as NewTarget and Target.Create do.
func Create(path string, overwrite bool, inputs ...Input) (*Output, error) {
	t, err := NewTarget(path, overwrite, inputs...)
	if err != nil {
		return nil, err
	}
	return t.Create()
}

// Check returns the error that Create would, and leaves nothing. With it, work whose
// output cannot be written need not begin.
func Check(path string, overwrite bool, inputs ...Input) error {
	o, err := Create(path, overwrite, inputs...)
	if err != nil {
		return err
	}
	return o.Discard()
}

// Write writes a whole file.
func Write(path string, data []byte, overwrite bool) (err error) {
	o, err := Create(path, overwrite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Discard()) }()
	if _, err := o.Write(data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return o.Publish()
}

// OpenNamed opens, for reading and writing, the regular file at a path that others can
// foresee, and creates it with the given mode if create is set. It follows no symbolic
// link, and truncates nothing.
func OpenNamed(path string, create bool, mode fs.FileMode) (*os.File, error) {
	flags := os.O_RDWR | syscall.O_NONBLOCK | noFollow
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkRegular("write", path, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Published reports whether the file has its name.
func (o *Output) Published() bool { return o.published }

// Replaces reports whether publishing replaces a file.
func (o *Output) Replaces() bool { return o.target.old != nil }

// Publish syncs the file and gives it its name. The error wraps fs.ErrExist if, since
// the output was created, a file has come there that may not be overwritten.
func (o *Output) Publish() error {
	if o.Replaces() {
		if err := o.Chmod(o.target.Mode()); err != nil {
			return err
		}
		keepOwner(o.File, o.target.old)
	}
	if err := o.Sync(); err != nil {
		return err
	}
	if closeFirst {
		if err := o.Close(); err != nil {
			return err
		}
	}
	if err := o.rename(); err != nil {
		return err
	}
	o.published = true
	return SyncDir(filepath.Dir(o.target.Path))
}

// rename gives the file its name, and that of no other file unless it may be
// overwritten.
func (o *Output) rename() error {
	path := o.target.Path
	if !o.target.overwrite {
		// Unlike renaming, linking never replaces a file. Not all file systems have links.
		err := os.Link(o.Name(), path)
		if err == nil {
			return os.Remove(o.Name())
		}
		if errors.Is(err, fs.ErrExist) {
			return &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
		}
	}
	if _, err := NewTarget(path, o.target.overwrite); err != nil {
		return err
	}
	return os.Rename(o.Name(), path)
}

// Discard closes the file and removes it, unless it was published.
func (o *Output) Discard() error {
	var errs []error
	if !o.published {
		errs = append(errs, os.Remove(o.Name()))
	}
	if err := o.Close(); !errors.Is(err, os.ErrClosed) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
