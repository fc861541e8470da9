package allocate

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

// header is a Source without data.
type header struct {
	gguf.Source
	tensors []gguf.TensorInfo
}

func (h header) Metadata() *gguf.Metadata   { return gguf.NewMetadata() }
func (h header) Tensors() []gguf.TensorInfo { return h.tensors }

func TestLayersShareGroups(t *testing.T) {
	var h header
	add := func(name string, shape ...int64) {
		h.tensors = append(h.tensors, gguf.TensorInfo{Name: name, Type: gguf.BF16, Shape: shape})
	}
	add("output.weight", 256, 64)
	add("token_embd.weight", 256, 64)
	add("output_norm.weight", 256)
	const layers = 40
	for i := range layers {
		for _, kind := range []string{"attn_q", "attn_k", "attn_output", "ffn_down_exps"} {
			add(fmt.Sprintf("blk.%d.%s.weight", i, kind), 256, 8, 2)
		}
		add(fmt.Sprintf("blk.%d.attn_norm.weight", i), 256)
		add(fmt.Sprintf("blk.%d.ffn_gate_inp.weight", i), 256, 2)
	}
	h.tensors[3].Shape = []int64{96, 8, 2} // blk.0.attn_q is narrow
	groups, err := findGroups(h, nil, []gguf.Type{gguf.IQ2_XXS, gguf.IQ3_XXS, gguf.Q4_K, gguf.Q5_0, gguf.BF16})
	require.NoError(t, err)

	// 160 tensors in the layers: three layers share a group.
	require.Len(t, groups, 2+4*14)
	require.Equal(t, layers, groups[0].layer, "the output is after all layers")
	require.Equal(t, -1, groups[1].layer, "the embeddings are before them")
	seen := make(map[int]bool)
	for i, g := range groups {
		// Without an importance matrix, llama-quantize refuses IQ3_XXS but for the
		// first two, and IQ2_XXS for all.
		want := []gguf.Type{gguf.BF16, gguf.Q4_K, gguf.Q5_0}
		if i < 2 {
			want = []gguf.Type{gguf.BF16, gguf.IQ3_XXS, gguf.Q4_K, gguf.Q5_0}
		}
		for _, tensor := range g.tensors {
			require.False(t, seen[tensor])
			seen[tensor] = true
			if tensor == 3 {
				want = []gguf.Type{gguf.BF16, gguf.Q5_0}
				require.Equal(t, []int{3, 9, 15}, g.tensors, "attn_q of layers 0 to 2")
				require.Equal(t, 0, g.layer)
			}
		}
		require.Equal(t, want, g.types, h.tensors[g.tensors[0]].Name)
		require.Len(t, g.bytes, len(want))
		require.Len(t, g.costs, len(want))
	}
	require.Len(t, seen, 2+4*layers)
	last := groups[len(groups)-1]
	require.Equal(t, 39, last.layer)
	require.Len(t, last.tensors, 1)
}

func TestDivergence(t *testing.T) {
	base, logits := []float32{1, 2, 3, -40}, []float32{1.5, 2, 2.5, -30}
	d := newDistribution(base)
	require.Zero(t, d.divergence(base))
	// By Σ p·(log p - log q) in float64.
	require.InDelta(t, 0.060269, d.divergence(logits), 1e-6)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		got := d.divergence([]float32{1, bad, 3, 4})
		require.True(t, math.IsNaN(got) || math.IsInf(got, 0))
	}
}
