package gguf_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

func TestDiffPairs(t *testing.T) {
	nan := float32(math.NaN())
	kv := func(key string, value any) gguf.KV { return gguf.KV{Key: key, Value: value} }
	a := gguf.NewMetadata(kv("x", uint32(1)), kv("nan", nan), kv("only a", "a"), kv("list", []string{"a"}), kv("type", uint8(1)))
	b := gguf.NewMetadata(kv("nan", nan), kv("x", uint32(1)), kv("list", []string{"b"}), kv("type", int8(1)), kv("only b", "b"))
	diffs, sameOrder := gguf.DiffPairs(a, b)
	require.False(t, sameOrder)
	require.Equal(t, []gguf.PairDiff{
		{"only a", "a", nil}, {"list", []string{"a"}, []string{"b"}}, {"type", uint8(1), int8(1)}, {"only b", nil, "b"},
	}, diffs)
	diffs, sameOrder = gguf.DiffPairs(a, a)
	require.True(t, sameOrder)
	require.Empty(t, diffs)
	zero, minus := gguf.NewMetadata(kv("x", 0.)), gguf.NewMetadata(kv("x", math.Copysign(0, -1)))
	diffs, _ = gguf.DiffPairs(zero, minus)
	require.Len(t, diffs, 1)
}
