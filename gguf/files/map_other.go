//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package files

import (
	"errors"
	"os"
)

func mapPages(*os.File, int64, int64) ([]byte, error) { return nil, errors.ErrUnsupported }
func unmapPages([]byte) error                         { return nil }
