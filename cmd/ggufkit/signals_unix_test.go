//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/testdata/reference"
)

// TestSignalsEndWhatCannotBeCancelled interrupts a command that reads a pipe to
// which nobody writes.
func TestSignalsEndWhatCannotBeCancelled(t *testing.T) {
	for signal, want := range map[syscall.Signal]string{
		syscall.SIGINT:  "ggufkit: interrupted\n",
		syscall.SIGTERM: "ggufkit: ended by a signal: terminated\n",
	} {
		pipe := filepath.Join(t.TempDir(), "pipe")
		require.NoError(t, syscall.Mkfifo(pipe, 0o600))
		type result struct {
			code   int
			stderr string
		}
		done := make(chan result)
		go func() {
			code, _, stderr := runArgs("tokenize", reference.MoE(t), "-f", pipe)
			done <- result{code, stderr}
		}()
		writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for the reader
		require.NoError(t, err)
		defer writer.Close()
		require.NoError(t, syscall.Kill(os.Getpid(), signal))
		require.Equal(t, result{exitSignal + int(signal), want}, <-done)
	}
}
