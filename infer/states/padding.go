package states

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// padding returns, for each layer of the model, what goes into it for a padding
// token: the token that begins a sequence or, if there is none, ends it. Such a
// token sees no token, itself included. PyTorch's scaled_dot_product_attention makes
// zeros of that, so that its state depends on nothing but the token.
func (e *Encoder) padding(ctx context.Context, model moe.BaseModel) ([][]float32, error) {
	vocab, err := tokenizer.New(model.Metadata())
	if err != nil {
		return nil, err
	}
	token := vocab.BOS()
	if model.NoBOS || token < 0 {
		token = vocab.EOS()
	}
	if token < 0 {
		return nil, fmt.Errorf("%w: the vocabulary has no token to pad prompts with", gguf.ErrUnsupported)
	}
	var states [][]float32
	err = e.forward(ctx, blind{model.Source}, [][]int32{{token}}, func(r infer.Residual) {
		states = append(states, slices.Clone(r.Chunks[0]))
	})
	return states, err
}

// blind is a model whose attention adds nothing.
type blind struct{ gguf.Source }

// ReadRows implements gguf.Source. Zeros are zeros in all types of checkpoints.
func (b blind) ReadRows(dst []byte, tensor int, first, n int64) error {
	if b.blank(tensor) {
		clear(dst)
		return nil
	}
	return b.Source.ReadRows(dst, tensor, first, n)
}

// Unwrap implements gguf.Wrapper.
func (b blind) Unwrap(tensor int, first, n int64) gguf.Origin {
	if b.blank(tensor) {
		return gguf.Origin{}
	}
	return gguf.Origin{Source: b.Source, Tensor: tensor, First: first, N: n, Same: true}
}

// blank reports whether a tensor is all zeros: the output of an attention.
func (b blind) blank(tensor int) bool {
	return strings.HasSuffix(b.Tensors()[tensor].Name, ".attn_output.weight")
}
