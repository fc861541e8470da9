package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/allocate"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// chooseTypes are considered where no types are named: those of them that need an
// importance matrix only with one.
const chooseTypes = "Q8_0,Q6_K,Q5_K_M,Q5_K_S,Q4_K_M,Q4_K_S,IQ4_XS,Q3_K_L,Q3_K_M,IQ3_M,Q3_K_S,IQ3_XXS,Q2_K,IQ2_M,IQ2_XS"

type chooseFlags struct {
	compareFlags
	fitFlags
	keepFlags
	maxKLD    float64 // 0 if not given
	everyText bool
	mix       bool
	recipe    string
}

func chooseCommand() *cli.Command {
	f := chooseFlags{fitFlags: newFitFlags()}
	f.ctx = perplexity.DefaultCtx // of a window; --ctx is what has to fit
	return &cli.Command{
		Name:      "choose",
		Usage:     "which type to quantize a model to",
		ArgsUsage: "MODEL",
		Description: "With --fit: the type that is closest to the original and fits into memory, with a cache for --ctx\n" +
			"tokens. With --max-kld: the smallest that is close enough to the original; with both, one that\n" +
			"fits too. What can be the answer is measured as by drift; nothing is written but what is asked for.",
		Flags: append(f.flags(),
			f.textFlag("measure on the text"),
			&cli.Float64Flag{Name: "max-kld", Usage: "mean KL divergence from the original, `X` nats, that is close enough: the upper end of its 95 % " +
				"interval", Destination: &f.maxKLD, Action: above0("max-kld")},
			&cli.BoolFlag{Name: "every-text", Usage: "ask for --max-kld on each text, not only on all together", Destination: &f.everyText},
			&cli.StringFlag{Name: "types", Usage: "choose between file types `A,B,C`; default: " + chooseTypes, Destination: &f.types},
			imatrixFlag(&f.imatrix), requantizeFlag(&f.requantize),
			&cli.BoolFlag{Name: "mix", Usage: "try a mix of the types, for which it is measured what each costs in each tensor: takes up to ten runs of a few windows",
				Destination: &f.mix},
			chunksFlag(&f.chunks, "run at most `N` windows of 512 tokens of each text, or conversations"), f.scoreFlag(),
			&cli.StringFlag{Name: "recipe", Usage: "write a recipe of types, one for each tensor, to `FILE`, for --tensor-type-file", Destination: &f.recipe},
			f.htmlFlag(), f.markdownFlag(),
			computeFlag(&f.compute), memoryFlag(&f.memory), f.resultsFlag(), f.partFlag(),
		),
		Action: action(func(c *call) error { return partDone(c, chooseType(c, f)) }),
	}
}

func chooseType(c *call, f chooseFlags) (err error) {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	limits, err := f.limits(c)
	if err != nil {
		return err
	}
	in, err := f.open(c, args[0], nil, f.recipe)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	types, err := f.fileTypes(c, in)
	if err != nil {
		return about(in.base, err)
	}
	views, err := in.views(c, types)
	if err != nil {
		return about(in.base, err)
	}
	measured := f.report(args[0])
	run, err := newDriftRun(c, measured, in)
	if err != nil {
		return err
	}
	var aside []drift.Text
	var windows int
	if f.mix {
		if aside, windows, err = run.setAside(); err != nil {
			return err
		}
	}
	candidates, fit, err := run.candidates(views, &f.fitFlags)
	if err != nil {
		return err
	}
	measure := func(models []drift.Candidate) ([]drift.Result, error) { return f.measure(c, run, in, models) }
	stored, err := gguf.StorageOf(in.base)
	if err != nil {
		return err
	}
	limits.Quantized = stored.QuantizedBitsPerWeight > 0
	made, err := choose.Run(limits, fit.Memory(), candidates, measure)
	if err != nil && !errors.Is(err, choose.ErrNone) {
		return err
	}
	var mix *report.Mix
	if err == nil && f.mix {
		tried, err := made.TryMix(func(types []gguf.Type, budget int64) (*allocate.Sensitivity, error) {
			place, err := f.place(c, in.hashing, infer.Exact, in.kept(nil)...)
			if err != nil {
				return nil, err
			}
			return together(place, func() (*allocate.Sensitivity, error) {
				return run.sensitivity(c, in.importance, aside, types, budget, place)
			})
		}, measure)
		if err != nil {
			return err
		}
		mix = report.NewMix(tried, windows)
	}
	if errors.Is(err, choose.ErrNone) && !c.json {
		report.NewChoice(measured, made, fit, nil).PrintTable(c.stdout)
	}
	if err != nil {
		return err
	}
	if measured.Provenance, err = in.hashing.Wait(); err != nil {
		return err
	}
	choice := report.NewChoice(measured, made, fit, mix)
	if err := printResults(c, choice, choice.Print, f.html, f.markdown, f.recipe); err != nil {
		return err
	}
	if f.recipe != "" {
		lines, err := choice.TypeFile()
		if err != nil {
			return err
		}
		if err := saveReport(c, f.recipe, lines); err != nil {
			return err
		}
	}
	return f.save(c, choice)
}

// measure measures models, which is a run of its own where results are kept.
func (f *chooseFlags) measure(c *call, run *driftRun, in *driftInput, models []drift.Candidate) (_ []drift.Result, err error) {
	if run.options.Results, err = f.place(c, in.hashing, f.compute, in.kept(models)...); err != nil {
		return nil, err
	}
	return together(run.options.Results, func() ([]drift.Result, error) { return run.measure(c, models) })
}

func (f *chooseFlags) limits(c *call) (choose.Limits, error) {
	limits := choose.Limits{Fit: f.fit, MaxKLD: f.maxKLD, EveryText: f.everyText}
	switch {
	case f.fit == 0 && f.maxKLD == 0:
		return limits, c.usagef("a limit is needed: --fit SIZE, --max-kld X, or both")
	case f.everyText && f.maxKLD == 0:
		return limits, c.usagef("--every-text says where --max-kld has to hold")
	case f.maxKLD > 0 && f.chunks == 1:
		return limits, c.usagef("--max-kld needs two windows of each text at least: one does not say how much windows differ")
	}
	return limits, nil
}

// fileTypes returns the types to choose between.
func (f *chooseFlags) fileTypes(c *call, in *driftInput) ([]recipe.FileType, error) {
	types, err := parseFileTypes(c, cmp.Or(f.types, chooseTypes))
	if err != nil || f.types != "" {
		return slices.Compact(types), err
	}
	var possible []recipe.FileType
	for _, fileType := range types {
		_, err := in.view(fileType)
		if errors.Is(err, recipe.ErrNeedsImatrix) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fileType, err)
		}
		possible = append(possible, fileType)
	}
	return possible, nil
}
