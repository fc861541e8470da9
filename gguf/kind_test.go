package gguf_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

type kindSource struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
}

func (s kindSource) Metadata() *gguf.Metadata                 { return s.meta }
func (s kindSource) Tensors() []gguf.TensorInfo               { return s.tensors }
func (s kindSource) ReadRows([]byte, int, int64, int64) error { return nil }

func TestKindOf(t *testing.T) {
	weights := []gguf.TensorInfo{{Name: "blk.0.attn_q.weight", Type: gguf.F32, Shape: []int64{32, 32}}}
	for _, test := range []struct {
		want    gguf.Kind
		tensors []gguf.TensorInfo
		meta    []gguf.KV
	}{
		{gguf.KindModel, weights, nil},
		{gguf.KindModel, nil, nil},
		{gguf.KindModel, weights, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "tokenizer.ggml.model", Value: "gpt2"}}},
		{gguf.KindModel, weights, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "general.type", Value: "model"}, {Key: "quantize.imatrix.file", Value: "x"}}},
		{gguf.KindVocabulary, nil, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "tokenizer.ggml.model", Value: "gpt2"}}},
		{gguf.KindProjector, weights, []gguf.KV{{Key: "general.architecture", Value: "clip"}}},
		{gguf.KindProjector, weights, []gguf.KV{{Key: "general.type", Value: "mmproj"}}},
		{gguf.KindAdapter, weights, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "general.type", Value: "adapter"}}},
		{gguf.KindAdapter, weights, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "adapter.type", Value: "lora"}}},
		{gguf.KindImatrix, weights, []gguf.KV{{Key: "general.type", Value: "imatrix"}}},
		{gguf.KindImatrix, weights, []gguf.KV{{Key: "imatrix.chunk_count", Value: uint32(1)}}},
		{gguf.KindControlVector, weights, []gguf.KV{{Key: "general.architecture", Value: "controlvector"}}},
		{gguf.KindModel, weights, []gguf.KV{{Key: "general.architecture", Value: uint32(3)}}},
	} {
		require.Equal(t, test.want, gguf.KindOf(kindSource{gguf.NewMetadata(test.meta...), test.tensors}), "%v", test.meta)
	}
}
