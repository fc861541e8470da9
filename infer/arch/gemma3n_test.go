package arch_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/arch"
)

// headers is a model without weights.
type headers struct{ meta *gguf.Metadata }

func (h headers) Metadata() *gguf.Metadata                 { return h.meta }
func (h headers) Tensors() []gguf.TensorInfo               { return make([]gguf.TensorInfo, 9) }
func (h headers) ReadRows([]byte, int, int64, int64) error { return nil }

func TestGemma3nMetadata(t *testing.T) {
	off := float32(math.Inf(-1))
	for _, c := range []struct {
		key   string
		value any
		err   string
	}{
		{"altup.active_idx", uint32(3), ""},
		{"altup.active_idx", uint32(4), "stream 4 of 4 is active"},
		{"altup.num_inputs", uint32(1), "altup.num_inputs is 1"},
		{"activation_sparsity_scale", []float32{1, 0}, "2 values for 3 layers"},
		{"activation_sparsity_scale", []float32{1, 0, float32(math.NaN())}, "NaN in layer 2"},
		{"attention.shared_kv_layers", uint32(2), "no layer has keys and values for layer 1"},
		{"embedding_length_per_layer_input", uint32(0), "embedding_length_per_layer_input is 0"},
	} {
		meta := gguf.NewMetadata()
		meta.Set("general.architecture", "gemma3n")
		for key, v := range map[string]any{
			"block_count": uint32(3), "embedding_length": uint32(64), "attention.head_count": uint32(4), "attention.layer_norm_rms_epsilon": float32(1e-6),
			"feed_forward_length": uint32(64), "embedding_length_per_layer_input": uint32(8), "attention.sliding_window": uint32(16),
			"attention.shared_kv_layers": uint32(1), "attention.sliding_window_pattern": []bool{true, false, false},
			"activation_sparsity_scale": []float32{1, 0, off}, c.key: c.value,
		} {
			meta.Set("gemma3n."+key, v)
		}
		_, err := arch.Read(headers{meta})
		if c.err == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, gguf.ErrCorrupt)
		require.ErrorContains(t, err, c.err)
	}
}
