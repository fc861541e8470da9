// Package states runs models on short prompts for what happens between their
// layers: it is what the routers of a merged mixture are made of.
//
//	model, err := convert.OpenModel(ctx, "moe.yaml", convert.Options{Merge: moe.Options{Encoder: &states.Encoder{}}})
package states

import (
	"context"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// Encoder is a moe.Encoder that runs models in float32. (mergekit-moe runs them in
// bfloat16.)
type Encoder struct {
	Engine infer.Options // but for Compute and Residual
}

var _ moe.Encoder = &Encoder{}

// Tokens implements moe.Encoder.
func (e *Encoder) Tokens(model moe.BaseModel, prompts []string) ([][]int32, error) {
	vocab, err := tokenizer.New(model.Metadata())
	if err != nil {
		return nil, err
	}
	bos := ""
	if !model.NoBOS && vocab.BOS() >= 0 {
		// The token is spelled out and recognized, as mergekit-moe does it.
		bos = vocab.Piece(vocab.BOS())
	}
	ids := make([][]int32, len(prompts))
	for i, prompt := range prompts {
		ids[i] = vocab.Encode(bos+strings.TrimPrefix(prompt, bos), tokenizer.Options{ParseSpecial: true})
	}
	return ids, nil
}

// States implements moe.Encoder.
func (e *Encoder) States(ctx context.Context, model moe.BaseModel, texts [][]int32, mean bool) ([][][]float32, error) {
	longest := 0
	for _, text := range texts {
		longest = max(longest, len(text))
	}
	var padding [][]float32
	if mean {
		var err error
		if padding, err = e.padding(ctx, model); err != nil {
			return nil, err
		}
	}
	states := make([][][]float32, len(texts))
	err := e.forward(ctx, model.Source, texts, func(r infer.Residual) {
		for chunk, x := range r.Chunks {
			text := r.First + chunk
			state := slices.Clone(x[len(x)-len(x)/len(texts[text]):])
			if mean {
				state = average(x, padding[r.Layer], longest)
			}
			states[text] = append(states[text], state)
		}
	})
	return states, err
}

// average returns the mean state of a text's tokens, one after another in x, and of
// as much padding as makes them n.
func average(x, padding []float32, n int) []float32 {
	width := len(padding)
	sums := make([]float64, width)
	for i, v := range padding {
		sums[i] = float64(n-len(x)/width) * float64(v)
	}
	for i, v := range x {
		sums[i%width] += float64(v)
	}
	mean := make([]float32, width)
	for i, sum := range sums {
		mean[i] = float32(sum / float64(n))
	}
	return mean
}

// forward runs a model on texts for what goes into its layers, not for logits.
func (e *Encoder) forward(ctx context.Context, src gguf.Source, texts [][]int32, see func(infer.Residual)) error {
	opts := e.Engine
	opts.Compute = infer.Exact
	opts.Residual = see
	model, err := infer.New(src, opts)
	if err != nil {
		return err
	}
	return model.Forward(ctx, infer.Chunks(texts, infer.NoLogits), func(int, int, []float32) {})
}
