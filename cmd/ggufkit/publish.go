package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/publish"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// What --types may be, beside types.
const (
	standardTypes = "standard"
	allTypes      = "all"
)

// autoImatrix is what --imatrix is to have one measured.
const autoImatrix = "auto"

// Files beside those of the model.
const (
	cardName      = "README.md"
	sumsFile      = "SHA256SUMS"
	driftFile     = "drift.json"
	driftPageFile = "drift.html"
)

// besideFiles are all that there can be, but for an importance matrix.
var besideFiles = []string{cardName, sumsFile, report.ModelfileName, driftFile, driftPageFile}

type publishFlags struct {
	textFlags
	fitFlags
	keepFlags
	planFlags
	types        []string
	imatrix      string
	calibration  []string
	requantize   bool
	splitMaxSize int64
	name         string
	baseModels   []string
	repository   string
	upload       string
}

func publishCommand() *cli.Command {
	f := publishFlags{fitFlags: newFitFlags()}
	f.ctx = perplexity.DefaultCtx // of a window; --ctx is what has to fit
	return &cli.Command{
		Name:      "publish",
		Usage:     "all files of a model that are published, of one reading",
		ArgsUsage: "MODEL DIR",
		Description: "Writes NAME-TYPE.gguf for all types side by side: each tensor is read once, and quantized once for all files that\n" +
			"want the same. Each file is what quantize writes alone. With texts, how far each is from the original is\n" +
			"measured of the files. The card (README.md), SHA256SUMS, Ollama's Modelfile and the page of drift stand beside.\n" +
			"The same command continues what a killed run has left, and makes what is missing; what it has not made\n" +
			"it does not touch.",
		Flags: []cli.Flag{
			repeatedFlag("types", "make file types `A,B,C`; standard (the default): "+strings.Join(typeNames(publish.Standard), ",")+"; all: all that the model can become. Those "+
				"of standard and all that need an importance matrix are left out without one", &f.types, list),
			f.textFlag("measure how far the files are from the original on the text"),
			&cli.StringFlag{Name: "imatrix", Usage: "use the importance matrix in `FILE`; auto measures one, and keeps it in DIR", Destination: &f.imatrix},
			repeatedFlag("calibration", "with --imatrix auto, measure on the text in `FILE`, and not on those of --file; may be repeated", &f.calibration, one(itself)),
			chunksFlag(&f.chunks, "run at most `N` windows of 512 tokens of each text, or conversations"), f.scoreFlag(),
			parsedFlag("ctx", fmt.Sprint(defaultContext), "say in the card which file fits with `N` tokens of context, or several: N,N", &f.contexts, parseContexts, "c"),
			&cli.StringFlag{Name: "name", Usage: "call the files `NAME`-TYPE.gguf; default: as MODEL is called", Destination: &f.name},
			sizeFlag("split-max-size", "split files into some with at most this `SIZE` of tensors, such as 4G", &f.splitMaxSize),
			requantizeFlag(&f.requantize),
			repeatedFlag("base-model", "say that the files were made of `OWNER/NAME` of the hub; may be repeated", &f.baseModels, one(hubName)),
			parsedFlag("repo", "", "say how to get the files from `OWNER/NAME` of the hub, where they will be", &f.repository, hubName),
			&cli.StringFlag{Name: "upload", Usage: "put it all into the repository `hf://OWNER/NAME` of the hub, which has to be there, as one commit", Destination: &f.upload},
			computeFlag(&f.compute), memoryFlag(&f.memory), dryRunFlag(&f.dryRun), f.ratesFlag(), f.resultsFlag(),
			partFlag("make only part `I/N` of the files, each type split into N or by --split-max-size, and measure that part with --results; auto: what Slurm, Kubernetes or "+
				"MPI say. When all are there, the same command without it does the rest", &f.part),
		},
		Action: action(func(c *call) error { return publishModel(c, f) }),
	}
}

// fileTypes returns the types to make, each once, and which of them may be left out.
func (f *publishFlags) fileTypes(c *call) (types, optional []recipe.FileType, err error) {
	words := f.types
	if len(words) == 0 {
		words = []string{standardTypes}
	}
	var named []recipe.FileType
	for _, word := range words {
		switch word = strings.TrimSpace(word); {
		case strings.EqualFold(word, standardTypes):
			optional = append(optional, publish.Standard...)
		case strings.EqualFold(word, allTypes):
			optional = append(optional, recipe.FileTypes()...)
		default:
			fileType, err := parseFileType(c, word)
			if err != nil {
				return nil, nil, err
			}
			if fileType == recipe.Copy {
				return nil, nil, c.usagef("--types: COPY is no type that a file could be called after")
			}
			named = append(named, fileType)
		}
	}
	optional = slices.DeleteFunc(optional, func(t recipe.FileType) bool { return slices.Contains(named, t) })
	for _, t := range recipe.FileTypes() {
		if slices.Contains(named, t) || slices.Contains(optional, t) {
			types = append(types, t)
		}
	}
	return types, optional, nil
}

func publishModel(c *call, f publishFlags) (err error) {
	args, err := c.arguments("MODEL", "DIR")
	if err != nil {
		return err
	}
	p := &publication{call: c, flags: f}
	if p.types, p.optional, err = f.fileTypes(c); err != nil {
		return err
	}
	if len(f.calibration) > 0 && f.imatrix != autoImatrix {
		return c.usagef("--calibration is for --imatrix auto")
	}
	if !f.part.IsAll() && f.dir == "" && (len(f.files) > 0 || f.imatrix == autoImatrix) {
		return c.usagef("--part needs --results DIR where something is measured: where the parts come together")
	}
	if err := p.checkUpload(); err != nil {
		return err
	}
	limitMemory(&p.flags.memory)
	if err := p.readTexts(); err != nil {
		return err
	}
	if p.model, err = openModel(c, args[0]); err != nil {
		return err
	}
	defer p.model.Close()
	if p.name = f.name; p.name == "" {
		p.name = publish.NameOf(args[0], p.model.Metadata())
	}
	if !publish.IsName(p.name) {
		return c.usagef("--name is %q; names of files have letters, digits, '-', '_' and '.' here", p.name)
	}
	if in, err := os.Stat(args[0]); err == nil {
		if out, err := os.Stat(args[1]); err == nil && os.SameFile(in, out) {
			return c.usagef("DIR is the model's own directory: take another one")
		}
	}
	if p.folder, err = p.open(args[1]); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.folder.Close()) }()
	defer func() {
		if p.importance != nil {
			err = errors.Join(err, p.importance.Close())
		}
	}()
	err = partDone(c, p.run(args[1]))
	if c.ctx.Err() != nil && errors.Is(err, c.ctx.Err()) {
		err = fmt.Errorf("%w: the same command continues it", context.Cause(c.ctx))
	}
	return err
}
