package main

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// driftTypes are measured where neither types nor candidates are named.
const driftTypes = "Q8_0,Q6_K,Q5_K_M,Q4_K_M,IQ4_XS,Q3_K_M,Q2_K"

type driftFlags struct {
	compareFlags
	candidates     []string
	untilSeparated bool
}

func driftCommand() *cli.Command {
	var f driftFlags
	return &cli.Command{
		Name:      "drift",
		Usage:     "how far each way to quantize a model takes it from the original",
		ArgsUsage: "MODEL",
		Description: "Runs the model and all candidates side by side on the texts, and compares what they predict.\n" +
			"Types are quantized on the way; nothing is written but the reports that are asked for.",
		Flags: []cli.Flag{
			f.textFlag("measure on the text"),
			&cli.StringFlag{Name: "types", Usage: "quantize to file types `A,B,C`; default without candidates: " + driftTypes, Destination: &f.types},
			repeatedFlag("candidate", "measure `MODEL` as it is; may be repeated", &f.candidates, one(itself)),
			imatrixFlag(&f.imatrix), requantizeFlag(&f.requantize),
			f.htmlFlag(), f.markdownFlag(),
			&cli.BoolFlag{Name: "until-separated", Usage: "stop as soon as it is clear which candidate is closer to the original than which",
				Destination: &f.untilSeparated},
			ctxFlag(&f.ctx, perplexity.DefaultCtx, "`N` tokens in a window, the second half of which is scored"),
			chunksFlag(&f.chunks, "run at most `N` windows of each text"),
			computeFlag(&f.compute), memoryFlag(&f.memory),
		},
		Action: action(func(c *call) error { return measureDrift(c, f) }),
	}
}

func measureDrift(c *call, f driftFlags) (err error) {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	list := f.types
	if list == "" && len(f.candidates) == 0 {
		list = driftTypes
	}
	types, err := parseFileTypes(c, list)
	if err != nil {
		return err
	}
	in, err := f.open(c, args[0], f.candidates)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	models, err := in.views(c, types)
	if err != nil {
		return about(in.base, err)
	}
	for _, path := range f.candidates {
		model, err := openModel(c, path)
		if err != nil {
			return err
		}
		defer model.Close()
		models = append(models, drift.Candidate{Name: strings.TrimSuffix(filepath.Base(path), ".gguf"), Source: model})
	}
	measured := f.report(args[0])
	run, err := newDriftRun(c, measured, in)
	if err != nil {
		return err
	}
	run.options.UntilSeparated = f.untilSeparated
	if _, err := run.measure(c, models); err != nil {
		return err
	}
	if measured.Provenance, err = in.hashing.Wait(); err != nil {
		return err
	}
	if err := printResults(c, measured, measured.Print, f.html, f.markdown); err != nil {
		return err
	}
	return f.save(c, measured)
}
