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
	recipeFlag
	fileType  string
	name, pre string
}

func convertCommand() *cli.Command {
	var f convertFlags
	return &cli.Command{
		Name:      "convert",
		Usage:     "write a checkpoint as GGUF, in its own type or quantized",
		ArgsUsage: "MODEL OUT.gguf",
		Description: "Reads a Hugging Face directory and writes what convert_hf_to_gguf.py would for F32, F16,\n" +
			"BF16 and Q8_0, and what llama-quantize would make of that for every other type, in one pass.\n" +
			"Of a GGUF file it writes what quantize does. --type AUTO keeps what is quantized already, such as\n" +
			"GPTQ of 4 bits, where blocks of GGUF hold the same values: nothing is lost a second time. What\n" +
			"they cannot hold becomes the checkpoint's 16-bit type, or another: --type AUTO:Q4_K_M.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "`TYPE` to write, such as Q4_K_M, see 'ggufkit types', or AUTO, or AUTO:TYPE; the default is the 16-bit type of the checkpoint",
				Destination: &f.fileType},
			f.flag(),
			imatrixFlag(&f.imatrix),
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the model, instead of the directory's", Destination: &f.name},
			&cli.StringFlag{Name: "pre", Usage: "`NAME` of the pre-tokenizer of a byte-level vocabulary, as llama-bpe, instead of the one that cuts alike",
				Destination: &f.pre},
			f.splitFlag(), f.partFlag(),
			requantizeFlag(&f.requantize),
			&cli.BoolFlag{Name: "verify", Usage: "read the output back, check every block, and report how far each tensor is from the checkpoint", Destination: &f.verify},
			dryRunFlag(&f.dryRun),
		},
		Action: action(func(c *call) error { return convertModel(c, f) }),
	}
}

// parseType reads --type: a file type, which is recipe.Copy if there is none, and whether
// what is quantized already stays as it is where it can.
func (f convertFlags) parseType(c *call) (fileType recipe.FileType, exact bool, err error) {
	auto, rest, colon := strings.Cut(f.fileType, ":")
	exact = strings.EqualFold(auto, "auto")
	switch {
	case f.fileType == "", exact && !colon:
		return recipe.Copy, exact, nil
	case !exact:
		rest = f.fileType
	}
	if fileType, err = parseFileType(c, rest); err != nil {
		return 0, false, err
	}
	if _, err := fileType.Base(); err != nil {
		return 0, false, c.asUsage(err)
	}
	return fileType, exact, nil
}

func convertModel(c *call, f convertFlags) (err error) {
	args, err := c.arguments("MODEL", "OUT.gguf")
	if err != nil {
		return err
	}
	if err := f.check(c, args[1], false, append(f.recipeFiles, args[0], f.imatrix)); err != nil {
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
	fileType, exact, err := f.parseType(c)
	if err != nil {
		return err
	}
	if fileType, err = f.resolve(c, fileType, f.fileType != ""); err != nil {
		return err
	}
	opts.View.Recipe.Overrides = f.file.Overrides
	opts.Open.Checkpoint.Exact = exact
	model, err := openModelAs(c, args[0], opts.For(fileType).Checkpoint)
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
	return writeModel(c, f.writeFlags, output, args[1], gguf.WriteOptions{})
}
