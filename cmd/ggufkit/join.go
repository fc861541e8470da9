package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf"
)

type joinFlags struct {
	clean  bool
	dryRun bool
}

func joinCommand() *cli.Command {
	var f joinFlags
	return &cli.Command{
		Name:      "join",
		Usage:     "make one GGUF file of a split set, the same as llama-gguf-split --merge",
		ArgsUsage: "FIRST.gguf OUT.gguf",
		Description: "Any file of the set may be named. As llama-gguf-split does, it leaves the split.* keys, with a count of 0;\n" +
			"with --clean the file is as it was before it was split.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "clean", Usage: "leave the split.* keys out", Destination: &f.clean},
			dryRunFlag(&f.dryRun),
		},
		Action: action(func(c *call) error { return join(c, f) }),
	}
}

func join(c *call, f joinFlags) error {
	args, err := c.arguments("FIRST.gguf", "OUT.gguf")
	if err != nil {
		return err
	}
	if err := notStdin(c, "a GGUF file", args[0]); err != nil {
		return err
	}
	if err := checkModelOutput(c, modelOutput{path: args[1], dryRun: f.dryRun}, gguf.SplitSet(args[0])); err != nil {
		return err
	}
	folder, name, err := locateFile(c, args[0])
	if err != nil {
		return ggufHint(remote.Plain(args[0]), err)
	}
	file, err := gguf.OpenSetIn(folder, name)
	if err != nil {
		return ggufHint(remote.Plain(args[0]), err)
	}
	defer file.Close()
	var src gguf.Source = file
	if !f.clean {
		src = file.Join()
	}
	_, size, err := gguf.Layout(src)
	if err != nil {
		return err
	}
	report := splitReport{[]splitFile{{args[1], len(src.Tensors()), size}}}
	return report.write(c, f.dryRun, func(opts gguf.WriteOptions) error {
		_, err := gguf.Write(c.ctx, args[1], src, opts)
		return err
	})
}
