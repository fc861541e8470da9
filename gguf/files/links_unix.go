//go:build unix

package files

import (
	"io/fs"
	"syscall"
)

// Links returns how many names a file has, as far as that can be told.
func Links(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Nlink)
	}
	return 1
}
