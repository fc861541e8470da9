package infer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
)

// Whatever the metadata and tensors of a file are, a model is made of it or refused.
func FuzzNew(f *testing.F) {
	for _, arch := range []string{"llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "deepseek", "gemma2"} {
		path := filepath.Join(f.TempDir(), "m.gguf")
		_, err := gguf.Write(f.Context(), path, small.of(arch).build(1), gguf.WriteOptions{})
		require.NoError(f, err)
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.New(bytes.NewReader(data), int64(len(data)), "fuzz.gguf")
		if err != nil {
			return
		}
		if m, err := infer.New(file, infer.Options{Threads: 1}); err == nil {
			require.Positive(t, m.Vocabulary())
		}
	})
}
