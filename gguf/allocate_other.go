//go:build !linux

package gguf

import "os"

// allocate makes a file size bytes long.
func allocate(f *os.File, size int64) error { return f.Truncate(size) }
