package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every table has its place in the page, and what stands there is a table.
func TestPage(t *testing.T) {
	data, err := os.ReadFile("../benchmarks.md")
	require.NoError(t, err)
	page := string(data)
	for _, t2 := range tables {
		_, rest, ok := strings.Cut(page, mark(t2.name)+"\n")
		require.True(t, ok, t2.name)
		text, _, ok := strings.Cut(rest, endMark)
		require.True(t, ok)
		require.Contains(t, text, "\n|---|", t2.name)
		same, err := replace(page, t2.name, text)
		require.NoError(t, err)
		require.Equal(t, page, same)
	}
	require.Equal(t, len(tables), strings.Count(page, endMark))
	_, err = replace(page, "nothing", "")
	require.Error(t, err)
}

func TestTiers(t *testing.T) {
	results := []speed{
		{Op: "quantize", Type: "Q4_K", ISA: "generic", Value: 10}, {Op: "quantize+imatrix", Type: "Q4_K", ISA: "generic", Value: 5.04},
		{Op: "quantize", Type: "Q4_K", ISA: "avx2", Value: 150}, {Op: "quantize+imatrix", Type: "Q4_K", ISA: "avx2", Value: 60},
	}
	require.Equal(t, `| type | generic Go | AVX2 |
|---|---|---|
| Q4_K | 10.0 | 150 |
| Q4_K, importance matrix | 5.0 | 60.0 |
`, tiers(results, quantizeLabel, nil).String())
	require.Equal(t, `| type | ggml | generic Go | AVX2 | AVX2 : ggml |
|---|---|---|---|---|
| Q4_K | 12.5 | 10.0 | 150 | 12.0 |
| Q4_K, importance matrix | 6.0 | 5.0 | 60.0 | 10.0 |
`, tiers(results, quantizeLabel, map[string]float64{"Q4_K": 12.5, "Q4_K, importance matrix": 6}).String())
}
