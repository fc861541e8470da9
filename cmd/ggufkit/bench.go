package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "throughput of the codecs on this machine, per type and instruction set",
		ArgsUsage: "quantize",
		Description: "Quantizes normally distributed weights, without and with an importance matrix, and reads the blocks\n" +
			"back, on one core and on all. Each figure is the best of three runs.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "types", Usage: "tensor `TYPES` to measure, such as Q4_K,Q8_0; default: all"},
			threadsFlag(), jsonFlag(),
		},
		Action: bench,
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

func bench(c *cli.Context) error {
	if c.NArg() > 1 || c.NArg() == 1 && c.Args().First() != "quantize" {
		return usagef(c, "only \"quantize\" can be measured")
	}
	types, err := benchTypes(c)
	if err != nil {
		return err
	}
	all := c.Int("threads")
	if all <= 0 {
		all = runtime.GOMAXPROCS(0)
	}
	threads := slices.Compact([]int{1, all})
	report := benchReport{ISA: isa.Current().String()}
	best := isa.Current()
	defer func() { _ = isa.Use(best) }() // it was in use before
	for _, t := range types {
		for _, tier := range isa.Available() {
			if err := isa.Use(tier); err != nil {
				return err
			}
			for _, n := range threads {
				report.Results = append(report.Results, benchType(t, tier, n)...)
			}
			if err := c.Err(); err != nil {
				return err
			}
		}
	}
	if c.Bool("json") {
		return printJSON(c, report)
	}
	t := newTable(c.App.Writer, []string{"type", "operation", "instructions", "threads", "speed"}, "threads", "speed")
	for _, r := range report.Results {
		t.AppendRow(table.Row{r.Type, r.Op, r.ISA, r.Threads, fmt.Sprintf("%.4g %s", r.Value, r.Unit)})
	}
	t.Render()
	return nil
}

// benchTypes returns the types asked for, or all that have a codec.
func benchTypes(c *cli.Context) ([]gguf.Type, error) {
	var types []gguf.Type
	if names := c.String("types"); names != "" {
		for _, name := range strings.Split(names, ",") {
			t, err := gguf.ParseType(name)
			if err == nil && !quant.CanQuantize(t) {
				err = fmt.Errorf("%s has no codec", t)
			}
			if err != nil {
				return nil, usageError{c.Command.Name, err}
			}
			types = append(types, t)
		}
		return types, nil
	}
	for t := range gguf.Type(64) {
		if quant.CanQuantize(t) {
			types = append(types, t)
		}
	}
	return types, nil
}

// benchType measures one type on a number of threads, each with its own rows.
func benchType(t gguf.Type, tier isa.Tier, threads int) []benchResult {
	rng := rand.New(rand.NewPCG(1, 2))
	weights := make([]float32, benchRows*benchRowLen)
	for i := range weights {
		weights[i] = float32(rng.NormFloat64() * 0.02)
	}
	importance := make([]float32, benchRowLen)
	for i := range importance {
		importance[i] = float32(rng.ExpFloat64())
	}
	blocks := make([]byte, t.RowBytes(int64(len(weights))))

	var results []benchResult
	add := func(op string, value float64, unit string) {
		results = append(results, benchResult{op, t.String(), tier.String(), threads, value, unit})
	}
	quantize := func(importance []float32) float64 {
		return benchRate(threads, func() func() error {
			dst := slices.Clone(blocks)
			return func() error { return quant.QuantizeWeighted(t, dst, weights, benchRowLen, importance) }
		}) * float64(len(weights))
	}
	if !quant.NeedsImportance(t) {
		add("quantize", quantize(nil)/1e6, "Mweights/s")
	}
	add("quantize+imatrix", quantize(importance)/1e6, "Mweights/s")
	_ = quant.QuantizeWeighted(t, blocks, weights, benchRowLen, importance)
	add("dequantize", benchRate(threads, func() func() error {
		dst := slices.Clone(weights)
		return func() error { return quant.Dequantize(t, dst, blocks) }
	})*float64(len(weights))*4/1e9, "GB/s")
	return results
}

// benchRate returns how many times a second the threads together carry out
// what prepare returns, the best of some runs.
func benchRate(threads int, prepare func() func() error) float64 {
	best := 0.0
	for range benchRuns {
		var group errgroup.Group
		counts := make([]int, threads)
		start := time.Now()
		for i := range threads {
			group.Go(func() error {
				run := prepare()
				for time.Since(start) < benchTime {
					if err := run(); err != nil {
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
