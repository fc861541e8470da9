package arch_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// constantSource has F32 tensors of one number each: 0 for those that have none.
type constantSource struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	numbers map[string]float32
}

func (s constantSource) Metadata() *gguf.Metadata   { return s.meta }
func (s constantSource) Tensors() []gguf.TensorInfo { return s.tensors }
func (s constantSource) ReadRows(dst []byte, tensor int, _, _ int64) error {
	values := slices.Repeat([]float32{s.numbers[s.tensors[tensor].Name]}, len(dst)/4)
	weights.F32.Encode(dst, values)
	return nil
}

// TestRestoreRefused: what is no model of an architecture that is known is an error, also if
// it would have more tensors than fit into memory.
func TestRestoreRefused(t *testing.T) {
	meta := func(changes map[string]any) *gguf.Metadata {
		m := gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"})
		for key, value := range map[string]any{
			"block_count": uint32(1), "context_length": uint32(64), "embedding_length": uint32(32), "feed_forward_length": uint32(64),
			"attention.head_count": uint32(2), "attention.head_count_kv": uint32(1), "attention.layer_norm_rms_epsilon": float32(1e-5),
		} {
			m.Set("llama."+key, value)
		}
		for key, value := range changes {
			m.Set(key, value)
		}
		return m
	}
	tensor := func(name string, shape ...int64) gguf.TensorInfo {
		return gguf.TensorInfo{Name: name, Type: gguf.F32, Shape: shape}
	}
	dense := []gguf.TensorInfo{
		tensor("token_embd.weight", 32, 8), tensor("output_norm.weight", 32), tensor("blk.0.attn_norm.weight", 32), tensor("blk.0.ffn_norm.weight", 32),
		tensor("blk.0.attn_q.weight", 32, 32), tensor("blk.0.attn_k.weight", 32, 16), tensor("blk.0.attn_v.weight", 32, 16),
		tensor("blk.0.attn_output.weight", 32, 32), tensor("blk.0.ffn_gate.weight", 32, 64), tensor("blk.0.ffn_up.weight", 32, 64),
		tensor("blk.0.ffn_down.weight", 64, 32),
	}
	r, err := arch.Restore(constantSource{meta(nil), dense, nil})
	require.NoError(t, err)
	require.Len(t, r.Names(), len(dense))
	require.Equal(t, []int64{32, 64}, r.Get("model.layers.0.mlp.down_proj.weight").Shape())

	// Scales of a matrix, as those of NVFP4 have them, become part of it; those of its inputs do not matter.
	scaled := append(dense[:len(dense):len(dense)], tensor("blk.0.ffn_down.scale", 1), tensor("blk.0.ffn_down.input_scale", 1))
	r, err = arch.Restore(constantSource{meta(nil), scaled, map[string]float32{"blk.0.ffn_down.weight": 3, "blk.0.ffn_down.scale": 0.5}})
	require.NoError(t, err)
	require.Len(t, r.Names(), len(dense))
	row := make([]float32, 64)
	require.NoError(t, r.Get("model.layers.0.mlp.down_proj.weight").ReadRows(row, 31, 1))
	require.Equal(t, slices.Repeat([]float32{1.5}, 64), row)

	huge := map[string]any{"llama.block_count": uint32(1 << 16), "llama.expert_count": uint32(1 << 16), "llama.expert_used_count": uint32(2)}
	for name, c := range map[string]struct {
		changes map[string]any
		tensors []gguf.TensorInfo
		want    error
	}{
		"another architecture": {map[string]any{"general.architecture": "rwkv7"}, dense, gguf.ErrUnsupported},
		"no architecture":      {map[string]any{"general.architecture": uint32(1)}, dense, gguf.ErrCorrupt},
		"no embeddings":        {nil, dense[1:], gguf.ErrCorrupt},
		"a tensor less":        {nil, dense[:len(dense)-1], gguf.ErrCorrupt},
		"a tensor more":        {nil, append(dense[:len(dense):len(dense)], tensor("blk.0.ssm.weight", 32)), gguf.ErrUnsupported},
		"another shape":        {map[string]any{"llama.feed_forward_length": uint32(32)}, dense, gguf.ErrCorrupt},
		"scales of others":     {nil, append(dense[:len(dense):len(dense)], tensor("blk.0.ffn_down.scale", 2)), gguf.ErrCorrupt},
		"a scale of nothing":   {nil, append(dense[:len(dense):len(dense)], tensor("blk.1.ffn_down.scale", 1)), gguf.ErrUnsupported},
		"huge":                 {huge, dense, gguf.ErrCorrupt},
		"lists":                {map[string]any{"llama.attention.head_count": []uint32{2}}, dense, gguf.ErrCorrupt},
		"another scaling":      {map[string]any{"llama.rope.scaling.type": "longrope"}, dense, gguf.ErrUnsupported},
		"other factors":        {nil, append(dense[:len(dense):len(dense)], tensor("rope_freqs.weight", 8)), gguf.ErrCorrupt},
	} {
		_, err := arch.Restore(constantSource{meta(c.changes), c.tensors, nil})
		require.ErrorIs(t, err, c.want, name)
	}
}
