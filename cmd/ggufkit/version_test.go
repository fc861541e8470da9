package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Programs that have no version are told from each other.
func TestBuildVersion(t *testing.T) {
	got, err := buildVersion(t.Context())
	require.NoError(t, err)
	path, err := os.Executable()
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, got, fmt.Sprintf("%x", sha256.Sum256(data)))
}
