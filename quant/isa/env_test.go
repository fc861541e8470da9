package isa

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEnvironment is an internal test: the variable is read once, at start.
func TestEnvironment(t *testing.T) {
	all, without, before := available, disabled, inUse.Load()
	t.Cleanup(func() { available, disabled = all, without; inUse.Store(before) })
	reset := func() { available, disabled = all, 0 }
	for i, tier := range all {
		reset()
		require.NoError(t, choose(tier.String()))
		require.Equal(t, tier, Current())
		require.Equal(t, all[:i+1], Available())
		have := Extensions(tier)
		for n, e := range have {
			require.True(t, Has(e))
			reset()
			require.NoError(t, choose(tier.String()+",-"+e.String()))
			require.Equal(t, tier, Current())
			require.False(t, Has(e))
			require.Len(t, Extensions(tier), len(have)-1)
			require.NotContains(t, Extensions(tier), e)
			require.NoError(t, Use(tier))
			require.False(t, Has(e), "it is ruled out")
			require.Equal(t, len(have) > 1, Has(have[(n+1)%len(have)]))
		}
		reset()
		for _, wrong := range []string{",", ",-", ",avxvnni", ",-sse9"} {
			require.ErrorContains(t, choose(tier.String()+wrong), tier.String()+" can only do without")
		}
	}
	reset()
	require.NoError(t, choose("Generic"))
	require.Equal(t, Generic, Current())

	reset()
	require.ErrorContains(t, choose("sse9"), `GGUFKIT_ISA is "sse9"`)
	require.Equal(t, all[len(all)-1], Current())
	require.NoError(t, choose(""))
}
