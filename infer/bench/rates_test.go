package bench_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/bench"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// What takes a second each of a core takes as many seconds as there are kinds, whatever the number of threads that were measured.
func TestCoreTime(t *testing.T) {
	of := infer.Operand{Type: gguf.Q4_K, Compute: infer.Int8}
	w := infer.Work{
		Packed: map[infer.Operand]float64{of: 2e6}, Multiplied: map[infer.Operand]float64{of: 3e9},
		Dequantized: map[gguf.Type]float64{gguf.BF16: 1e9}, Quantized: map[gguf.Type]float64{gguf.Q4_K: 5e6}, Hashed: 6e9,
	}
	results := []bench.Result{
		{Op: "pack", Type: "Q4_K", Compute: "int8", ISA: "avx2", Threads: 4, Value: 8, Unit: "Mweights/s"},
		{Op: "multiply", Type: "Q4_K", Compute: "int8", ISA: "avx2", Threads: 1, Value: 6, Unit: "Gop/s"},
		{Op: "dequantize", Type: "BF16", ISA: "avx2", Threads: 2, Value: 8, Unit: "GB/s"},
		{Op: "dequantize", Type: "BF16", ISA: "avx2", Threads: 1, Value: 8, Unit: "GB/s"},
		{Op: "quantize", Type: "Q4_K", ISA: "avx2", Threads: 2, Value: 10, Unit: "Mweights/s"},
		{Op: "quantize", Type: "Q4_K", ISA: "generic", Threads: 2, Value: 1, Unit: "Mweights/s"},
		{Op: "sha256", ISA: "avx2", Threads: 2, Value: 12, Unit: "GB/s"},
	}
	rates := bench.NewRates("avx2", results)
	took, err := rates.CoreTime(w, false)
	require.NoError(t, err)
	require.InDelta(t, 5*time.Second, took, 1e3)
	_, err = rates.CoreTime(w, true)
	require.ErrorIs(t, err, bench.ErrNoRate)
	require.EqualError(t, err, "there is no figure: quantize+imatrix Q4_K")
}

// All that some work consists of is measured.
func TestMeasureRates(t *testing.T) {
	w := bench.All([]gguf.Type{gguf.Q8_0, gguf.IQ2_XS}, []infer.Compute{infer.Exact, infer.Int8All})
	results, err := bench.MeasureRates(t.Context(), w, 2)
	require.NoError(t, err)
	took, err := bench.NewRates(isa.Current().String(), results).CoreTime(w, true)
	require.NoError(t, err)
	require.Positive(t, took)
}
