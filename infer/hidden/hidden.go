// Package hidden runs models on short prompts for what happens between their
// layers: it is what the routers of a merged mixture are made of.
//
//	checkpoint, err := convert.OpenRecipe(ctx, "moe.yaml", moe.Options{Encoder: &hidden.Encoder{}}, convert.Options{})
package hidden

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
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
func (e *Encoder) Tokens(dir string, prompts []string) (ids [][]int32, err error) {
	model, err := convert.OpenModel(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	vocab, err := tokenizer.New(model.Metadata())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if vocab.BOS() < 0 {
		return nil, fmt.Errorf("%s: the vocabulary has no beginning-of-sequence token", dir)
	}
	// The token is spelled out and recognized, as mergekit-moe does it.
	bos := vocab.Piece(vocab.BOS())
	for _, prompt := range prompts {
		ids = append(ids, vocab.Encode(bos+strings.TrimPrefix(prompt, bos), tokenizer.Options{ParseSpecial: true}))
	}
	return ids, nil
}

// States implements moe.Encoder.
func (e *Encoder) States(ctx context.Context, dir string, texts [][]int32, mean bool) (states [][][]float32, err error) {
	src, err := convert.OpenModel(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	states = make([][][]float32, len(texts))
	opts := e.Engine
	opts.Compute = infer.Exact
	opts.Residual = func(r infer.Residual) {
		for chunk, x := range r.Chunks {
			width := len(x) / len(texts[r.First+chunk])
			state := make([]float32, width)
			if !mean {
				copy(state, x[len(x)-width:])
			} else {
				for i, v := range x {
					state[i%width] += v * float32(width) / float32(len(x))
				}
			}
			states[r.First+chunk] = append(states[r.First+chunk], state)
		}
	}
	model, err := infer.New(src, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	longest := 0
	for _, text := range texts {
		longest = max(longest, len(text))
	}
	err = model.Forward(ctx, texts, longest, func(int, int, []float32) {}) // no logits
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return states, nil
}
