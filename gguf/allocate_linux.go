package gguf

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate makes a file size bytes long, with room on the disk for all of them
// where the file system can promise that: so a disk that is too small is known
// before the work is done.
func allocate(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil || size == 0 {
		return err
	}
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		default:
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		}
	}
}
