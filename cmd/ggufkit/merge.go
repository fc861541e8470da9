package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
)

type mergeFlags struct {
	textFlags
	seed  int
	shard int64 // bytes of a file
}

func mergeCommand() *cli.Command {
	var f mergeFlags
	return &cli.Command{
		Name:      "merge",
		Usage:     "merge models into a mixture of experts, as mergekit-moe does",
		ArgsUsage: "RECIPE.yaml OUTDIR",
		Description: "Writes a mixture (Mixtral, DeepSeek MoE, Qwen MoE or Qwen3 MoE) as Hugging Face's tools read it.\n" +
			"A merge recipe can stand for a model in other commands, too, so nothing need be written to convert,\n" +
			"score or quantize it. The model card has what moe doctor says of the routers and, with texts,\n" +
			"where they send these and how well the mixture and its donors predict them.",
		Flags: append(f.observeFlags(),
			seedFlag(&f.seed),
			shardSizeFlag(&f.shard),
		),
		Action: action(func(c *call) error { return mergeModels(c, f) }),
	}
}

type mergeReport struct {
	Dir     string `json:"dir"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

func mergeModels(c *call, f mergeFlags) (err error) {
	args, err := c.arguments("RECIPE.yaml", "OUTDIR")
	if err != nil {
		return err
	}
	if err := notStdin(c, "a recipe", args[0]); err != nil {
		return err
	}
	recipe, err := moe.Read(args[0])
	if err != nil {
		return err
	}
	if err := recipe.CheckOutput(args[1], c.force, f.files...); err != nil {
		return forceHint(c, err)
	}
	c.seed = f.seed
	limitMemory(&f.memory)
	texts, err := f.read()
	if err != nil {
		return err
	}
	m, err := moe.New(c.ctx, recipe, mergeOptions(c))
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	printNotes(c, m.Notes)
	m.Path = files.Directory(args[1]).Path
	model, err := hf.New(m.Parts, hf.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	diagnosis, err := diagnose(c, f.textFlags, model, args[0], texts, recipe.Models())
	if err != nil {
		return err
	}
	report := mergeReport{Dir: args[1], Tensors: len(m.Names()), Bytes: m.Bytes()}
	progress := newProgress(c, "writing", display.ByteRate)
	err = m.Write(c.ctx, args[1], moe.WriteOptions{
		ShardBytes: f.shard, Card: diagnosis.Markdown(), Overwrite: c.force, Progress: progress.update,
	})
	progress.stop()
	switch {
	case err != nil:
		return forceHint(c, err)
	case c.json:
		return printJSON(c, report)
	case !c.quiet:
		fmt.Fprintf(c.stderr, "wrote %s: %d tensors, %s\n", display.Printable(report.Dir), report.Tensors, display.Bytes(report.Bytes))
	}
	return nil
}
