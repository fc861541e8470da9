package quant_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestPageSaysWhichTypesAreRead holds the table of docs/running.md against the
// kernels.
func TestPageSaysWhichTypesAreRead(t *testing.T) {
	has := isatest.HasKernel(t, "../docs/running.md", 2)
	isatest.ForEach(t, func(t *testing.T) {
		for typ := range gguf.Types() {
			if !quant.CanDequantize(typ) || typ == gguf.F32 {
				continue
			}
			const n = 256
			done := kernel.Dequantize(typ, make([]float32, n), make([]byte, typ.RowBytes(n)), quant.Grid(typ))
			want := isa.Current() != isa.Generic && has(typ.String())
			require.Equal(t, want, done > 0, typ.String())
		}
	})
}
