package main

import (
	_ "embed"
	"fmt"

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

// parseFileType returns the file type that a user names. The error says which names
// are like it, and where the others are.
func parseFileType(c *call, name string) (recipe.FileType, error) {
	fileType, err := recipe.ParseFileType(name)
	if err == nil {
		return fileType, nil
	}
	var names []string
	for _, t := range recipe.FileTypes() {
		names = append(names, t.String())
	}
	if similar := nearest(name, names); similar != "" {
		err = fmt.Errorf("%w, but %s is", err, similar)
	}
	return 0, c.usagef("%w; 'ggufkit types' lists them", err)
}
