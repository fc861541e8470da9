package files

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Errors that callers can test for; what is returned wraps them and names the file.
var (
	// ErrNotRegular means that something is a directory, a FIFO, a device or a socket.
	ErrNotRegular = errors.New("not a regular file")
	// ErrPointer means that Git LFS has left a pointer where it should have put the file.
	ErrPointer = errors.New("a Git LFS pointer, not the file itself: fetch that with git lfs pull")
	// ErrChanged means that a file is not what it was when it was opened.
	ErrChanged = errors.New("the file was changed while it was read")
	// ErrLocked means that another process works on a file.
	ErrLocked = errors.New("another process works on it")
	// ErrInput means that an output would replace a file that is read.
	ErrInput = errors.New("it is read, so it cannot be written")
)

// Input is a file that is read.
type Input struct {
	Path string
	Info fs.FileInfo
}

// Object is what a File reads: a regular file, or something elsewhere of which any bytes can be
// had, such as what a server sends. All methods are safe for concurrent use.
type Object interface {
	io.ReaderAt
	io.Closer
	// Size returns the size that it had when it was opened.
	Size() int64
	// Version says what is there, unlike what would be there after a change.
	Version() string
	// Unchanged returns an error that wraps ErrChanged if it is known to be another than
	// when it was opened.
	Unchanged() error
	// Prefetch has n bytes from an offset on read ahead, as far as that can be. It does not
	// wait for them.
	Prefetch(offset, n int64)
}

// File is a regular file, or another Object, that is open for reading.
type File struct {
	Object
	name string
	next *io.SectionReader
}

// NewFile returns an Object as a File of that name, which closes it.
func NewFile(name string, o Object) *File {
	return &File{o, name, io.NewSectionReader(o, 0, o.Size())}
}

// Name returns the path that the file was opened by, or what else it is called.
func (f *File) Name() string { return f.name }

// Read reads what follows what Read has read.
func (f *File) Read(p []byte) (int, error) { return f.next.Read(p) }

// Sectioned is an Object that reads ahead what is read in order, and wants to know how far that
// makes sense.
type Sectioned interface {
	Object
	// Sections says where parts begin that are read each by itself, from its start to its end, as
	// tensors are. The offsets are in order.
	Sections(starts []int64)
}

// Sections tells the Object, if it wants to know, where parts begin: see Sectioned.
func (f *File) Sections(starts []int64) {
	if o, ok := f.Object.(Sectioned); ok {
		o.Sections(starts)
	}
}

// Input returns the file as one that outputs must not replace, none if it lies elsewhere.
func (f *File) Input() []Input {
	if r, ok := f.Object.(*regular); ok {
		return []Input{{f.name, r.info}}
	}
	return nil
}

// IsLocal reports whether it is a regular file, which has a path.
func (f *File) IsLocal() bool { _, ok := f.Object.(*regular); return ok }

// regular is a regular file.
type regular struct {
	*os.File
	info fs.FileInfo // when it was opened
	pin  string      // its hash, "" if nobody has said it
}

// Open opens a regular file for reading. The error wraps ErrNotRegular if it is
// something else, which is neither opened nor waited for, and ErrPointer if Git LFS has
// not fetched it.
func Open(path string) (*File, error) { return OpenPinned(path, "") }

// OpenPinned opens a file as Open does, whose hash somebody has said, in hexadecimal: SHA-256, or another.
func OpenPinned(path, pin string) (*File, error) {
	info, err := os.Stat(path) // first, since opening a device can do something to it
	if err != nil {
		return nil, err
	}
	if err := checkRegular("open", path, info); err != nil {
		return nil, err
	}
	// What has the name now could be a FIFO all the same.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = checkRegular("open", path, info)
	}
	if err == nil && isPointer(f, info.Size()) {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrPointer}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return NewFile(path, &regular{f, info, pin}), nil
}

// Pin implements Pinned.
func (r *regular) Pin() string { return r.pin }

// SHA256 implements Summed.
func (r *regular) SHA256() string {
	if len(r.pin) == 2*sha256.Size {
		return r.pin
	}
	return ""
}

func (r *regular) Size() int64 { return r.info.Size() }

func (r *regular) Version() string {
	return fmt.Sprintf("%d bytes, modified %s", r.info.Size(), r.info.ModTime().UTC().Format(time.RFC3339Nano))
}

// Unchanged implements Object: the file has the size and time of modification that it had, and its
// name is no other file's. A file that was only moved or removed is unchanged.
func (r *regular) Unchanged() error {
	now, err := r.Stat()
	if err != nil {
		return err
	}
	if now.Size() != r.info.Size() || !now.ModTime().Equal(r.info.ModTime()) {
		return fmt.Errorf("%s: %w", r.Name(), ErrChanged)
	}
	if named, err := os.Stat(r.Name()); err == nil && !os.SameFile(named, r.info) {
		return fmt.Errorf("%s: %w: another file has its name", r.Name(), ErrChanged)
	}
	return nil
}

// Prefetch tells the operating system, where it listens (Linux).
func (r *regular) Prefetch(offset, n int64) { prefetch(r.File, offset, n) }

// Unchanged returns the error of the first of some files that is not unchanged.
func Unchanged(inputs []*File) error {
	for _, f := range inputs {
		if err := f.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

// checkRegular returns an error that wraps ErrNotRegular and says what path is, if
// it is no regular file.
func checkRegular(op, path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: fmt.Errorf("it is %s, %w", kind(info.Mode()), ErrNotRegular)}
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something special"
}

// isPointer reports whether a file is what a clone without Git LFS has in place of a
// large one.
func isPointer(f *os.File, size int64) bool {
	const beginning = "version https://git-lfs.github.com/spec/"
	var start [len(beginning)]byte
	if size < int64(len(start)) || size > 1024 { // Git LFS writes less
		return false
	}
	n, _ := f.ReadAt(start[:], 0)
	return string(start[:n]) == beginning
}
