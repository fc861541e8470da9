package isa_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

func TestForEachUsesEveryTierAndRestores(t *testing.T) {
	before := isa.Current()
	var seen []isa.Tier
	isatest.ForEach(t, func(t *testing.T) {
		require.True(t, strings.HasSuffix(t.Name(), "/"+isa.Current().String()))
		seen = append(seen, isa.Current())
	})
	require.Equal(t, isa.Available(), seen)
	require.Equal(t, isa.Generic, seen[0])
	require.Equal(t, before, isa.Current())
}

func TestUseRefusesAnotherMachinesTier(t *testing.T) {
	other := isa.NEON
	if runtime.GOARCH == "arm64" {
		other = isa.AVX2
	}
	before := isa.Current()
	require.ErrorContains(t, isa.Use(other), other.String())
	require.Equal(t, before, isa.Current())
}
