package tokenizer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
)

// beyonderMini returns the vocabulary of testdata's trained models.
func beyonderMini(t testing.TB) *gguf.Metadata {
	model, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	require.NoError(t, err)
	require.NoError(t, model.Close())
	return model.Metadata()
}
