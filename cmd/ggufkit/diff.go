package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant"
)

type diffFlags struct{ metadata, tensors bool }

func diffCommand() *cli.Command {
	var f diffFlags
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two models: metadata, types, values",
		ArgsUsage: "A B",
		Description: "Any two MODELs. Of tensors that are not the same bytes it says how far the values of B are from those of\n" +
			"A, the worst first: NMSE is the sum of the squared differences over that of the squares of A. The order of\n" +
			"metadata and tensors is no difference. Exits with 0 if the models are the same, and with 3 if not.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "metadata", Usage: "compare the metadata only", Destination: &f.metadata},
			&cli.BoolFlag{Name: "tensors", Usage: "compare the tensors only", Destination: &f.tensors},
		},
		Action: action(func(c *call) error { return diff(c, f) }),
	}
}

func diff(c *call, f diffFlags) (err error) {
	args, err := c.arguments("A", "B")
	if err != nil {
		return err
	}
	if f.metadata && f.tensors {
		return c.usagef("--metadata and --tensors cannot be used together")
	}
	var models [2]*model
	for i, path := range args {
		if models[i], err = openAny(c, path, hf.Options{}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, models[i].Close()) }()
	}
	a, b := models[0], models[1]
	found := &report.Diff{A: a.path, B: b.path, Same: true, Metadata: []report.PairDiff{}, Tensors: []report.TensorDiff{}}
	if !f.tensors {
		found.AddMetadata(a.Metadata(), b.Metadata())
	}
	if !f.metadata {
		progress := newProgress(c, "comparing", weightRate)
		diffs, err := quant.Diff(c.ctx, a, b, progress.update)
		progress.stop()
		if err == nil {
			err = gguf.Unchanged(a, b)
		}
		if err != nil {
			return err
		}
		found.AddTensors(a, b, diffs)
	}
	if err := printResults(c, found, found.Print); err != nil {
		return err
	}
	if !found.Same {
		return errDifferent
	}
	return nil
}
