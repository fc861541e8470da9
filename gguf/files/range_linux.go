package files

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// rangeLock sets or removes a lock that belongs to the open file, so that it ends with the process.
func rangeLock(f *os.File, kind int16, offset, n int64) error {
	lock := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: offset, Len: n}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	return err
}

func lockRange(f *os.File, offset, n int64) error   { return rangeLock(f, unix.F_WRLCK, offset, n) }
func unlockRange(f *os.File, offset, n int64) error { return rangeLock(f, unix.F_UNLCK, offset, n) }
