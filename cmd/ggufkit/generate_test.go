package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLines waits for lines, and does not wait once it is interrupted.
func TestLines(t *testing.T) {
	lines := readLines(t.Context(), strings.NewReader("one\ntwo"))
	for _, want := range []string{"one", "two"} {
		line, err := lines.next(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, line)
	}
	_, err := lines.next(t.Context())
	require.ErrorIs(t, err, io.EOF)

	silent, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	lines = readLines(ctx, silent)
	cancel()
	_, err = lines.next(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
