package publish_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/publish"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// What several files want is made once, and what they are made of is read once.
func TestWork(t *testing.T) {
	checkpoint, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	require.NoError(t, err)
	defer checkpoint.Close()
	model := gguf.Headers{Of: checkpoint}
	of := func(types ...recipe.FileType) (*publish.Set, func(gguf.Type) float64) {
		set, err := publish.NewSet("base", model, types, publish.Options{})
		require.NoError(t, err)
		w := set.Work()
		require.Equal(t, w.Read, w.Least)
		return set, func(typ gguf.Type) float64 { return w.Quantized[typ] }
	}
	medium, m := of(recipe.Q4_K_M)
	_, s := of(recipe.Q4_K_S)
	both, b := of(recipe.Q4_K_M, recipe.Q4_K_S)
	require.Positive(t, m(gguf.Q6_K))
	require.GreaterOrEqual(t, b(gguf.Q4_K), max(m(gguf.Q4_K), s(gguf.Q4_K)))
	require.Less(t, b(gguf.Q4_K), m(gguf.Q4_K)+s(gguf.Q4_K))
	require.Equal(t, medium.Work().Read, both.Work().Read)
	require.Equal(t, medium.Work().Dequantized, both.Work().Dequantized)
	require.Equal(t, both.Files[0].Bytes+both.Files[1].Bytes, both.Work().Hashed)
}
