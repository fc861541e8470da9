package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/testdata/reference"
)

// full is a disk on which only so many bytes fit.
type full int

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), int(*f))
	*f -= full(n)
	if n < len(p) {
		return n, errors.New("no space left")
	}
	return n, nil
}

// Results that cannot be written are an error, of whatever command.
func TestResultsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	moe := reference.MoE(t)
	text := filepath.Join("..", "..", "testdata", "texts", "story.txt")
	for _, command := range [][]string{
		{"--help"},
		{"version"},
		{"inspect", moe},
		{"hash", moe, "--quiet"},
		{"tokenize", moe, "-p", "Hello, world!"},
		{"generate", moe, "-p", "Hello", "--max-new-tokens", "4"},
		{"perplexity", moe, "-f", text, "--ctx", "64", "--chunks", "1", "--quiet"},
		{"imatrix", moe, "-f", text, "--ctx", "64", "--chunks", "1", "--coverage", "--quiet"},
		{"drift", moe, "-f", text, "--ctx", "64", "--chunks", "1", "--types", "Q8_0", "--quiet"},
		{"moe", "doctor", moe},
		{"quantize", moe, "out.gguf", "Q8_0", "--dry-run"},
	} {
		args := append([]string{"ggufkit"}, command...)
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitDone, run(args, &stdout, &stderr), "%v: %s", command, &stderr)
		require.NotZero(t, stdout.Len(), "%v", command)
		for _, room := range []int{0, stdout.Len() / 2} {
			disk := full(room)
			stderr.Reset()
			require.Equal(t, exitFailed, run(args, &disk, &stderr), "%v", command)
			require.Contains(t, stderr.String(), "no space left", "%v", command)
		}
	}
}
