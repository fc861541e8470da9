//go:build nomodels

package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWithoutModels runs the two commands that need the small models, in a build
// that lacks them.
func TestWithoutModels(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	for advice, args := range map[string][]string{
		"go run github.com/ggufkit/ggufkit/cmd/ggufkit@latest demo": {"demo", "--output", dir},
		"ggufkit bench perplexity MODEL":                            {"bench", "perplexity"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitFailed, run(append([]string{"ggufkit"}, args...), &stdout, &stderr))
		require.Contains(t, stderr.String(), "-tags nomodels")
		require.Contains(t, stderr.String(), advice)
		require.Empty(t, stdout.String())
	}
	require.NoDirExists(t, dir)
}
