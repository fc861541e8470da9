//go:build !linux

package files

import (
	"errors"
	"os"
)

func lockRange(*os.File, int64, int64) error   { return errors.ErrUnsupported }
func unlockRange(*os.File, int64, int64) error { return errors.ErrUnsupported }
