//go:build unix

package files

import (
	"errors"
	"os"
	"syscall"
)

// SyncDir makes renames in a directory durable.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) { // some file systems cannot
		err = nil
	}
	return errors.Join(err, dir.Close())
}
