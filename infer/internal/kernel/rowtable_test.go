package kernel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestPageSaysWhichRowsCanBeMultiplied holds the table of docs/running.md against
// CanDotRows.
func TestPageSaysWhichRowsCanBeMultiplied(t *testing.T) {
	has := isatest.HasKernel(t, "../../../docs/running.md", 3)
	isatest.ForEach(t, func(t *testing.T) {
		for typ := range gguf.Types() {
			want := isa.Current() != isa.Generic && has(typ.String())
			require.Equal(t, want, kernel.CanDotRows(typ), typ.String())
		}
	})
}
