//go:build linux || darwin

package files

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

const gib = 1 << 30

// CheckRoom returns an error that wraps syscall.ENOSPC if the disk of a directory has no room
// for so many bytes. What it cannot find out is no error.
func CheckRoom(dir string, bytes int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return nil
	}
	if free := s.Bavail * uint64(s.Bsize); uint64(bytes) > free {
		return &fs.PathError{Op: "write", Path: dir, Err: fmt.Errorf("%.3g GiB are needed, %.3g GiB are free: %w",
			float64(bytes)/gib, float64(free)/gib, unix.ENOSPC)}
	}
	return nil
}
