package drift

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// SavedReport is how candidates differ from what a model predicted once.
type SavedReport struct {
	Base       Stats // only its perplexity tells something
	Candidates []Result
}

// MeasureSaved compares candidates with what a model predicted for a text, so that the model itself is not needed. The divergences are those that
// llama-perplexity --kl-divergence prints, of logarithms in 16 bits, and so less exact than those of Measure. bos is the token that the vocabulary begins
// chunks with, or -1. Of opts, Chunks and Engine count. The error wraps gguf.ErrCorrupt if the file has something else than probabilities.
func MeasureSaved(ctx context.Context, base *Logits, bos int32, candidates []Candidate, opts Options) (*SavedReport, error) {
	report, err := measureSaved(ctx, base, bos, candidates, opts)
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	return report, nil
}

func measureSaved(ctx context.Context, base *Logits, bos int32, candidates []Candidate, opts Options) (*SavedReport, error) {
	windows := base.Text(bos, opts.Chunks).Windows
	engine := opts.Engine
	engine.Residual, engine.Input, engine.Sums, engine.Router = nil, nil, nil, nil
	var models []*infer.Model
	for _, c := range candidates {
		m, err := infer.New(c.Source, engine)
		if err == nil && m.Vocabulary() != base.Vocabulary {
			err = fmt.Errorf("%w: it has %d tokens, and %s is of a model with %d", gguf.ErrUnsupported, m.Vocabulary(), base.name, base.Vocabulary)
		}
		if err == nil && len(models) > 0 {
			err = models[0].Spec().Difference(m.Spec())
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		models = append(models, m)
	}
	texts := make([]text, len(models))
	rows := base.scored()
	for i := range texts {
		texts[i] = text{base: make([]reference, len(windows)*rows), tokens: make([]token, len(windows)*rows), scored: slices.Repeat([]int{rows}, len(windows))}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	visit := func(model, chunk, pos int, logits, _ []float32) {
		at := pos - base.first()
		if at >= rows {
			return
		}
		buffer := buffers.Get().(*[]byte)
		defer buffers.Put(buffer)
		row, err := base.row(chunk, at, buffer)
		if err == nil {
			i := chunk*rows + at
			if texts[model].base[i], texts[model].tokens[i], err = compareSaved(row, logits, windows[chunk].Tokens[pos+1]); err != nil {
				err = fmt.Errorf("%s: chunk %d, position %d: %w", candidates[model].Name, chunk, pos, err)
			}
		}
		if err != nil {
			cancel(err)
		}
	}
	elapsed, err := infer.Lockstep(ctx, models, perplexity.InferChunks(windows), infer.Observer{Logits: visit})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if failed := (*infer.ModelError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%s: %w", candidates[failed.Model].Name, failed.Err)
	}
	if err != nil {
		return nil, err
	}
	report := &SavedReport{}
	for i, c := range candidates {
		measures := Measures{Text: base.name, Stats: newStats(texts[i])}
		report.Candidates = append(report.Candidates, Result{
			Name: c.Name, Overall: measures, Texts: []Measures{measures}, KLD: [][]float64{texts[i].windows(divergence)}, Elapsed: elapsed[i],
		})
	}
	own := text{base: texts[0].base, scored: texts[0].scored}
	for _, r := range own.base {
		own.tokens = append(own.tokens, token{nll: r.nll, sameTop: true})
	}
	report.Base = newStats(own)
	return report, nil
}
