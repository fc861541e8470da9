package isa

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEnvironment is an internal test: the variable is read once, at start.
func TestEnvironment(t *testing.T) {
	all, before := available, inUse.Load()
	t.Cleanup(func() { available = all; inUse.Store(before) })
	for i, tier := range all {
		available = all
		require.NoError(t, choose(tier.String()))
		require.Equal(t, tier, Current())
		require.Equal(t, all[:i+1], Available())
	}
	available = all
	require.NoError(t, choose("Generic"))
	require.Equal(t, Generic, Current())

	available = all
	require.ErrorContains(t, choose("sse9"), `GGUFKIT_ISA is "sse9"`)
	require.Equal(t, all[len(all)-1], Current())
	require.NoError(t, choose(""))
}
