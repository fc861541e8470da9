package hf_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestGemma2 converts testdata/gemma2 to the files that convert_hf_to_gguf.py makes of
// it.
func TestGemma2(t *testing.T) {
	const dir = "../../testdata/gemma2"
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	require.NoError(t, err)
	var expected struct {
		Converted map[string]string `json:"converted_sha256"`
	}
	require.NoError(t, json.Unmarshal(data, &expected))
	require.Len(t, expected.Converted, 4)
	for name, want := range expected.Converted {
		typ, err := gguf.ParseType(name)
		require.NoError(t, err)
		c, err := hf.Open(dir, hf.Options{Type: &typ})
		require.NoError(t, err)
		defer c.Close()
		path := filepath.Join(t.TempDir(), "out.gguf")
		_, err = gguf.Write(t.Context(), path, c, gguf.WriteOptions{})
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		sum := sha256.Sum256(data)
		require.Equal(t, want, hex.EncodeToString(sum[:]), name)
	}
}
