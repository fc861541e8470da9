//go:build linux || darwin

package files_test

import (
	"math"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf/files"
)

func TestCheckRoom(t *testing.T) {
	require.NoError(t, files.CheckRoom(t.TempDir(), 1))
	require.ErrorIs(t, files.CheckRoom(t.TempDir(), math.MaxInt64), syscall.ENOSPC)
}
