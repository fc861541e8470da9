package main

import (
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

type convertFlags struct {
	writeFlags
	fileType     string
	name, pre    string
	splitMaxSize int64
}

func convertCommand() *cli.Command {
	var f convertFlags
	return &cli.Command{
		Name:      "convert",
		Usage:     "write a checkpoint as GGUF, in its own type or quantized",
		ArgsUsage: "MODEL OUT.gguf",
		Description: "Reads a Hugging Face directory and writes what convert_hf_to_gguf.py would for F32, F16,\n" +
			"BF16 and Q8_0, and what llama-quantize would make of that for every other type, in one pass.\n" +
			"Of a GGUF file it writes what quantize does.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "`TYPE` to write, such as Q4_K_M, see 'ggufkit types'; auto, the default, is that of the checkpoint",
				Destination: &f.fileType},
			imatrixFlag(&f.imatrix),
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the model, instead of the directory's", Destination: &f.name},
			&cli.StringFlag{Name: "pre", Usage: "`NAME` of the pre-tokenizer of a byte-level vocabulary, as llama-bpe, if it is not recognized",
				Destination: &f.pre},
			sizeFlag("split-max-size", "split the output into files with at most this `SIZE` of tensors, such as 4G", &f.splitMaxSize),
			requantizeFlag(&f.requantize),
			dryRunFlag(&f.dryRun),
		},
		Action: action(func(c *call) error { return convertModel(c, f) }),
	}
}

func convertModel(c *call, f convertFlags) (err error) {
	args, err := c.arguments("MODEL", "OUT.gguf")
	if err != nil {
		return err
	}
	if err := checkModelOutput(c, modelOutput{path: args[1], split: f.splitMaxSize > 0, dryRun: f.dryRun}, []string{args[0], f.imatrix}); err != nil {
		return err
	}
	if err := notStdin(c, "a model", args[0]); err != nil {
		return err
	}
	opts := convert.OutputOptions{
		Open: convert.Options{Checkpoint: hf.Options{Name: f.name, Pre: f.pre}},
		View: f.view(),
	}
	if err := vocab.CheckPre(opts.Open.Checkpoint.Pre); err != nil {
		return c.asUsage(err)
	}
	fileType := recipe.Copy // what it is
	if f.fileType != "" && !strings.EqualFold(f.fileType, "auto") {
		if fileType, err = parseFileType(c, f.fileType); err != nil {
			return err
		}
		if _, err := fileType.Base(); err != nil {
			return c.asUsage(err)
		}
	}
	model, err := openModelAs(c, args[0], opts.Open.For(fileType).Checkpoint)
	if err != nil {
		return err
	}
	defer model.Close()
	if opts.View.Importance, err = openImportance(c, f.imatrix); err != nil {
		return err
	}
	if opts.View.Importance != nil {
		defer func() { err = errors.Join(err, opts.View.Importance.Close()) }()
	}
	output, err := newOutput(c, model, fileType, opts)
	if err != nil {
		return err
	}
	return writeModel(c, f.writeFlags, output, args[1], gguf.WriteOptions{MaxBytes: f.splitMaxSize})
}
