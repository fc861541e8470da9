// Package bench measures how fast this build is on this machine: codecs ([Quantize]), products ([Matmul]),
// whole models ([Perplexity]), and what runs of models consist of ([MeasureRates]), which is what their time is estimated by
// ([Rates]). The numbers are of a moment: something else that runs slows them down.
//
//	results, err := bench.Quantize(ctx, bench.Options{Types: bench.Types(), Threads: []int{1}})
//	if err != nil {
//		return err
//	}
//	for _, r := range results {
//		fmt.Println(r.Type, r.Op, r.ISA, r.Value, r.Unit)
//	}
package bench

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Options say what to measure.
type Options struct {
	Types    []gguf.Type     // of codecs and products
	Computes []infer.Compute // of products and models
	Threads  []int           // each number is measured for itself
}

// Result is one figure.
type Result struct {
	Op      string  `json:"op"`
	Type    string  `json:"type"`
	ISA     string  `json:"isa"`
	Threads int     `json:"threads"`
	Compute string  `json:"compute,omitempty"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
}

// Benchmarks work on rows that fit in a core's cache, for a moment long enough
// to measure.
const (
	rowLen   = 4096
	rowCount = 16
	moment   = 100 * time.Millisecond
	runs     = 3
)

// Windows of the benchmark of perplexity: what llama-bench calls pp512.
const (
	windows = 8
	window  = 512
)

// Types returns all types that have a codec.
func Types() (types []gguf.Type) {
	for t := range gguf.Types() {
		if quant.CanQuantize(t) {
			types = append(types, t)
		}
	}
	return types
}

// Quantize measures the codecs on every instruction set.
func Quantize(ctx context.Context, opts Options) ([]Result, error) {
	return tiers(ctx, opts.Types, func(t gguf.Type, tier isa.Tier) []Result {
		var results []Result
		for _, n := range opts.Threads {
			results = append(results, codec(ctx, t, tier, n)...)
		}
		return results
	})
}

// tiers collects what measure returns for the types asked for on every
// instruction set.
func tiers(ctx context.Context, types []gguf.Type, measure func(t gguf.Type, tier isa.Tier) []Result) ([]Result, error) {
	best := isa.Current()
	defer func() { _ = isa.Use(best) }() // it was in use before
	var results []Result
	for _, t := range types {
		for _, tier := range isa.Available() {
			if err := isa.Use(tier); err != nil {
				return nil, err
			}
			results = append(results, measure(t, tier)...)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// Matmul measures products with activations of 512 tokens on every instruction set.
func Matmul(ctx context.Context, opts Options) ([]Result, error) {
	const rows, n, k = 512, 128, 2048
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		return values
	}
	x, weights, dst := random(rows*k), random(n*k), make([]float32, rows*n)
	importance := slices.Repeat([]float32{1}, k)
	return tiers(ctx, opts.Types, func(t gguf.Type, tier isa.Tier) []Result {
		blocks := make([]byte, n*t.RowBytes(k))
		if err := quant.Quantize(t, blocks, weights, k, importance); err != nil {
			panic(err) // the type has a codec
		}
		var results []Result
		for _, compute := range opts.Computes {
			for _, threads := range opts.Threads {
				product := infer.Product{Type: t, Weights: blocks, Cols: k, Compute: compute, Threads: threads}
				rate := rateOf(ctx, 1, func() func() error {
					return func() error { return product.Multiply(ctx, dst, x) }
				})
				results = append(results, Result{
					Op: "matmul", Type: t.String(), ISA: tier.String(), Threads: threads,
					Compute: compute.String(), Value: 2 * rows * n * k * rate / 1e9, Unit: "Gop/s",
				})
			}
		}
		return results
	})
}

// Perplexity measures how fast a model runs on eight windows of 512 random tokens, with logits for the last
// of each.
func Perplexity(ctx context.Context, model gguf.Source, opts Options) ([]Result, error) {
	var results []Result
	for _, compute := range opts.Computes {
		for _, n := range opts.Threads {
			rate, err := forward(ctx, model, infer.Options{Threads: n, Compute: compute})
			if err != nil {
				return nil, err
			}
			results = append(results, Result{
				Op: "perplexity", Type: recipe.NameOf(model.Metadata()), ISA: isa.Current().String(), Threads: n,
				Compute: compute.String(), Value: rate, Unit: "tokens/s",
			})
		}
	}
	return results, nil
}

// forward returns how many tokens a second a model takes in, measured for
// at least a second.
func forward(ctx context.Context, model gguf.Source, options infer.Options) (float64, error) {
	m, err := infer.New(model, options)
	if err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	texts := make([][]int32, windows)
	for i := range texts {
		for range window {
			texts[i] = append(texts[i], rng.Int32N(int32(m.Vocabulary())))
		}
	}
	tokens := 0
	start := time.Now()
	for time.Since(start) < time.Second {
		if err := m.Forward(ctx, infer.Chunks(texts, window-1), func(int, int, []float32) {}); err != nil {
			return 0, err
		}
		tokens += windows * window
	}
	return float64(tokens) / time.Since(start).Seconds(), nil
}

// codec measures one type on a number of threads, each with its own rows.
func codec(ctx context.Context, t gguf.Type, tier isa.Tier, threads int) []Result {
	rng := rand.New(rand.NewPCG(1, 2))
	weights := make([]float32, rowCount*rowLen)
	for i := range weights {
		weights[i] = float32(rng.NormFloat64() * 0.02)
	}
	importance := make([]float32, rowLen)
	for i := range importance {
		importance[i] = float32(rng.ExpFloat64())
	}
	blocks := make([]byte, rowCount*t.RowBytes(rowLen))

	var results []Result
	add := func(op string, value float64, unit string) {
		results = append(results, Result{Op: op, Type: t.String(), ISA: tier.String(), Threads: threads, Value: value, Unit: unit})
	}
	quantize := func(importance []float32) float64 {
		return rateOf(ctx, threads, func() func() error {
			dst := slices.Clone(blocks)
			return func() error { return quant.Quantize(t, dst, weights, rowLen, importance) }
		}) * float64(len(weights))
	}
	if !quant.NeedsImportance(t) {
		add("quantize", quantize(nil)/1e6, "Mweights/s")
	}
	add("quantize+imatrix", quantize(importance)/1e6, "Mweights/s")
	_ = quant.Quantize(t, blocks, weights, rowLen, importance)
	add("dequantize", rateOf(ctx, threads, func() func() error {
		dst := slices.Clone(weights)
		return func() error { return quant.Dequantize(t, dst, blocks, rowLen) }
	})*float64(len(weights))*4/1e9, "GB/s")
	return results
}

// rateOf returns how many times a second the threads together carry out
// what prepare returns, the best of some runs. It ends early with ctx, and is
// then worth nothing.
func rateOf(ctx context.Context, threads int, prepare func() func() error) float64 {
	best := 0.0
	for range runs {
		var group errgroup.Group
		counts := make([]int, threads)
		start := time.Now()
		for i := range threads {
			group.Go(func() error {
				run := prepare()
				for time.Since(start) < moment && ctx.Err() == nil {
					if err := run(); err != nil && ctx.Err() == nil {
						return err
					}
					counts[i]++
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			panic(err) // all types have codecs and the sizes are ours
		}
		total := 0
		for _, n := range counts {
			total += n
		}
		best = max(best, float64(total)/time.Since(start).Seconds())
	}
	return best
}
