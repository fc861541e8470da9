package isa_test

import (
	"runtime"
	"slices"
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

func TestForEachVariantUsesEveryExtensionAndRestores(t *testing.T) {
	before := isa.Current()
	var names, want []string
	for _, tier := range isa.Available() {
		name := tier.String()
		want = append(want, name)
		for _, e := range slices.Backward(isa.Extensions(tier)) {
			name = strings.Replace(name, tier.String(), tier.String()+",-"+e.String(), 1)
			want = append(want, name)
		}
	}
	isatest.ForEachVariant(t, func(t *testing.T) {
		name := t.Name()[strings.LastIndex(t.Name(), "/")+1:]
		names = append(names, name)
		require.Equal(t, isa.Current().String(), strings.Split(name, ",")[0])
		for _, e := range isa.Extensions(isa.Current()) {
			require.Equal(t, !strings.Contains(name, ",-"+e.String()), isa.Has(e), name)
		}
	})
	require.Equal(t, want, names)
	require.Equal(t, before, isa.Current())
	for _, e := range isa.Extensions(before) {
		require.True(t, isa.Has(e))
	}
}

func TestExtensionsAreOfOneTier(t *testing.T) {
	before := isa.Current()
	t.Cleanup(func() { require.NoError(t, isa.Use(before)) })
	for _, tier := range isa.Available() {
		require.NoError(t, isa.Use(tier))
		for _, other := range isa.Available() {
			for _, e := range isa.Extensions(other) {
				require.Equal(t, tier == other, isa.Has(e), "%s on %s", e, tier)
			}
		}
	}
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
