//go:build linux || darwin || freebsd || netbsd || openbsd

package files

import (
	"math"
	"os"
	"syscall"
)

func mapPages(f *os.File, offset, size int64) ([]byte, error) {
	if size > math.MaxInt {
		return nil, syscall.ENOMEM
	}
	return syscall.Mmap(int(f.Fd()), offset, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
}

func unmapPages(pages []byte) error { return syscall.Munmap(pages) }
