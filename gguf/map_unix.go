//go:build linux || darwin || freebsd || netbsd || openbsd

package gguf

import (
	"math"
	"os"
	"syscall"
)

func mapFile(f *os.File, size int64) ([]byte, error) {
	if size > math.MaxInt {
		return nil, syscall.ENOMEM
	}
	return syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
}

func unmap(mapping []byte) error { return syscall.Munmap(mapping) }
