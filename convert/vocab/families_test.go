package vocab_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestFamilies has the pre-tokenizers of published files, each of which is recognized.
func TestFamilies(t *testing.T) {
	file, err := os.Open("../../infer/tokenizer/testdata/families.json.gz")
	require.NoError(t, err)
	defer file.Close()
	data, err := gzip.NewReader(file)
	require.NoError(t, err)
	var golden struct {
		PreTokenizers map[string]any `json:"pre_tokenizers"`
	}
	require.NoError(t, json.NewDecoder(data).Decode(&golden))
	require.NotEmpty(t, golden.PreTokenizers)
	for name, pre := range golden.PreTokenizers {
		t.Run(name, func(t *testing.T) {
			file := gpt2JSON()
			file["pre_tokenizer"] = pre
			dir := t.TempDir()
			testmodel.WriteJSON(t, filepath.Join(dir, "tokenizer.json"), file)
			v, err := vocab.Load(dir, vocab.Options{Size: 6})
			require.NoError(t, err)
			require.Empty(t, v.Warnings)
			require.Equal(t, name, value[string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.pre"))
		})
	}
}
