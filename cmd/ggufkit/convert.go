package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/hf"
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
			"BF16 and Q8_0, and what llama-quantize would make of that for every other type, in one pass.\n" +
			"Of a GGUF file it writes what quantize does.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "`TYPE` to write, such as Q4_K_M, see 'ggufkit types'; auto, the default, is that of the checkpoint"},
			imatrixFlag(),
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the model, instead of the directory's"},
			&cli.StringFlag{Name: "pre", Usage: "`NAME` of the pre-tokenizer of a byte-level vocabulary, as llama-bpe, if it is not recognized"},
			sizeFlag("split-max-size", "split the output into files with at most this `SIZE` of tensors, such as 4G"),
			requantizeFlag(),
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
	options := hf.Options{Name: c.String("name"), Pre: c.String("pre")}
	if err := vocab.CheckPre(options.Pre); err != nil {
		return asUsage(c, err)
	}
	fileType := recipe.Copy // what it is
	if s := c.String("type"); s != "" && !strings.EqualFold(s, "auto") {
		if fileType, err = parseFileType(c, s); err != nil {
			return err
		}
		if _, err := fileType.Base(); err != nil {
			return asUsage(c, err)
		}
	}
	model, left, err := openToConvert(c, args[0], fileType, options)
	if err != nil {
		return err
	}
	defer model.Close()
	var src, original gguf.Source = model, model
	importance, err := openImportance(c, quantizeFlags{})
	if err != nil {
		return err
	}
	if importance != nil {
		defer func() { err = errors.Join(err, importance.Close()) }()
	}
	if file := fileOf(model); left != recipe.Copy || file != nil {
		opts := quant.ViewOptions{Importance: importance, DryRun: c.Bool("dry-run")}
		if name := c.String("name"); file != nil && name != "" {
			opts.Metadata = []gguf.KV{{Key: "general.name", Value: name}}
		}
		view, err := newView(c, model, left, opts)
		if err != nil {
			return about(model, err)
		}
		printNotes(c, view.Notes())
		src, original = view, view.Original()
	} else if importance != nil {
		printNotes(c, []string{"the importance matrix is not used: nothing is quantized with it"})
	}
	return writeModel(c, src, original, args[1], gguf.WriteOptions{MaxBytes: maxBytes})
}

// openToConvert opens a model that is to be of a file type, recipe.Copy for its own. The
// file type that it returns is left to be made by quantizing.
func openToConvert(c *cli.Context, path string, fileType recipe.FileType, options hf.Options) (*model, recipe.FileType, error) {
	left := recipe.Copy
	switch fileType {
	case recipe.Copy:
		options.Auto = true
	case recipe.F32, recipe.F16, recipe.BF16, recipe.Q8_0:
		base, err := fileType.Base()
		if err != nil {
			return nil, 0, err
		}
		options.Type = &base
	default:
		left = fileType
	}
	m, err := openModelAs(c, path, options)
	if err != nil {
		return nil, 0, err
	}
	if _, ok := m.Model.(*hf.Checkpoint); !ok { // a GGUF file
		left = fileType
	}
	return m, left, nil
}

// printWarnings says, also with --quiet, what is wrong with files beside a checkpoint.
func printWarnings(c *cli.Context, m *hf.Checkpoint) {
	for _, warning := range m.Warnings() {
		fmt.Fprintln(c.App.ErrWriter, "warning:", messageText(warning))
	}
}
