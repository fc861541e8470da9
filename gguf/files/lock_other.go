//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package files

import (
	"errors"
	"io/fs"
	"os"
)

const (
	noFollow   = 0
	closeFirst = true
)

func flock(*os.File) error { return errors.ErrUnsupported }

func keepOwner(*os.File, fs.FileInfo) {}
