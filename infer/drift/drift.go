// Package drift measures how far models have moved from the one that they were
// made of: what each way to quantize a model costs.
//
// The base and its candidates run side by side, layer by layer
// ([infer.Lockstep]), over the same chunks of text. What each predicts is
// compared with what the base predicts for the same token while the logits of
// both are in memory: no model is written, and a candidate can be a
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
// If the chunks do not fit into it together, even with the streams of one model only, a View
// quantizes its tensors again for every batch of them. What several candidates quantize to the same type is
// quantized once for all.
package drift

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
)

// Text is something to score.
type Text = perplexity.Text

// Candidate is a model to compare with the base.
type Candidate struct {
	Name   string
	Source gguf.Source
}

// Options says what to score, and how. Chunks is for each text. Results are kept of each chunk, when the batch that it is in is done;
// not with UntilSeparated.
type Options struct {
	perplexity.Options
	// UntilSeparated stops as soon as the order of the candidates and the base by mean
	// divergence is clear: every paired difference to the next one is above 0. It is
	// looked at after 4 chunks, or two of each text if that is more, and each time they have
	// doubled; chunks come from the texts in turn. With interval.Level, no difference
	// is taken for clear in any of the looks that is not: their intervals are as much wider as
	// there are looks and differences (Bonferroni's correction).
	UntilSeparated bool
	// Save, if it is set, gets what the base predicts for the only text.
	Save   *LogitsWriter
	Engine infer.Options // but for Input, Sums, Residual and Router
}

// Report is the outcome for the base and its candidates.
type Report struct {
	// Chunks has the number of chunks that were run of each text, and Tokens how many tokens they have.
	Chunks, Tokens []int
	// Base compares the base with itself, so that only its perplexity tells
	// something.
	Base Result
	// Floor is what the arithmetic makes of the base, on the first chunks of each text: with
	// infer.Int8 the base in infer.Int8All against the base computed exactly, with
	// infer.Exact the base against itself, run a second time, which is 0.
	Floor      Result
	Candidates []Result
}

// Result is the outcome for one model.
type Result struct {
	Name    string
	Overall Measures
	Texts   []Measures // one for each text
	// KLD has the mean divergence of each window of each text.
	KLD [][]float64
	// Scored has the number of scored tokens of each of them, if not all have as many.
	Scored [][]int
	// Elapsed is the time that the model has computed, with that of reading
	// its weights, and of quantizing them if they are as they are read and no
	// candidate before has quantized the same.
	Elapsed time.Duration
}

// Divergence returns the mean divergence over all texts.
func (r Result) Divergence() interval.Mean { return interval.Weighted(r.KLD, r.Scored) }

// TextDivergence returns the mean divergence of a text.
func (r Result) TextDivergence(text int) interval.Mean {
	if r.Scored == nil {
		return interval.Of(r.KLD[text])
	}
	return interval.Weighted(r.KLD[text:][:1], r.Scored[text:][:1])
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
	r, once, err := newRunners(base, candidates, texts, opts)
	if err != nil {
		return nil, err
	}
	for _, r := range []*runner{once, r} {
		if err := r.open(ctx); err != nil {
			return nil, err
		}
	}
	of, ofAll := len(once.models)*once.toRun(), len(r.models)*r.toRun()
	once.opts.Engine.Progress = share(opts.Engine.Progress, 0, of, ofAll)
	r.opts.Engine.Progress = share(opts.Engine.Progress, of, ofAll, 0)
	floor, err := once.run(ctx)
	unfinished := (*results.Partial)(nil)
	if err != nil && !errors.As(err, &unfinished) {
		return nil, err
	}
	measured, err := r.run(ctx)
	if err := unfinished.And(err); err != nil {
		return nil, err
	}
	report := &Report{Base: measured[0], Floor: floor[1], Candidates: measured[1:], Chunks: make([]int, len(texts)), Tokens: make([]int, len(texts))}
	for _, p := range r.parts[:r.done] {
		report.Chunks[p.text]++
		report.Tokens[p.text] += len(p.Tokens)
	}
	return report, nil
}

// newRunners returns what measures the models, and what the floor.
func newRunners(base gguf.Source, candidates []Candidate, texts []Text, opts Options) (r, once *runner, err error) {
	if opts.UntilSeparated && opts.Results != nil {
		return nil, nil, fmt.Errorf("%w: to keep results of a run whose length depends on them", gguf.ErrUnsupported)
	}
	if err := sameModel(base, candidates, opts.Engine); err != nil {
		return nil, nil, err
	}
	if opts.Save != nil && (len(texts) != 1 || opts.UntilSeparated || opts.Results != nil) {
		return nil, nil, fmt.Errorf("%w: logits are saved of one text, and of all of it", gguf.ErrUnsupported)
	}
	windows, counts, err := perplexity.TextWindows(texts, opts.Options)
	if err != nil {
		return nil, nil, err
	}
	byText := make([][]part, len(texts))
	for i, n := range counts {
		for _, window := range windows[:n] {
			byText[i] = append(byText[i], part{i, window})
		}
		windows = windows[n:]
	}
	parts := inTurn(byText)
	models := []model{{Candidate{"the base", base}, opts.Engine.Compute}}
	for _, c := range candidates {
		models = append(models, model{c, opts.Engine.Compute})
	}
	original := models[0]
	again, most := []model{original, original}, floorChunksExact
	if original.compute == infer.Int8 {
		again[0].compute, again[1].compute, most = infer.Exact, infer.Int8All, floorChunks
	}
	for i, text := range byText {
		byText[i] = text[:min(len(text), most)]
	}
	r = newRunner("drift", models, parts, texts, opts)
	opts.UntilSeparated, opts.Save = false, nil
	return r, newRunner("floor", again, inTurn(byText), texts, opts), nil
}

// floorChunks is how many chunks of each text are run at most for Report.Floor; fewer where it is
// 0.
const floorChunks, floorChunksExact = 4, 2

// share returns the progress of a run of so many chunks, all models together, that has so many
// before and after it. report may be nil.
func share(report func(done, total int), before, chunks, after int) func(done, total int) {
	if report == nil {
		return nil
	}
	return func(done, total int) {
		steps := total / chunks
		report(before*steps+done, (before+chunks+after)*steps)
	}
}

// AboveFloor reports whether a candidate is further from the base than the arithmetic alone takes
// it, by more than chance.
func (r *Report) AboveFloor(candidate Result) bool {
	if r.Floor.Overall.KLD.Value == 0 {
		return candidate.Overall.KLD.Value > 0
	}
	var same [][]float64
	var scored [][]int
	for i, windows := range candidate.KLD {
		n := min(len(windows), len(r.Floor.KLD[i]))
		same = append(same, windows[:n])
		if candidate.Scored != nil {
			scored = append(scored, candidate.Scored[i][:n])
		}
	}
	floor := make([][]float64, len(same))
	for i, windows := range r.Floor.KLD {
		floor[i] = windows[:len(same[i])] // fewer if it was clear before
	}
	difference, err := interval.Difference(same, floor, scored)
	if err != nil {
		panic(err) // cannot be: they are as long
	}
	return difference.Positive(interval.Level)
}

// sameModel returns why candidates cannot be forms of the base: models of other shapes, or with
// other tokens.
func sameModel(base gguf.Source, candidates []Candidate, engine infer.Options) error {
	model, err := infer.New(base, engine)
	if err != nil {
		return fmt.Errorf("the base: %w", err)
	}
	for _, c := range candidates {
		err := sameVocabulary(base.Metadata(), c.Source.Metadata())
		if err == nil {
			var candidate *infer.Model
			if candidate, err = infer.New(c.Source, engine); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			err = model.Spec().Difference(candidate.Spec())
		}
		if err != nil {
			return fmt.Errorf("%s: it is not the same model as the base, in another form: %w", c.Name, err)
		}
	}
	return nil
}

// sameVocabulary reports an error if both say what their tokens are, and the
// tokens differ.
func sameVocabulary(base, candidate *gguf.Metadata) error {
	const key = "tokenizer.ggml.tokens"
	a, errA := gguf.Value[[]string](base, key)
	b, errB := gguf.Value[[]string](candidate, key)
	if errA != nil || errB != nil || slices.Equal(a, b) {
		return nil
	}
	if len(a) != len(b) {
		return fmt.Errorf("%s: %d tokens, and %d of the base; different tokens cannot be compared", key, len(b), len(a))
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return fmt.Errorf("%s: token %d is %.50q, and %.50q of the base; different tokens cannot be compared", key, i, b[i], a[i])
}

// part is one window of a text, as it goes into a model.
type part struct {
	text int
	perplexity.Window
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
