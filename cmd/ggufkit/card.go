package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/report"
)

type cardFlags struct {
	drift      string
	evals      []string
	recipes    []string
	baseModels []string
	repository string
	sha256     bool
	output     string
}

func cardCommand() *cli.Command {
	var f cardFlags
	return &cli.Command{
		Name:      "card",
		Usage:     "the README.md of a repository of models",
		ArgsUsage: "MODEL...",
		Description: "Puts together what the files are, where they come from, how they were made, and what was measured of them,\n" +
			"as a model card that the hub takes. MODELs are the files that it is of: GGUF files of one model, the first\n" +
			"of a set of split files, or the directory of a checkpoint. What drift, choose and eval measured is read from\n" +
			"the JSON that they print with --json; nothing is measured here. The card goes to standard output.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "drift", Usage: "have the figures in `FILE`, the JSON of drift or of choose", Destination: &f.drift},
			repeatedFlag("eval", "have the scores in `FILE`, the JSON of eval; may be repeated", &f.evals, one(itself)),
			repeatedFlag("recipe", "have `FILE` in it, a merge recipe (.yaml) or the types that choose --recipe wrote; may be repeated", &f.recipes, one(itself)),
			repeatedFlag("base-model", "say that the files were made of `OWNER/NAME` of the hub; may be repeated", &f.baseModels, one(hubName)),
			&cli.StringFlag{Name: "repo", Usage: "say how to get the files from `OWNER/NAME` of the hub, where they will be", Destination: &f.repository},
			&cli.BoolFlag{Name: "sha256", Usage: "list the SHA-256 of each file", Destination: &f.sha256},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the card to `FILE`, and not to standard output", Destination: &f.output},
		},
		Action: action(func(c *call) error { return writeCard(c, f) }),
	}
}

// hubName takes the name of a repository of the hub.
func hubName(s string) (string, error) {
	if !report.IsHubName(s) {
		return "", fmt.Errorf("%q is not the name of a repository of the hub, OWNER/NAME", s)
	}
	return s, nil
}

func writeCard(c *call, f cardFlags) error {
	if len(c.args) == 0 {
		return c.wrongCount(1, "MODEL")
	}
	if f.repository != "" {
		if _, err := hubName(f.repository); err != nil {
			return c.usagef("--repo: %v", err)
		}
	}
	if err := checkOutputs(c, []string{f.output}, slices.Concat(c.args, f.evals, f.recipes, []string{f.drift})); err != nil {
		return err
	}
	for _, path := range c.args {
		if convert.IsMergeRecipe(path) {
			return c.usagef("%s is a merge recipe: a card is of the files that were made of it, and has it by --recipe", path)
		}
	}
	room := newFitFlags()
	card, err := newCard(c, c.args, room.settings(), func(file *report.CardFile, model *model) error {
		if f.sha256 {
			return hashParts(c, file, model)
		}
		return nil
	})
	if err != nil {
		return err
	}
	card.Repository, card.BaseModels = f.repository, f.baseModels
	if err := f.measured(card); err != nil {
		return err
	}
	text, err := card.Markdown()
	if err != nil {
		return err
	}
	printNotes(c, card.Notes())
	switch {
	case f.output != "":
		if err := saveReport(c, f.output, text); err != nil {
			return err
		}
	case !c.json:
		fmt.Fprint(c.stdout, text)
	}
	if c.json {
		return printJSON(c, card)
	}
	return nil
}

// newCard looks at the files that a card is of, and at what running them takes. add adds to what is known of each.
func newCard(c *call, paths []string, settings []choose.Setting, add func(*report.CardFile, *model) error) (card *report.ModelCard, err error) {
	var described []*report.CardFile
	var fit *report.Fit
	for i, path := range paths {
		model, err := openModel(c, path)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, model.Close()) }()
		file, err := report.NewCardFile(path, model.Model)
		if err == nil {
			err = add(file, model)
		}
		if err != nil {
			return nil, named(path, err)
		}
		described = append(described, file)
		if i == 0 {
			fit = roomFor(c, model, settings)
		}
	}
	if card, err = report.NewModelCard(c.ctx, programVersion(), described...); err == nil {
		card.Fit = fit
	}
	return card, err
}

// roomFor returns what running a model takes, nil if it cannot be run or has no context.
func roomFor(c *call, model *model, settings []choose.Setting) *report.Fit {
	engine, err := engineOf(model, infer.Options{Threads: c.threads})
	if err != nil || engine.Spec().Encoder {
		return nil
	}
	most := infer.ContextLength(model.Metadata())
	for i := range settings {
		settings[i].Context = min(settings[i].Context, most)
	}
	settings = slices.Compact(settings)
	fit, err := report.NewFit(engine.Spec(), settings, 0)
	if err != nil {
		return nil
	}
	return &fit
}

// hashParts fills in the sums of the files of a model.
func hashParts(c *call, file *report.CardFile, model *model) error {
	group, ctx := errgroup.WithContext(c.ctx)
	for i, input := range gguf.Inputs(model.Model) {
		group.Go(func() (err error) {
			file.Parts[i].SHA256, err = files.Sum(ctx, input)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return gguf.Unchanged(model)
}

// addDrift adds the figures that a file has, the JSON of drift or of choose.
func addDrift(card *report.ModelCard, name string, data []byte) (*report.CardDrift, error) {
	measured, err := report.ReadDrift(data)
	if err == nil {
		err = card.AddDrift(measured)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return measured, nil
}

// measured adds what was measured, and the recipes.
func (f *cardFlags) measured(card *report.ModelCard) error {
	if f.drift != "" {
		data, err := readText(f.drift, maxText)
		if err != nil {
			return err
		}
		if _, err := addDrift(card, f.drift, []byte(data.data)); err != nil {
			return err
		}
	}
	for _, path := range f.evals {
		data, err := readText(path, maxText)
		if err != nil {
			return err
		}
		scores, err := report.ReadEval([]byte(data.data))
		if err == nil {
			err = card.AddEval(scores)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, path := range f.recipes {
		if convert.IsMergeRecipe(path) {
			recipe, err := moe.Parse(path)
			if err != nil {
				return err
			}
			card.Mixture = recipe
			continue
		}
		types, err := readText(path, maxText)
		if err != nil {
			return err
		}
		card.TypeFile = types.data
	}
	return nil
}
