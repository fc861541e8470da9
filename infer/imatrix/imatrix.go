// Package imatrix measures importance matrices: how large the inputs of every
// weight matrix are on a calibration text, as llama-imatrix does, and how the
// routers of a mixture of experts spread that text.
//
// The texts are cut into chunks as package perplexity cuts them. Every matrix of the
// blocks counts, that of the output only if it is asked for; an expert counts
// the tokens that the router gives it. Inputs are those of exact compute, and
// sums are made in float64 and in the order of the tokens, so they do not depend on the number of threads or on memory; in
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
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
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

// UnitChunks is how many chunks are run together at most, and added up: a unit of Options.Results.
const UnitChunks = 16

// Measure runs a model on texts. Their names are the Datasets of the Sums.
func Measure(ctx context.Context, src gguf.Source, texts []perplexity.Text, opts Options) (*Measurement, error) {
	m, err := measure(ctx, src, texts, opts)
	if err != nil {
		return nil, fmt.Errorf("imatrix: %w", err)
	}
	return m, nil
}

func measure(ctx context.Context, src gguf.Source, texts []perplexity.Text, opts Options) (*Measurement, error) {
	r, err := newRunner(src, texts, opts)
	if err != nil {
		return nil, err
	}
	m := &Measurement{Sums: &imatrix.Sums{ChunkSize: int64(len(r.units[0][0].Tokens))}}
	for _, text := range texts {
		m.Sums.Datasets = append(m.Sums.Datasets, text.Name)
	}
	var tally routing.Tally
	add := func(u *unit) error { return errors.Join(m.Sums.AddSums(&u.sums), tally.AddTally(&u.tally)) }
	if opts.Results == nil {
		err = r.runAll(ctx, add)
	} else {
		err = r.keep(ctx, opts.Results, append(r.facts, gguf.Fact{What: "output matrix", Is: fmt.Sprint(opts.Output)}), add)
	}
	m.Layers = tally.Layers()
	return m, err
}

// newRunner cuts the texts into units, and makes the model ready to run.
func newRunner(src gguf.Source, texts []perplexity.Text, opts Options) (*runner, error) {
	windows, counts, err := perplexity.TextWindows(texts, opts.Options)
	if err != nil {
		return nil, err
	}
	chunks := perplexity.InferChunks(windows)
	size := len(chunks[0].Tokens)
	for i := range chunks {
		if len(chunks[i].Tokens) != size {
			return nil, fmt.Errorf("%w: windows of different lengths", gguf.ErrUnsupported)
		}
		chunks[i].From = infer.NoLogits
		if opts.Output {
			chunks[i].From = 0
		}
	}
	r := &runner{
		output: opts.Output, units: slices.Collect(slices.Chunk(chunks, UnitChunks)), facts: perplexity.WindowFacts(windows, counts),
		progress: opts.Engine.Progress,
	}
	opts.Engine.Compute, opts.Engine.Router, opts.Engine.Sums, opts.Engine.Input = infer.Exact, r.route, r.sums, nil
	if r.progress != nil {
		opts.Engine.Progress = r.report
	}
	r.model, err = infer.New(src, opts.Engine)
	return r, err
}

// runner measures units: some chunks each. What is summed over a unit is summed in the order of its tokens, and units are added in theirs,
// so that the measurement is the same to the last bit however they were run.
type runner struct {
	model    *infer.Model
	output   bool
	units    [][]infer.Chunk
	facts    []gguf.Fact           // about the windows
	progress func(done, total int) // or nil

	now       *unit // that is run
	chunks    int   // of it
	done, all int   // chunks of those before, and of all that are run
	stop      context.CancelCauseFunc
}

// unit is what is measured of some chunks.
type unit struct {
	sums  imatrix.Sums
	tally routing.Tally
}

// runAll runs all units, and tells add of each.
func (r *runner) runAll(ctx context.Context, add func(*unit) error) error {
	for _, chunks := range r.units {
		r.all += len(chunks)
	}
	for n := range r.units {
		u, err := r.run(ctx, n)
		if err == nil {
			err = add(u)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keep runs the units that are missing where results are kept. If all are there, it tells add of each.
func (r *runner) keep(ctx context.Context, place *results.Place, facts []gguf.Fact, add func(*unit) error) (err error) {
	store, err := place.Open(ctx, "imatrix", len(r.units), facts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	missing := store.Missing()
	for _, n := range missing {
		r.all += len(r.units[n])
	}
	meter := results.NewMeter(r.model)
	for _, n := range missing {
		u, err := r.run(ctx, n)
		if err != nil {
			return err
		}
		data, err := u.appendBinary(nil)
		if err == nil {
			err = store.Keep(results.Record{Unit: n, Data: data, Cost: meter.Cost()})
		}
		if err != nil {
			return err
		}
	}
	return store.ReadAll(func(_ int, data []byte, _ results.Cost) error {
		u, err := readUnit(data)
		if err != nil {
			return err
		}
		return add(u)
	})
}

// run runs a unit.
func (r *runner) run(ctx context.Context, n int) (*unit, error) {
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	r.chunks, r.now = len(r.units[n]), &unit{}
	r.now.sums.Chunks = int64(r.chunks)
	err := r.model.Forward(ctx, r.units[n], func(int, int, []float32) {})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	r.done += r.chunks
	return r.now, err
}

// sums returns what the inputs of a matrix are added to.
func (r *runner) sums(in infer.Input) []float64 {
	output := r.output && (in.Tensor == "output.weight" || in.Tensor == "token_embd.weight")
	if layer, _ := gguf.SplitName(in.Tensor); layer < 0 && !output {
		return nil
	}
	sums, err := r.now.sums.Room(in.Tensor, in.Matrix, in.Matrices, in.Head, int64(in.Rows), in.Cols)
	if err != nil {
		r.stop(err)
	}
	return sums
}

func (r *runner) route(routing infer.Routing) { r.now.tally.Add(routing) }

func (r *runner) report(done, total int) {
	steps := total / r.chunks // for each chunk
	r.progress(r.done*steps+done, r.all*steps)
}

// appendBinary appends the routing, JSON behind its length in 32 bits, and the sums.
func (u *unit) appendBinary(b []byte) ([]byte, error) {
	routes, err := json.Marshal(&u.tally)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(routes)))
	return u.sums.AppendBinary(append(b, routes...)), err
}

// readUnit reads what appendBinary wrote.
func readUnit(b []byte) (*unit, error) {
	if len(b) < 4 || int64(len(b)-4) < int64(binary.LittleEndian.Uint32(b)) {
		return nil, fmt.Errorf("%d bytes", len(b))
	}
	u := &unit{}
	routes := b[4:][:binary.LittleEndian.Uint32(b)]
	if err := json.Unmarshal(routes, &u.tally); err != nil {
		return nil, err
	}
	sums, err := imatrix.ReadBinary(b[4+len(routes):])
	if err == nil {
		u.sums = *sums
	}
	return u, err
}
