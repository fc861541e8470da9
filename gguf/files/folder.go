package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Folder is where files are found by their names: a directory, or what stands for one
// elsewhere. Names of files in folders below have slashes, on every system.
type Folder interface {
	// Open opens a file. The error wraps fs.ErrNotExist if it is not there.
	Open(name string) (*File, error)
	// List returns the sorted names of what is no folder in the folder below, or in this one
	// if that is ".". It may be empty, or an error that wraps fs.ErrNotExist, if there is none.
	List(below string) ([]string, error)
	// Path returns how a file is called for people; of ".", the folder.
	Path(name string) string
}

// IsName reports whether a name is that of a file in a folder itself, on every system.
func IsName(name string) bool {
	return name != "." && filepath.IsLocal(name) && name == filepath.Base(name) && !strings.ContainsAny(name, `/\`)
}

// Directory returns a directory as a Folder; "" is the working directory. It need not be
// there yet.
func Directory(dir string) Folder { return directory(dir) }

// Locate returns the directory of a path, and the name that it has there.
func Locate(path string) (folder Folder, name string) {
	dir, name := filepath.Split(path)
	return directory(dir), name
}

type directory string

func (d directory) Path(name string) string {
	dir, name := string(d), filepath.FromSlash(name)
	switch {
	case name != ".":
	case dir == "":
		return name
	default:
		return dir
	}
	if dir == "" || os.IsPathSeparator(dir[len(dir)-1]) {
		return dir + name // not cleaned: a/../b is not b where a is a symbolic link
	}
	return filepath.Join(dir, name)
}

func (d directory) Open(name string) (*File, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, &fs.PathError{Op: "open", Path: d.Path(name), Err: fs.ErrInvalid}
	}
	return Open(d.Path(name))
}

func (d directory) List(below string) ([]string, error) {
	entries, err := os.ReadDir(d.Path(below))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
