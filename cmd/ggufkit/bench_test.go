package main

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBenchEnds interrupts measurements: they end with the context's error.
func TestBenchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, what := range []string{"quantize", "matmul", "perplexity", "rates"} {
		err := newApp(io.Discard, io.Discard).RunContext(ctx, []string{"ggufkit", "bench", what})
		require.ErrorIs(t, err, context.Canceled, what)
	}
}
