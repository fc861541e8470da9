//go:build linux || darwin || freebsd || netbsd || openbsd

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	// noFollow opens no symbolic links.
	noFollow = syscall.O_NOFOLLOW
	// closeFirst says that open files cannot be renamed.
	closeFirst = false
)

func flock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// keepOwner gives f the owner and group of a file that it replaces, as far as this
// process may.
func keepOwner(f *os.File, old fs.FileInfo) {
	if stat, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(stat.Uid), int(stat.Gid))
	}
}
