package files

import (
	"os"
	"syscall"
)

func openDirect(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|syscall.O_DIRECT|noFollow, 0)
}
