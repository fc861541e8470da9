package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata"
)

type benchFlags struct {
	types    []gguf.Type
	computes []infer.Compute
	threads  []int // one and all
}

func benchCommand() *cli.Command {
	f := benchFlags{types: quantizableTypes(), computes: []infer.Compute{infer.Exact, infer.Int8}}
	return &cli.Command{
		Name:      "bench",
		Usage:     "throughput of this build on this machine",
		ArgsUsage: "[quantize | matmul | perplexity [MODEL]]",
		Description: "quantize: quantizes normally distributed weights, without and with an importance matrix, and reads the\n" +
			"blocks back, per type and instruction set. Each figure is the best of three runs.\n\n" +
			"matmul: multiplies 512 x 2048 activations with 128 x 2048 weights, which it dequantizes first, per type,\n" +
			"instruction set and compute. Each figure is the best of three runs.\n\n" +
			"perplexity: runs MODEL, or the small mixture of experts that comes with the program, on eight windows of\n" +
			"512 random tokens, with exact and with int8 compute. Logits are computed for the last token of each\n" +
			"window, as llama-bench does. Reading the weights counts.\n\n" +
			"All measure one core and all.",
		Flags: []cli.Flag{
			parsedFlag("types", "", "quantize, matmul: tensor `TYPES` to measure, such as Q4_K,Q8_0; default: all", &f.types, parseQuantizable),
			parsedFlag("compute", "", "matmul, perplexity: measure only exact or int8 compute", &f.computes, one(infer.ParseCompute)),
		},
		Action: action(func(c *call) error { return bench(c, f) }),
	}
}

type benchReport struct {
	ISA     string        `json:"isa"`
	Results []benchResult `json:"results"`
}

type benchResult struct {
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
	benchRowLen = 4096
	benchRows   = 16
	benchTime   = 100 * time.Millisecond
	benchRuns   = 3
)

func bench(c *call, f benchFlags) error {
	all := c.threads
	if all <= 0 {
		all = runtime.GOMAXPROCS(0)
	}
	f.threads = slices.Compact([]int{1, all})
	var results []benchResult
	var err error
	switch args := c.args; {
	case len(args) == 0, len(args) == 1 && args[0] == "quantize":
		results, err = benchQuantize(c, f)
	case len(args) == 1 && args[0] == "matmul":
		results, err = benchMatmul(c, f)
	case len(args) <= 2 && args[0] == "perplexity":
		results, err = benchPerplexity(c, args[1:], f)
	default:
		return c.usagef("only \"quantize\", \"matmul\" and \"perplexity\" can be measured")
	}
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c, benchReport{ISA: isa.Current().String(), Results: results})
	}
	t := display.NewTable(c.stdout, []string{"type", "operation", "instructions", "threads", "speed"}, "threads", "speed")
	for _, r := range results {
		op := r.Op
		if r.Compute != "" {
			op += ", " + r.Compute
		}
		t.AppendRow(table.Row{r.Type, op, r.ISA, r.Threads, fmt.Sprintf("%.4g %s", r.Value, r.Unit)})
	}
	t.Render()
	return nil
}

// Windows of the benchmark of perplexity: what llama-bench calls pp512.
const (
	benchChunks = 8
	benchCtx    = 512
)

// benchPerplexity measures how fast a model, that in args or else the one that
// comes with the program, runs.
func benchPerplexity(c *call, args []string, f benchFlags) (results []benchResult, err error) {
	run := func(model gguf.Source) error {
		for _, compute := range f.computes {
			for _, n := range f.threads {
				rate, err := benchForward(c.ctx, model, infer.Options{Threads: n, Compute: compute})
				if err != nil {
					return err
				}
				results = append(results, benchResult{
					Op: "perplexity", Type: recipe.NameOf(model.Metadata()), ISA: isa.Current().String(), Threads: n,
					Compute: compute.String(), Value: rate, Unit: "tokens/s",
				})
			}
		}
		return nil
	}
	if len(args) > 0 {
		model, err := openModel(c, args[0])
		if err != nil {
			return nil, err
		}
		defer model.Close()
		err = run(model)
		return results, err
	}

	dir, err := os.MkdirTemp("", "ggufkit-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := testdata.WriteBeyonder(dir); errors.Is(err, testdata.ErrNoModels) {
		return nil, fmt.Errorf("%w: name a model: ggufkit bench perplexity MODEL", err)
	} else if err != nil {
		return nil, err
	}
	model, err := openModel(c, filepath.Join(dir, "moe.yaml"))
	if err != nil {
		return nil, err
	}
	defer model.Close()
	err = run(model)
	return results, err
}

// benchMatmul measures products on every instruction set.
func benchMatmul(c *call, f benchFlags) ([]benchResult, error) {
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
	return benchTiers(c, f.types, func(t gguf.Type, tier isa.Tier) []benchResult {
		blocks := make([]byte, n*t.RowBytes(k))
		if err := quant.Quantize(t, blocks, weights, k, importance); err != nil {
			panic(err) // the type has a codec
		}
		var results []benchResult
		for _, compute := range f.computes {
			for _, threads := range f.threads {
				product := infer.Product{Type: t, Weights: blocks, Cols: k, Compute: compute, Threads: threads}
				rate := benchRate(c.ctx, 1, func() func() error {
					return func() error { return product.Multiply(c.ctx, dst, x) }
				})
				results = append(results, benchResult{
					Op: "matmul", Type: t.String(), ISA: tier.String(), Threads: threads,
					Compute: compute.String(), Value: 2 * rows * n * k * rate / 1e9, Unit: "Gop/s",
				})
			}
		}
		return results
	})
}

// benchForward returns how many tokens a second a model takes in, measured for
// at least a second.
func benchForward(ctx context.Context, model gguf.Source, options infer.Options) (float64, error) {
	m, err := engineOf(model, options)
	if err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	texts := make([][]int32, benchChunks)
	for i := range texts {
		for range benchCtx {
			texts[i] = append(texts[i], rng.Int32N(int32(m.Vocabulary())))
		}
	}
	tokens := 0
	start := time.Now()
	for time.Since(start) < time.Second {
		if err := m.Forward(ctx, infer.Chunks(texts, benchCtx-1), func(int, int, []float32) {}); err != nil {
			return 0, err
		}
		tokens += benchChunks * benchCtx
	}
	return float64(tokens) / time.Since(start).Seconds(), nil
}

// benchQuantize measures the codecs on every instruction set.
func benchQuantize(c *call, f benchFlags) ([]benchResult, error) {
	return benchTiers(c, f.types, func(t gguf.Type, tier isa.Tier) []benchResult {
		var results []benchResult
		for _, n := range f.threads {
			results = append(results, benchType(c.ctx, t, tier, n)...)
		}
		return results
	})
}

// benchTiers collects what measure returns for the types asked for on every
// instruction set.
func benchTiers(c *call, types []gguf.Type, measure func(t gguf.Type, tier isa.Tier) []benchResult) ([]benchResult, error) {
	best := isa.Current()
	defer func() { _ = isa.Use(best) }() // it was in use before
	var results []benchResult
	for _, t := range types {
		for _, tier := range isa.Available() {
			if err := isa.Use(tier); err != nil {
				return nil, err
			}
			results = append(results, measure(t, tier)...)
			if err := c.ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// parseQuantizable reads the names of types that have a codec.
func parseQuantizable(list string) (types []gguf.Type, err error) {
	for _, name := range splitList(list) {
		t, err := gguf.ParseType(name)
		if err == nil && !quant.CanQuantize(t) {
			err = fmt.Errorf("%s has no codec", t)
		}
		if err != nil {
			return nil, err
		}
		types = append(types, t)
	}
	return types, nil
}

// quantizableTypes returns all types that have a codec.
func quantizableTypes() (types []gguf.Type) {
	for t := range gguf.Types() {
		if quant.CanQuantize(t) {
			types = append(types, t)
		}
	}
	return types
}

// benchType measures one type on a number of threads, each with its own rows.
func benchType(ctx context.Context, t gguf.Type, tier isa.Tier, threads int) []benchResult {
	rng := rand.New(rand.NewPCG(1, 2))
	weights := make([]float32, benchRows*benchRowLen)
	for i := range weights {
		weights[i] = float32(rng.NormFloat64() * 0.02)
	}
	importance := make([]float32, benchRowLen)
	for i := range importance {
		importance[i] = float32(rng.ExpFloat64())
	}
	blocks := make([]byte, benchRows*t.RowBytes(benchRowLen))

	var results []benchResult
	add := func(op string, value float64, unit string) {
		results = append(results, benchResult{Op: op, Type: t.String(), ISA: tier.String(), Threads: threads, Value: value, Unit: unit})
	}
	quantize := func(importance []float32) float64 {
		return benchRate(ctx, threads, func() func() error {
			dst := slices.Clone(blocks)
			return func() error { return quant.Quantize(t, dst, weights, benchRowLen, importance) }
		}) * float64(len(weights))
	}
	if !quant.NeedsImportance(t) {
		add("quantize", quantize(nil)/1e6, "Mweights/s")
	}
	add("quantize+imatrix", quantize(importance)/1e6, "Mweights/s")
	_ = quant.Quantize(t, blocks, weights, benchRowLen, importance)
	add("dequantize", benchRate(ctx, threads, func() func() error {
		dst := slices.Clone(weights)
		return func() error { return quant.Dequantize(t, dst, blocks, benchRowLen) }
	})*float64(len(weights))*4/1e9, "GB/s")
	return results
}

// benchRate returns how many times a second the threads together carry out
// what prepare returns, the best of some runs. It ends early with ctx, and is
// then worth nothing.
func benchRate(ctx context.Context, threads int, prepare func() func() error) float64 {
	best := 0.0
	for range benchRuns {
		var group errgroup.Group
		counts := make([]int, threads)
		start := time.Now()
		for i := range threads {
			group.Go(func() error {
				run := prepare()
				for time.Since(start) < benchTime && ctx.Err() == nil {
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
