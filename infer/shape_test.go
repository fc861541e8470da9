package infer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

func TestShape(t *testing.T) {
	src, err := hf.Open(reference.MoE(t), hf.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	m, err := infer.New(src, infer.Options{})
	require.NoError(t, err)
	require.Equal(t, infer.Shape{Layers: 4, Width: 256, Hidden: 2 * 512, Heads: 8, KVHeads: 2, KeyLen: 32, ValueLen: 32, Vocabulary: 4096}, m.Shape())
}
