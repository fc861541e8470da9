package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "write a checkpoint as GGUF, in its own type or quantized",
		ArgsUsage: "MODEL OUT.gguf",
		Description: "Reads a Hugging Face directory and writes what convert_hf_to_gguf.py would for F32, F16,\n" +
			"BF16 and Q8_0, and what llama-quantize would make of that for every other type, in one pass.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "`TYPE` to write, such as Q4_K_M; auto, the default, is that of the checkpoint"},
			imatrixFlag(),
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the model, instead of the directory's"},
			sizeFlag("split-max-size", "split the output into files with at most this `SIZE` of tensors, such as 4G"),
			dryRunFlag(),
		},
		Action: convertModel,
	}
}

func convertModel(c *cli.Context) (err error) {
	args, err := arguments(c, "MODEL", "OUT.gguf")
	if err != nil {
		return err
	}
	maxBytes, err := size(c, "split-max-size")
	if err != nil {
		return err
	}
	if err := checkModelOutput(c, args[1], maxBytes > 0, []string{args[0], c.String("imatrix")}); err != nil {
		return err
	}
	if err := notStdin(c, "a model", args[0]); err != nil {
		return err
	}
	options := convert.Options{Name: c.String("name"), Pre: c.String("pre")}
	if err := vocab.CheckPre(options.Pre); err != nil {
		return asUsage(c, err)
	}
	quantizeTo := recipe.Copy
	if s := c.String("type"); s != "" && !strings.EqualFold(s, "auto") {
		fileType, err := parseFileType(c, s)
		if err != nil {
			return err
		}
		base, err := fileType.Base()
		if err != nil {
			return asUsage(c, err)
		}
		switch fileType {
		case recipe.F32, recipe.F16, recipe.BF16, recipe.Q8_0:
			options.Type = &base
		default:
			options.KeepTypes = true
			quantizeTo = fileType
		}
	}
	open := func(path string, options convert.Options) (*convert.Checkpoint, error) {
		checkpoint, err := convert.Open(path, options)
		if err == nil {
			printWarnings(c, checkpoint)
		}
		return checkpoint, err
	}
	if isRecipe(args[0]) {
		open = func(path string, options convert.Options) (*convert.Checkpoint, error) {
			return openRecipe(c, path, options)
		}
	}
	checkpoint, err := open(args[0], options)
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	var src, original gguf.Source = checkpoint, checkpoint
	importance, err := openImportance(c, quantizeFlags{})
	if err != nil {
		return err
	}
	if importance != nil {
		defer func() { err = errors.Join(err, importance.Close()) }()
	}
	if quantizeTo != recipe.Copy {
		view, err := quant.NewView(checkpoint, quantizeTo, quant.ViewOptions{Importance: importance, DryRun: c.Bool("dry-run")})
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		printNotes(c, view.Notes())
		src, original = view, view.Original()
	} else if importance != nil {
		printNotes(c, []string{"the importance matrix is not used: nothing is quantized with it"})
	}
	return writeModel(c, src, original, args[1], gguf.WriteOptions{MaxBytes: maxBytes})
}

// printWarnings says, also with --quiet, what is wrong with files beside a checkpoint.
func printWarnings(c *cli.Context, m *convert.Checkpoint) {
	for _, warning := range m.Warnings() {
		fmt.Fprintln(c.App.ErrWriter, "warning:", warning)
	}
}
