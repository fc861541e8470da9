package files

import (
	"os"

	"golang.org/x/sys/unix"
)

// prefetch asks for bytes [offset, offset+n) to be read ahead. It is advice, so
// there is no error.
func prefetch(f *os.File, offset, n int64) {
	_ = unix.Fadvise(int(f.Fd()), offset, n, unix.FADV_WILLNEED)
}
