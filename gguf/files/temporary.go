package files

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// Names of temporary files are a prefix, which tells of what output, and 16 digits.
var digits = regexp.MustCompile(`^[0-9a-f]{16}$`)

// longestPrefix leaves room for the digits in the 255 bytes of a name.
const longestPrefix = 200

func temporaryPrefix(path string) string {
	base := filepath.Base(path)
	return "." + base[:min(len(base), longestPrefix)] + ".tmp-"
}

func unforeseeable() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// Lock takes a file or directory for this process until it is closed. The error wraps
// ErrLocked if another one has it, or has had it and removed it, and errors.ErrUnsupported
// where there are no locks.
func Lock(f *os.File) error {
	if err := flock(f); err != nil {
		return err
	}
	has, err := hasName(f)
	if err == nil && !has {
		err = ErrLocked
	}
	return err
}

// LockRange locks n numbers from an offset on for an open file: there need not be bytes there. The error wraps ErrLocked if another open file,
// of whatever process, has locked one of them, and errors.ErrUnsupported where there are no such locks (elsewhere than on Linux).
func LockRange(f *os.File, offset, n int64) error { return lockRange(f, offset, n) }

// UnlockRange undoes LockRange.
func UnlockRange(f *os.File, offset, n int64) error { return unlockRange(f, offset, n) }

// HasName reports whether an open file has the name that it was opened with, as far as that can be told.
func HasName(f *os.File) bool {
	has, err := hasName(f)
	return err == nil && has
}

func hasName(f *os.File) (bool, error) {
	is, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(is, named), err
}

// sweep removes the files and directories that begin with the prefix and that no
// process holds: those of killed ones.
func sweep(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // creating the output will fail with a better reason
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || !digits.MatchString(rest) || !e.Type().IsRegular() && !e.IsDir() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDONLY|syscall.O_NONBLOCK|noFollow, 0)
		if err != nil {
			continue
		}
		if Lock(f) == nil {
			_ = os.RemoveAll(f.Name()) // what cannot be removed is in nobody's way
		}
		f.Close()
	}
}

// Dir is a temporary directory.
type Dir struct {
	Path string
	held *os.File // closed already where open directories cannot be renamed
}

// CreateDir makes a temporary directory in parent for what will be called name, and
// removes those that killed runs have left.
func CreateDir(parent, name string) (*Dir, error) {
	prefix := temporaryPrefix(name)
	sweep(parent, prefix)
	for {
		path := filepath.Join(parent, prefix+unforeseeable())
		if err := os.Mkdir(path, 0o777); err != nil {
			return nil, err
		}
		f, err := os.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // swept by another run before it was locked
			continue
		case err != nil:
			return nil, errors.Join(err, os.Remove(path))
		case errors.Is(Lock(f), ErrLocked):
			f.Close()
			continue
		}
		if closeFirst {
			f.Close()
		}
		return &Dir{path, f}, nil
	}
}

// Remove removes the directory with all that is in it. After a rename there is nothing
// to remove.
func (d *Dir) Remove() error {
	err := os.RemoveAll(d.Path)
	d.held.Close()
	return err
}
