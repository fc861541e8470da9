package allocate_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/allocate"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// A variant says of its tensors what the base and a view of the base say.
func TestVariantKnowsWhereItsRowsAreFrom(t *testing.T) {
	f := open(t)
	const name = "blk.0.attn_q.weight"
	changed := slices.IndexFunc(f.base.Tensors(), func(info gguf.TensorInfo) bool { return info.Name == name })
	variant, err := allocate.NewVariant(f.base, f.importance, []int{changed}, gguf.Q8_0)
	require.NoError(t, err)
	view, err := quant.NewView(f.base, recipe.Q8_0, quant.ViewOptions{Importance: f.importance})
	require.NoError(t, err)
	inView := slices.IndexFunc(view.Tensors(), func(info gguf.TensorInfo) bool { return info.Name == name })
	require.NotNil(t, gguf.RowsID(variant, changed))
	require.Equal(t, gguf.RowsID(view, inView), gguf.RowsID(variant, changed))
	require.Equal(t, gguf.Inputs(f.base), gguf.Inputs(variant)[:len(gguf.Inputs(f.base))])
	for i := range f.base.Tensors() {
		if i != changed {
			src, tensor := gguf.Unwrap(variant, i)
			require.Equal(t, i, tensor)
			require.True(t, src == gguf.Source(f.base))
		}
	}
}
