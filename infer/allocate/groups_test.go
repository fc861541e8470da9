package allocate

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant"
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
	parts, err := findParts(h, nil, []gguf.Type{gguf.IQ2_XXS, gguf.IQ3_XXS, gguf.Q4_K, gguf.Q5_0, gguf.BF16})
	require.NoError(t, err)
	require.Len(t, parts, 2+4*layers)
	for i, p := range parts {
		// Without an importance matrix, llama-quantize refuses IQ3_XXS but for the
		// first two, and IQ2_XXS for all.
		want := []gguf.Type{gguf.BF16, gguf.Q4_K, gguf.Q5_0}
		if i < 2 {
			want = []gguf.Type{gguf.BF16, gguf.IQ3_XXS, gguf.Q4_K, gguf.Q5_0}
		}
		if p.tensor == 3 {
			want = []gguf.Type{gguf.BF16, gguf.Q5_0}
			require.Equal(t, []int64{2 * 8 * 2 * 96, 2 * 8 * 3 * 22}, p.bytes)
		}
		require.Equal(t, want, p.types, h.tensors[p.tensor].Name)
		require.Len(t, p.bytes, len(want))
		require.Len(t, p.costs, len(want))
	}

	// 160 tensors in the layers: three layers share a group.
	groups := findGroups(h.tensors, parts, 64)
	require.Len(t, groups, 2+4*14)
	require.Equal(t, layers, groups[0].layer, "the output is after all layers")
	require.Equal(t, -1, groups[1].layer, "the embeddings are before them")
	seen := make(map[int]bool)
	for _, g := range groups {
		for _, i := range g.parts {
			require.False(t, seen[i])
			seen[i] = true
			if parts[i].tensor == 3 {
				require.Equal(t, 0, g.layer)
				require.Len(t, g.parts, 3)
				require.Equal(t, []int{9, 15}, []int{parts[g.parts[1]].tensor, parts[g.parts[2]].tensor}, "attn_q of layers 1 and 2")
			}
		}
	}
	require.Len(t, seen, len(parts))
	last := groups[len(groups)-1]
	require.Equal(t, 39, last.layer)
	require.Len(t, last.parts, 1)
	require.Len(t, findGroups(h.tensors, parts, 1000), 2+4*layers)
	require.Len(t, findGroups(h.tensors, parts, 1), 2+4)
}

func TestSwapsAreOfTheSize(t *testing.T) {
	tensors := []gguf.TensorInfo{
		{Name: "blk.0.attn_q.weight", Type: gguf.BF16, Shape: []int64{256, 8}},
		{Name: "blk.0.attn_k.weight", Type: gguf.BF16, Shape: []int64{96, 8}},
		{Name: "blk.0.ffn_up_exps.weight", Type: gguf.BF16, Shape: []int64{256, 8, 4}},
	}
	for bits, want := range map[float64][3]gguf.Type{
		1: {gguf.Q2_K, gguf.Q4_0, gguf.Q4_0}, 3.5: {gguf.Q3_K, gguf.Q4_0, gguf.Q4_0}, 4.6: {gguf.Q4_K, gguf.Q4_0, gguf.Q4_0}, 6: {gguf.Q5_K, gguf.Q5_0, gguf.Q5_0},
		16: {gguf.Q8_0, gguf.Q8_0, gguf.Q8_0},
	} {
		parts := make([]part, len(tensors))
		for i, t := range []gguf.Type{gguf.IQ4_XS, gguf.Q5_1, gguf.IQ4_XS} {
			parts[i] = part{tensor: i, types: []gguf.Type{gguf.BF16, t}}
		}
		chooseSwaps(tensors, parts, nil, bits, 2*fewTokens-1, 0.5) // an expert sees few tokens
		require.Equal(t, want, [3]gguf.Type{parts[0].swap, parts[1].swap, parts[2].swap}, bits)
		chooseSwaps(tensors, parts, nil, bits, 2*fewTokens, 0.5)
		require.Equal(t, want[0], parts[2].swap, bits)
	}
}

// TestErrorsAreThoseOfOutputs compares what is measured of rows with their products: with inputs of one column at
// a time, squares add up.
func TestErrorsAreThoseOfOutputs(t *testing.T) {
	const cols, rows, experts = 256, 6, 2
	src := &numbers{info: []gguf.TensorInfo{{Name: "blk.0.ffn_up_exps.weight", Type: gguf.F32, Shape: []int64{cols, rows, experts}}}}
	random := rand.New(rand.NewPCG(1, 2))
	for range cols * rows * experts {
		src.values = append(src.values, float32(random.NormFloat64()))
	}
	parts := []part{{tensor: 0, types: []gguf.Type{gguf.F32, gguf.Q4_K}, errors: make([]float64, 2), swap: gguf.Q4_0}}
	m, err := newMeter(src, nil, parts, [][]int32{{1}}, 2)
	require.NoError(t, err)
	squares := make([][]float64, experts)
	for e := range squares {
		for range cols {
			squares[e] = append(squares[e], random.ExpFloat64())
		}
		half := make([]float64, cols) // of two batches
		for j, v := range squares[e] {
			half[j] = v / 2
		}
		for range 2 {
			m.see(infer.Input{Tensor: "blk.0.ffn_up_exps.weight", Matrix: e, Matrices: experts, Rows: 8000, Squares: half})
			require.NoError(t, m.flush(t.Context()))
		}
	}
	require.NoError(t, m.finish(t.Context(), 100))
	for _, c := range []struct {
		to  gguf.Type
		got float64
	}{{gguf.Q4_K, parts[0].errors[1]}, {gguf.Q4_0, parts[0].swapError}} {
		packed, back := make([]byte, rows*experts*c.to.RowBytes(cols)), make([]float32, len(src.values))
		require.NoError(t, quant.Quantize(c.to, packed, src.values, cols, nil))
		require.NoError(t, quant.Dequantize(c.to, back, packed, cols))
		var change, output float64
		for i, v := range src.values {
			x := squares[i/(rows*cols)][i%cols] // of an input that has only this column
			change += math.Pow(float64(v)-float64(back[i]), 2) * x
			output += math.Pow(float64(v), 2) * x
		}
		require.InEpsilon(t, change/output, c.got, 1e-9, c.to)
	}
	require.Zero(t, parts[0].errors[0])
}

// numbers is a model of one tensor.
type numbers struct {
	info   []gguf.TensorInfo
	values []float32
}

func (n *numbers) Metadata() *gguf.Metadata {
	return gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"}, gguf.KV{Key: "llama.block_count", Value: uint32(1)})
}
func (n *numbers) Tensors() []gguf.TensorInfo { return n.info }
func (n *numbers) ReadRows(dst []byte, _ int, first, _ int64) error {
	_, err := binary.Encode(dst, binary.LittleEndian, n.values[first*n.info[0].RowLen():][:len(dst)/4])
	return err
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
