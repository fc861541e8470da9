// Package imatrix measures importance matrices: how large the inputs of every
// weight matrix are on a calibration text, as llama-imatrix does, and how the
// routers of a mixture of experts spread that text.
//
// The texts are cut into chunks as package perplexity cuts them. Every matrix of the
// blocks counts, that of the output only if it is asked for; an expert counts
// the tokens that the router gives it. Inputs are those of exact compute, and
// sums are made in float64, so they do not depend on the number of threads; in
// llama.cpp they do in the last digits.
//
//	tokens, bos, err := perplexity.Tokens(tok, text)
//	if err != nil {
//		return err
//	}
//	texts := []perplexity.Text{{Name: "wiki.txt", Tokens: tokens, BOS: bos}}
//	m, err := imatrix.Measure(ctx, src, texts, imatrix.Options{})
//	if err != nil {
//		return err
//	}
//	file, err := m.Sums.Source() // for gguf.Write
package imatrix

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/routing"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// Options says what to measure and how.
type Options struct {
	perplexity.Options
	// Output measures output.weight too, or token_embd.weight where that is the output matrix, which takes the
	// time of computing all logits.
	Output bool
	Engine infer.Options // but for Compute, Input and Router
}

// Measurement is an importance matrix and what was seen besides.
type Measurement struct {
	Sums *imatrix.Sums
	// Layers has the routing of every layer with experts, from the first to the
	// last.
	Layers []routing.Layer
}

// Measure runs a model on texts. Their names are the Datasets of the Sums.
func Measure(ctx context.Context, src gguf.Source, texts []perplexity.Text, opts Options) (*Measurement, error) {
	windows, _, err := perplexity.TextWindows(texts, opts.Options)
	if err != nil {
		return nil, fmt.Errorf("imatrix: %w", err)
	}
	chunks := perplexity.InferChunks(windows)
	size := len(chunks[0].Tokens)
	m := &Measurement{Sums: &imatrix.Sums{Chunks: int64(len(chunks)), ChunkSize: int64(size)}}
	for _, text := range texts {
		m.Sums.Datasets = append(m.Sums.Datasets, text.Name)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	opts.Engine.Input = func(in infer.Input) {
		output := opts.Output && (in.Tensor == "output.weight" || in.Tensor == "token_embd.weight")
		if layer, _ := gguf.SplitName(in.Tensor); layer < 0 && !output {
			return
		}
		add := m.Sums.Add
		if in.Head {
			add = m.Sums.AddHead
		}
		if err := add(in.Tensor, in.Matrix, in.Matrices, int64(in.Rows), in.Squares); err != nil {
			stop(err)
		}
	}
	var tally routing.Tally
	opts.Engine.Compute, opts.Engine.Router = infer.Exact, tally.Add
	model, err := infer.New(src, opts.Engine)
	if err != nil {
		return nil, err
	}
	for i := range chunks {
		if len(chunks[i].Tokens) != size {
			return nil, fmt.Errorf("imatrix: %w: windows of different lengths", gguf.ErrUnsupported)
		}
		chunks[i].From = infer.NoLogits
		if opts.Output {
			chunks[i].From = 0
		}
	}
	err = model.Forward(ctx, chunks, func(int, int, []float32) {})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		return nil, fmt.Errorf("imatrix: %w", err)
	}
	m.Layers = tally.Layers()
	return m, nil
}
