//go:build nomodels

package testdata

import "io/fs"

var models fs.FS // none
