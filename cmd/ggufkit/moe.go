package main

import (
	_ "embed"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
)

type doctorFlags struct {
	textFlags
	donors []string
	html   string
	seed   int
}

func moeCommand() *cli.Command {
	var f doctorFlags
	return &cli.Command{
		Name:  "moe",
		Usage: "look into mixtures of experts",
		Subcommands: []*cli.Command{{
			Name:      "doctor",
			Usage:     "how the routers of a mixture were made, what is wrong with them, and where they send a text",
			ArgsUsage: "MODEL",
			Description: "Without texts only the rows of the routers are looked at. With texts, the model is run on them:\n" +
				"which experts they are sent to, and how well the mixture predicts them beside its donors, the\n" +
				"models that it was made of. A merge recipe names its donors.",
			Flags: append(f.observeFlags(),
				repeatedFlag("donor", "compare with `MODEL`; may be repeated", &f.donors, one(itself)),
				&cli.StringFlag{Name: "html", Usage: "write a page with heat maps to `FILE`", Destination: &f.html},
				seedFlag(&f.seed),
			),
			Action: action(func(c *call) error { return examine(c, f) }),
		}},
	}
}

func examine(c *call, f doctorFlags) (err error) {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	if len(f.donors) > 0 && len(f.files) == 0 {
		return c.usagef("--donor needs a text to compare on: --file FILE")
	}
	if err := checkOutputs(c, []string{f.html}, slices.Concat(args, f.donors, f.files)); err != nil {
		return err
	}
	c.seed = f.seed
	limitMemory(&f.memory)
	texts, err := f.read()
	if err != nil {
		return err
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	donors := f.donors
	if convert.IsMergeRecipe(args[0]) && len(texts) > 0 {
		recipe, err := moe.Read(args[0])
		if err != nil {
			return err
		}
		donors = append(donors, recipe.Models()...)
	}
	doctor, err := diagnose(c, f.textFlags, model, args[0], texts, donors)
	if err != nil {
		return err
	}
	if err := printResults(c, doctor, doctor.Print, f.html); err != nil || f.html == "" {
		return err
	}
	content, err := doctor.Page()
	if err != nil {
		return err
	}
	return saveReport(c, f.html, content)
}
