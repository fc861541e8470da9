package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "quantize",
		Usage:     "write a model with its weights quantized, the same bytes as llama-quantize",
		ArgsUsage: "MODEL OUT.gguf TYPE",
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "allow-requantize", Usage: "quantize tensors that are quantized already, at a loss"},
			dryRunFlag(), forceFlag(), threadsFlag(),
		}, progressFlags()...), jsonFlag()),
		Action: quantize,
	}
}

func quantize(c *cli.Context) error {
	args, err := arguments(c, "MODEL", "OUT.gguf", "TYPE")
	if err != nil {
		return err
	}
	fileType, err := recipe.ParseFileType(args[2])
	if err != nil {
		return usageError{c.Command.Name, err}
	}
	model, err := convert.OpenModel(args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	view, err := quant.NewView(model, fileType, quant.ViewOptions{AllowRequantize: c.Bool("allow-requantize")})
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return writeModel(c, view, tensorTypes(model), args[1], 0)
}
