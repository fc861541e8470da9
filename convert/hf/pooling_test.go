package hf_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
)

// TestPooling has what convert_hf_to_gguf.py writes for Qwen's models that make embeddings.
func TestPooling(t *testing.T) {
	modules := []object{{"type": "sentence_transformers.models.Transformer", "path": ""}, {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}}
	with := func(pooling object) map[string]any {
		return map[string]any{"modules.json": modules, "1_Pooling/config.json": pooling}
	}
	for name, tt := range map[string]struct {
		files map[string]any
		want  any    // nil for none
		err   string // in the error
	}{
		"none":             {nil, nil, ""},
		"mean":             {with(object{"pooling_mode_mean_tokens": true}), uint32(1), ""},
		"cls":              {with(object{"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true}), uint32(2), ""},
		"last":             {with(object{"pooling_mode_lasttoken": true}), uint32(3), ""},
		"mode":             {with(object{"pooling_mode": "cls"}), uint32(2), ""},
		"max":              {with(object{"pooling_mode_max_tokens": true}), nil, "1_Pooling/config.json"},
		"no pooling":       {map[string]any{"modules.json": modules[:1]}, nil, ""},
		"embedding_config": {map[string]any{"embedding_config.json": object{"pooling": "last_token"}}, uint32(3), ""},
		"elsewhere":        {map[string]any{"modules.json": []object{{"type": "Pooling", "path": "../x"}}}, nil, "modules.json"},
	} {
		dir := writeCase(t, t.TempDir(), "Qwen3-0.6B")
		writeFiles(t, dir, tt.files)
		c, err := hf.Open(dir, hf.Options{})
		if tt.err != "" {
			require.ErrorContains(t, err, tt.err, name)
			continue
		}
		require.NoError(t, err, name)
		kv, ok := c.Metadata().Get("qwen3.pooling_type")
		require.Equal(t, tt.want != nil, ok, name)
		require.Equal(t, tt.want, kv, name)
		require.NoError(t, c.Close())
	}
}
