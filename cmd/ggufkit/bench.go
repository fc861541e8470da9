package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/bench"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/testdata"
)

func benchCommand() *cli.Command {
	f := bench.Options{Types: bench.Types(), Computes: []infer.Compute{infer.Exact, infer.Int8}}
	return &cli.Command{
		Name:      "bench",
		Usage:     "throughput of this build on this machine",
		ArgsUsage: "[quantize | matmul | perplexity [MODEL] | rates]",
		Description: "quantize: quantizes normally distributed weights, without and with an importance matrix, and reads the\n" +
			"blocks back, per type and instruction set. Each figure is the best of three runs.\n\n" +
			"matmul: multiplies 512 x 2048 activations with 128 x 2048 weights, which it dequantizes first, per type,\n" +
			"instruction set and compute. Each figure is the best of three runs.\n\n" +
			"perplexity: runs MODEL, or the small mixture of experts that comes with the program, on eight windows of\n" +
			"512 random tokens, with exact and with int8 compute. Logits are computed for the last token of each\n" +
			"window, as llama-bench does. Reading the weights counts.\n\n" +
			"rates: what runs consist of, for --bench of commands with --dry-run, perhaps on another machine: weights brought to the\n" +
			"form of products, products, quantizing and so on. Each figure is of short times, all cores at once.\n\n" +
			"The first three measure one core and all.",
		Flags: []cli.Flag{
			parsedFlag("types", "", "quantize, matmul, rates: tensor `TYPES` to measure, such as Q4_K,Q8_0; default: all", &f.Types, parseQuantizable),
			parsedFlag("compute", "", "matmul, perplexity, rates: measure only exact or int8 compute", &f.Computes, one(infer.ParseCompute)),
		},
		Action: action(func(c *call) error { return showBench(c, f) }),
	}
}

type benchReport struct {
	ISA     string         `json:"isa"`
	Results []bench.Result `json:"results"`
}

func showBench(c *call, f bench.Options) error {
	all := c.threads
	if all <= 0 {
		all = runtime.GOMAXPROCS(0)
	}
	f.Threads = slices.Compact([]int{1, all})
	var results []bench.Result
	var err error
	switch args := c.args; {
	case len(args) == 0, len(args) == 1 && args[0] == "quantize":
		results, err = bench.Quantize(c.ctx, f)
	case len(args) == 1 && args[0] == "matmul":
		results, err = bench.Matmul(c.ctx, f)
	case len(args) <= 2 && args[0] == "perplexity":
		results, err = benchPerplexity(c, args[1:], f)
	case len(args) == 1 && args[0] == "rates":
		computes := f.Computes
		if slices.Contains(computes, infer.Int8) {
			computes = append(computes, infer.Int8All)
		}
		var measured benchReport
		measured, err = measureRates(c, bench.All(f.Types, computes), all)
		results = measured.Results
	default:
		return c.usagef("only \"quantize\", \"matmul\", \"rates\" and \"perplexity\" can be measured")
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

// measureRates measures how fast that is done here which some work consists of.
func measureRates(c *call, w infer.Work, threads int) (benchReport, error) {
	results, err := bench.MeasureRates(c.ctx, w, threads)
	return benchReport{ISA: isa.Current().String(), Results: results}, err
}

// benchPerplexity measures how fast a model, that in args or else the one that
// comes with the program, runs.
func benchPerplexity(c *call, args []string, f bench.Options) (results []bench.Result, err error) {
	if len(args) == 0 {
		dir, errTemp := os.MkdirTemp("", "ggufkit-bench-")
		if errTemp != nil {
			return nil, errTemp
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if err := testdata.WriteBeyonder(dir); errors.Is(err, testdata.ErrNoModels) {
			return nil, fmt.Errorf("%w: name a model: ggufkit bench perplexity MODEL", err)
		} else if err != nil {
			return nil, err
		}
		args = []string{filepath.Join(dir, "moe.yaml")}
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return nil, err
	}
	defer model.Close()
	results, err = bench.Perplexity(c.ctx, model, f)
	return results, about(model, err)
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
