package results

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Storage is where results are kept: a directory, or what stands for one elsewhere.
type Storage interface {
	files.Folder
	// Create begins a file, which nobody else can. The error wraps fs.ErrExist if there is one of the name.
	Create(name string) (Log, error)
}

// Log is a file that only grows.
type Log interface {
	// Append adds bytes to its end. They are durable when it returns. After an error, any number of the first of them
	// may be there.
	Append(data []byte) error
	io.Closer
}

// Locate returns what an argument of the command line names: a directory, which is made when something is kept
// in it, or s3://bucket/folder, of a store that client is asked for.
func Locate(name string, client func() *remote.Client) (Storage, error) {
	switch scheme, _, ok := strings.Cut(name, "://"); {
	case ok && strings.EqualFold(scheme, "s3"):
		folder, err := client().Bucket(name)
		return &bucket{Bucket: folder}, err
	case ok:
		return nil, fmt.Errorf("%s: %w: results are kept in directories and at s3://, not at %s://", remote.Plain(name), gguf.ErrUnsupported, scheme)
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s: it is there, and no directory", name)
	}
	return Directory(name), nil
}

// Directory returns a directory as a Storage. It need not be there yet.
func Directory(dir string) Storage { return directory{files.Directory(dir)} }

type directory struct{ files.Folder }

func (d directory) Create(name string) (Log, error) {
	path := d.Path(name)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	if err := files.SyncDir(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return logFile{f}, nil
}

type logFile struct{ *os.File }

func (l logFile) Append(data []byte) error {
	if _, err := l.Write(data); err != nil {
		return err
	}
	return l.Sync()
}
