package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/bench"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/results"
)

// planFlags are those of commands that say what they would do and take.
type planFlags struct {
	dryRun bool
	rates  string // a file
}

func (f *planFlags) dryRunFlag() cli.Flag {
	return &cli.BoolFlag{
		Name: "dry-run", Usage: "print what there is to do, and what time and memory it takes, of the model's headers alone; with --part of that part", Destination: &f.dryRun,
	}
}

func (f *planFlags) ratesFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "bench", Usage: "with --dry-run: estimate the time by the `FILE` that \"ggufkit bench rates --json\" has printed, on the machine that is meant; default: by this one, in some seconds", Destination: &f.rates,
	}
}

// headers is a model of which nothing but its headers is read.
type headers struct {
	gguf.Headers
	io.Closer
}

// withoutData leaves a model with its headers.
func withoutData(m *model) { m.Model = headers{gguf.Headers{Of: m.Model}, m.Model} }

// show says what is planned of a run on windows of texts: candidates, if there are any, beside the model.
func (f *planFlags) show(c *call, m *model, flags *textFlags, part results.Part, planned perplexity.Planned, importance bool, candidates ...string) error {
	shown := &report.Plan{
		Model: m.path, Units: planned.Units, PartUnits: planned.Part, Ctx: flags.ctx, Candidates: candidates, Compute: flags.compute.String(),
	}
	if part.Of > 0 {
		shown.Part = part.String()
	}
	var err error
	if shown.PlanCost, err = f.cost(c, planned.Work, m, importance, flags.memory); err != nil {
		return err
	}
	return printResults(c, shown, shown.Print)
}

// cost tells what work takes, for which the model is hashed before. What is quantized is so with an importance matrix or without.
func (f *planFlags) cost(c *call, w infer.Work, hashed gguf.Source, importance bool, limit int64) (report.PlanCost, error) {
	for _, in := range gguf.Inputs(hashed) {
		w.Hashed += in.Size()
	}
	took, err := f.time(c, w, importance)
	return report.NewPlanCost(w, limit, took), err
}

// time tells how long work takes.
func (f *planFlags) time(c *call, w infer.Work, importance bool) (report.PlanTime, error) {
	threads := c.threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	measured, err := f.figures(c, w, threads)
	if err != nil {
		return report.PlanTime{}, err
	}
	took, err := bench.NewRates(measured.ISA, measured.Results).CoreTime(w, importance)
	return report.PlanTime{CoreHours: took.Hours(), Threads: threads, Seconds: took.Seconds() / float64(threads), Rates: f.rates}, named(f.rates, err)
}

// figures are those of a file, or are measured.
func (f *planFlags) figures(c *call, w infer.Work, threads int) (measured benchReport, err error) {
	if f.rates == "" {
		return measureRates(c, w, threads)
	}
	data, err := os.ReadFile(f.rates)
	if err != nil {
		return measured, err
	}
	if err := json.Unmarshal(data, &measured); err != nil {
		return measured, fmt.Errorf("%s is not what \"ggufkit bench rates --json\" prints: %w", f.rates, err)
	}
	return measured, nil
}
