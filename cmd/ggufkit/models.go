package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/infer/report"
)

func modelsCommand() *cli.Command {
	return &cli.Command{
		Name:   "models",
		Usage:  "the models that can be converted and run: families, classes, architectures",
		Action: action(showModels),
	}
}

func showModels(c *call) error {
	if _, err := c.arguments(); err != nil {
		return err
	}
	models := report.NewModels()
	return printResults(c, models, models.Print)
}
