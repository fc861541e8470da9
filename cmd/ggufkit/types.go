package main

import (
	_ "embed"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

func typesCommand() *cli.Command {
	return &cli.Command{
		Name:      "types",
		Usage:     "the types that a model can be quantized to: size, what they need, what they cost",
		ArgsUsage: "[TYPE...]",
		Action:    action(showTypes),
	}
}

func showTypes(c *call) error {
	types := recipe.FileTypes()
	if len(c.args) > 0 {
		types = nil
		for _, name := range c.args {
			fileType, err := parseFileType(c, name)
			if err != nil {
				return err
			}
			types = append(types, fileType)
		}
	}
	shown, err := report.NewTypes(types)
	if err != nil {
		return err
	}
	return printResults(c, shown, shown.Print)
}
