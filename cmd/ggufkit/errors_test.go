package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// broken is a Source with something wrong.
type broken struct {
	gguf.Source
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
}

func (b broken) Metadata() *gguf.Metadata   { return b.meta }
func (b broken) Tensors() []gguf.TensorInfo { return b.tensors }

func (b broken) ReadRows(dst []byte, _ int, _, _ int64) error {
	clear(dst)
	return nil
}

// Whatever is wrong with a model, and whatever is done with it: the error names it.
func TestErrorsNameTheirFile(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("some words ", 400)), 0o666))
	good := reference.MoE(t)
	model, err := convert.OpenModel(t.Context(), good, convert.Options{})
	require.NoError(t, err)
	defer model.Close()

	for what, breakIt := range map[string]func(*broken){
		"shape":      func(b *broken) { b.tensors[1].Shape = []int64{b.tensors[1].Shape[0] / 2, 2 * b.tensors[1].Shape[1]} },
		"vocabulary": func(b *broken) { b.meta.Set("tokenizer.ggml.token_type", []int32{1, 1}) },
		"context":    func(b *broken) { b.meta.Set("llama.attention.head_count", uint32(0)) },
		"missing":    func(b *broken) { b.tensors = b.tensors[:len(b.tensors)-1] },
	} {
		b := &broken{Source: model, meta: model.Metadata().Clone(), tensors: slices.Clone(model.Tensors())}
		breakIt(b)
		path := filepath.Join(dir, "broken-"+what+".gguf")
		_, err := gguf.Write(t.Context(), path, b, gguf.WriteOptions{})
		require.NoError(t, err)
		for _, args := range [][]string{
			{"perplexity", path, "-f", text, "--ctx", "64"},
			{"imatrix", path, "-f", text, "--ctx", "64", "--coverage"},
			{"drift", path, "-f", text, "--ctx", "64", "--types", "Q4_0"},
			{"drift", good, "-f", text, "--ctx", "64", "--candidate", good, "--candidate", path},
			{"choose", path, "-f", text, "--max-kld", "0.1"},
			{"generate", path, "-p", "a"},
			{"moe", "doctor", path, "-f", text},
			{"tokenize", path, "-p", "a"},
		} {
			if what != "vocabulary" && args[0] == "tokenize" || what == "vocabulary" && args[1] == good {
				continue // that is not looked at
			}
			t.Run(what+" "+strings.Join(args[:2], " "), func(t *testing.T) {
				code, stdout, stderr := runArgs(args...)
				require.Equal(t, exitFailed, code, stderr)
				require.Empty(t, stdout)
				require.Contains(t, stderr, path)
				require.Equal(t, 1, strings.Count(stderr, path), stderr)
			})
		}
	}
}
