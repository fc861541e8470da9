package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
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
	opts := convert.OutputOptions{
		Open: convert.Options{Checkpoint: hf.Options{Name: c.String("name"), Pre: c.String("pre")}},
		View: viewOptions(c),
	}
	if err := vocab.CheckPre(opts.Open.Checkpoint.Pre); err != nil {
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
	model, err := openModelAs(c, args[0], opts.Open.For(fileType).Checkpoint)
	if err != nil {
		return err
	}
	defer model.Close()
	if opts.View.Importance, err = openImportance(c, quantizeFlags{}); err != nil {
		return err
	}
	if opts.View.Importance != nil {
		defer func() { err = errors.Join(err, opts.View.Importance.Close()) }()
	}
	output, err := newOutput(c, model, fileType, opts)
	if err != nil {
		return err
	}
	return writeModel(c, output, args[1], gguf.WriteOptions{MaxBytes: maxBytes})
}

// newOutput returns a model as a file of a type, and says what is to be known of it.
func newOutput(c *cli.Context, model *model, fileType recipe.FileType, opts convert.OutputOptions) (*convert.Output, error) {
	output, err := convert.NewOutput(model.Model, fileType, opts)
	if err != nil {
		return nil, about(model, requantizeHint(err))
	}
	printNotes(c, output.Notes())
	return output, nil
}

// printWarnings says, also with --quiet, what is wrong with files beside a checkpoint.
func printWarnings(c *cli.Context, m *hf.Checkpoint) {
	for _, warning := range m.Warnings() {
		fmt.Fprintln(c.App.ErrWriter, "warning:", display.Message(warning))
	}
}
