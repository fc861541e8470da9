// Package drift measures how far models have moved from the one that they were
// made of: what each way to quantize a model costs.
//
// The base and its candidates run side by side, layer by layer
// ([infer.Lockstep]), over the same chunks of text. What each predicts is
// compared with what the base predicts for the same token while the logits of
// both are in memory: nothing is written, and a candidate can be a
// [quant.View] that is quantized as it is read.
//
//	report, err := drift.Measure(ctx, base, []drift.Candidate{{"Q4_K_M", view}}, texts, drift.Options{})
//	if err != nil {
//		return err
//	}
//	for _, c := range report.Candidates {
//		fmt.Println(c.Name, c.Overall.KLD.Value, c.Overall.KLD.Low, c.Overall.KLD.High)
//	}
//
// Chunks and scored tokens are those of package perplexity; the statistics are
// those of llama-perplexity's --kl-divergence mode (kl_divergence() in llama.cpp's
// tools/perplexity/perplexity.cpp), but from float32 logits: without the rounding
// to 16 bits of its logits file, and without its limit to tokens more likely
// than e⁻¹⁶. Percentiles are interpolated in float64. Errors are not its: it takes
// tokens for independent, package interval windows.
//
// A candidate has to have the shape and the vocabulary of the base: other
// numbers of layers or experts cannot be compared. Memory is what Lockstep needs,
// 32 bytes per scored token and model, and what the candidates themselves hold.
// If the chunks do not fit into it together, a View quantizes its tensors again
// for every batch of them. What several candidates quantize to the same type is
// quantized once for all.
package drift

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// Text is something to score.
type Text = perplexity.Text

// Candidate is a model to compare with the base.
type Candidate struct {
	Name   string
	Source gguf.Source
}

// Options says what to score, and how. Chunks is for each text.
type Options struct {
	perplexity.Options
	// UntilSeparated stops as soon as the order of the candidates and the base by mean
	// divergence is clear: every paired difference to the next one is above 0. It is
	// looked at after 4 chunks, or two of each text if that is more, and each time they have
	// doubled; chunks come from the texts in turn. With interval.Level, no difference
	// is taken for clear in any of the looks that is not: their intervals are as much wider as
	// there are looks and differences (Bonferroni's correction).
	UntilSeparated bool
	Engine         infer.Options // but for Input, Residual and Router
}

// Report is the outcome for the base and its candidates.
type Report struct {
	// Chunks has the number of chunks that were run of each text.
	Chunks []int
	// Base compares the base with itself, so that only its perplexity tells
	// something.
	Base Result
	// Floor is the base against itself, run a second time on the first two chunks of
	// each text: what a candidate would show that is not different. It is 0
	// wherever the arithmetic is always the same, as infer's is.
	Floor      Stats
	Candidates []Result
}

// Result is the outcome for one model.
type Result struct {
	Name    string
	Overall Measures
	Texts   []Measures // one for each text
	// KLD has the mean divergence of each window of each text.
	KLD [][]float64
	// Elapsed is the time that the model has computed, with that of reading
	// its weights, and of quantizing them if they are as they are read and no
	// candidate before has quantized the same.
	Elapsed time.Duration
}

// Measures is how a model differs from the base on a text, or on all of them.
type Measures struct {
	Text string // its name, "" of all of them
	Stats
	// Hidden is how far the residual stream is from the base's: at index l on its
	// way into layer l, and last on its way to the output. It is the root mean
	// square, over all tokens of the chunks, of |x - base| / |base|, so that the
	// few tokens with huge activations count as much as others.
	Hidden []float64
	// Routing is how the routers of each layer agree with the base's; nil
	// without experts.
	Routing []Agreement
}

// Agreement is the part of all tokens of the chunks that a router sent where
// that of the base did; NaN for a layer without router among others.
type Agreement struct {
	Experts float64 // to the same experts, in any order
	First   float64 // to the same expert first, the one with the highest weight
}

// Router returns the mean over the layers of Agreement.Experts, NaN without
// experts.
func (m Measures) Router() float64 {
	var sum float64
	routers := 0
	for _, a := range m.Routing {
		if !math.IsNaN(a.Experts) {
			sum += a.Experts
			routers++
		}
	}
	return sum / float64(routers)
}

// Measure compares the candidates with the base on all of the texts. An error
// about a candidate has its name.
func Measure(ctx context.Context, base gguf.Source, candidates []Candidate, texts []Text, opts Options) (*Report, error) {
	report, err := measure(ctx, base, candidates, texts, opts)
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	return report, nil
}

func measure(ctx context.Context, base gguf.Source, candidates []Candidate, texts []Text, opts Options) (*Report, error) {
	for _, c := range candidates {
		if err := sameVocabulary(base.Metadata(), c.Source.Metadata()); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	chunks, counts, err := perplexity.TextChunks(texts, opts.Options)
	if err != nil {
		return nil, err
	}
	byText := make([][]part, len(texts))
	for i, n := range counts {
		for _, chunk := range chunks[:n] {
			byText[i] = append(byText[i], part{i, chunk})
		}
		chunks = chunks[n:]
	}
	parts := inTurn(byText)

	once := opts
	once.UntilSeparated = false
	once.Engine.Progress = nil
	original := Candidate{"the base", base}
	again, err := newRunner(parts[:min(len(parts), 2*len(texts))], texts, once).run(ctx, []Candidate{original, original})
	if err != nil {
		return nil, err
	}
	r := newRunner(parts, texts, opts)
	results, err := r.run(ctx, append([]Candidate{original}, candidates...))
	if err != nil {
		return nil, err
	}
	report := &Report{Base: results[0], Floor: again[1].Overall.Stats, Candidates: results[1:], Chunks: make([]int, len(texts))}
	for _, p := range r.parts[:r.done] {
		report.Chunks[p.text]++
	}
	return report, nil
}

// sameVocabulary reports an error if both say what their tokens are, and the
// tokens differ.
func sameVocabulary(base, candidate *gguf.Metadata) error {
	const key = "tokenizer.ggml.tokens"
	a, errA := gguf.Value[[]string](base, key)
	b, errB := gguf.Value[[]string](candidate, key)
	if errA == nil && errB == nil && !slices.Equal(a, b) {
		return fmt.Errorf("%s is not that of the base: different tokens cannot be compared", key)
	}
	return nil
}

// part is one chunk of a text, as it goes into a model.
type part struct {
	text   int
	tokens []int32
}

// inTurn returns the first part of every text, then the second of each that has
// one, and so on.
func inTurn(texts [][]part) []part {
	var parts []part
	for i := 0; ; i++ {
		before := len(parts)
		for _, text := range texts {
			if i < len(text) {
				parts = append(parts, text[i])
			}
		}
		if len(parts) == before {
			return parts
		}
	}
}
