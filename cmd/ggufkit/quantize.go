package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

type quantizeFlags struct {
	writeFlags
	include, exclude []string
	recipe           recipe.Options
	recipeFlag
	pruneLayers []int
	metadata    []gguf.KV
	compat      string
}

func quantizeCommand() *cli.Command {
	var f quantizeFlags
	text := one(itself)
	readOverrides := func(path string) ([]recipe.Override, error) {
		file, err := readRecipe(path)
		f.recipeFiles = append(f.recipeFiles, path)
		return file.Overrides, err
	}
	return &cli.Command{
		Name:      "quantize",
		Usage:     "write a model with its weights quantized, the same bytes as llama-quantize",
		ArgsUsage: "MODEL [OUT.gguf] TYPE [THREADS]",
		Description: "TYPE is a file type such as Q4_K_M, or COPY; 'ggufkit types' lists them. It may be left out with a\n" +
			"--recipe-file that says it. Without OUT.gguf it is called\n" +
			"ggml-model-TYPE.gguf and stands beside MODEL. The flags are those of llama-quantize, and their\n" +
			"order counts where it does there: the first --tensor-type or line of --tensor-type-file that\n" +
			"matches a tensor is used. A NAME is any part of a tensor's name.",
		Flags: []cli.Flag{
			imatrixFlag(&f.imatrix),
			repeatedFlag("include-weights", "use the importance matrix only for tensors called `NAME`; may be repeated", &f.include, text),
			repeatedFlag("exclude-weights", "do not use the importance matrix for tensors called `NAME`; may be repeated", &f.exclude, text),
			requantizeFlag(&f.requantize),
			&cli.BoolFlag{Name: "leave-output-tensor", Usage: "leave output.weight as it is", Destination: &f.recipe.LeaveOutput},
			&cli.BoolFlag{Name: "pure", Usage: "give all tensors the same type", Destination: &f.recipe.Pure},
			tensorTypeFlag("output-tensor-type", "`TYPE` of output.weight", &f.recipe.OutputType),
			tensorTypeFlag("token-embedding-type", "`TYPE` of the token embeddings", &f.recipe.TokenEmbeddingType),
			repeatedFlag("tensor-type", "give tensors a type: `PATTERN=TYPE`, where PATTERN is a regular expression; may be repeated", &f.recipe.Overrides,
				one(recipe.ParseOverride)),
			repeatedFlag("tensor-type-file", "read such patterns from `FILE`", &f.recipe.Overrides, readOverrides),
			f.flag(),
			parsedFlag("prune-layers", "", "take out layers `L0,L1,...`, counted from 0", &f.pruneLayers, parseLayers),
			&cli.BoolFlag{Name: "keep-split", Usage: "write the same split files as the input's, and keep the order of tensors",
				Destination: &f.recipe.KeepOrder},
			f.splitFlag(), f.partFlag(),
			repeatedFlag("override-kv", "set metadata: `KEY=TYPE:VALUE`, where TYPE is int, float, bool or str; may be repeated", &f.metadata,
				one(quant.ParseOverrideKV)),
			&cli.StringFlag{Name: "compat", Value: recipe.CompatVersion, Usage: "write what this `VERSION` of llama-quantize writes", Destination: &f.compat},
			&cli.BoolFlag{Name: "verify", Usage: "read the output back, check every block, and report the error of the worst tensor", Destination: &f.verify},
			&cli.BoolFlag{Name: "resume", Usage: "continue what an interrupted or killed run has left", Destination: &f.resume},
			dryRunFlag(&f.dryRun),
		},
		Action: action(func(c *call) error { return quantize(c, f) }),
	}
}

// quantizeArguments returns what the arguments name, in all the ways in which
// llama-quantize takes them. The file type may be missing where a recipe is of one, which is not Copy then.
func quantizeArguments(c *call, of recipe.FileType) (in, out string, fileType recipe.FileType, err error) {
	args := c.args
	if of != recipe.Copy && len(args) == 2 {
		if _, err := recipe.ParseFileType(args[1]); err != nil {
			return args[0], args[1], of, nil
		}
	}
	if len(args) < 2 || len(args) > 4 {
		return "", "", 0, c.wrongCount(3, "MODEL", "OUT.gguf", "TYPE")
	}
	in, args = args[0], args[1:]
	if fileType, err = recipe.ParseFileType(args[0]); err == nil {
		dir := "."
		if !convert.IsElsewhere(in) {
			dir = filepath.Dir(filepath.Clean(in))
		}
		out = filepath.Join(dir, fmt.Sprintf("ggml-model-%s.gguf", fileType))
	} else {
		out, args = args[0], args[1:]
		if len(args) == 0 {
			return "", "", 0, c.wrongCount(3, "MODEL", "OUT.gguf", "TYPE")
		}
		if fileType, err = parseFileType(c, args[0]); err != nil {
			return "", "", 0, err
		}
	}
	switch args = args[1:]; len(args) {
	case 0:
		return in, out, fileType, nil
	case 1:
		if n, err := strconv.ParseUint(args[0], 10, 16); err == nil && n > 0 {
			c.threads = int(n)
			return in, out, fileType, nil
		}
		return "", "", 0, c.usagef("%q is not a number of threads", args[0])
	}
	return "", "", 0, c.wrongCount(3, "MODEL", "OUT.gguf", "TYPE")
}

func quantize(c *call, f quantizeFlags) (err error) {
	in, out, fileType, err := quantizeArguments(c, f.file.Type)
	if err != nil {
		return err
	}
	if fileType, err = f.resolve(c, fileType, true); err != nil {
		return err
	}
	f.recipe.Overrides = append(f.recipe.Overrides, f.file.Overrides...)
	if f.compat != recipe.CompatVersion {
		return c.usagef("--compat is %q, only %s is known", f.compat, recipe.CompatVersion)
	}
	keepSplit := f.recipe.KeepOrder
	if keepSplit && f.splitMaxSize > 0 {
		return c.usagef("--keep-split and --split-max-size cannot be used together")
	}
	if err := f.check(c, out, keepSplit, append(f.recipeFiles, in, f.imatrix)); err != nil {
		return err
	}
	opts := f.view()
	opts.Recipe, opts.Metadata, opts.PruneLayers = f.recipe, f.metadata, f.pruneLayers
	switch {
	case f.include != nil && f.exclude != nil:
		return c.usagef("--include-weights and --exclude-weights cannot be used together")
	case f.imatrix == "" && (f.include != nil || f.exclude != nil):
		return c.usagef("--include-weights and --exclude-weights need --imatrix")
	}
	importance, err := openImportance(c, f.imatrix)
	if err != nil {
		return err
	}
	if importance != nil {
		defer func() { err = errors.Join(err, importance.Close()) }()
		opts.Importance = f.selectWeights(c, importance)
	}
	model, err := openModel(c, in, gguf.KindProjector, gguf.KindVocabulary)
	if err != nil {
		return err
	}
	defer model.Close()
	file := fileOf(model)
	if _, ok := model.Model.(*quant.StackedFile); ok && keepSplit {
		return c.usagef("--keep-split cannot keep the files of %s: it has a tensor for each expert, and those of a layer become one", in)
	}
	if _, ok := model.Model.(*quant.ScaledFile); ok && keepSplit {
		return c.usagef("--keep-split cannot keep the files of %s: it has scales of matrices beside them, and these are applied", in)
	}
	if keepSplit && file == nil {
		return c.usagef("--keep-split needs a GGUF file, %s is none", in)
	}
	output, err := newOutput(c, model, fileType, convert.OutputOptions{View: opts})
	if err != nil {
		return err
	}
	view := output.View
	write := gguf.WriteOptions{Resume: f.resume}
	if keepSplit {
		write.Shards = view.Shards(file)
		if prefix, ok := strings.CutSuffix(out, ".gguf"); ok && len(write.Shards) == 1 {
			out = gguf.SplitPath(prefix, 0, 1) // as llama-quantize does with a single file, too
		}
	}
	if write.Job, err = f.job(view, in); err != nil {
		return err
	}
	return writeModel(c, f.writeFlags, output, out, write)
}

// job returns what the bytes of the output depend on besides its header: the program,
// which importances are used, and the files that are read.
func (f quantizeFlags) job(view *quant.View, model string) ([]gguf.Fact, error) {
	return jobOf(model, view, gguf.Fact{What: "importances", Is: fmt.Sprintf("include %q, exclude %q", f.include, f.exclude)})
}

// jobOf returns what the bytes of an output depend on besides its header: the program, some options, and the files that are read.
func jobOf(path string, src gguf.Source, options ...gguf.Fact) ([]gguf.Fact, error) {
	facts := append([]gguf.Fact{{What: "program", Is: "ggufkit " + programVersion()}}, options...)
	if convert.IsMergeRecipe(path) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		facts = append(facts, gguf.Fact{What: "recipe", Is: fmt.Sprintf("SHA-256 %x", sha256.Sum256(data))})
	}
	read, err := gguf.InputFacts(gguf.Inputs(src))
	return append(facts, read...), err
}

// parseLayers reads the numbers in --prune-layers.
func parseLayers(list string) (layers []int, err error) {
	for _, layer := range splitList(list) {
		n, err := strconv.ParseUint(layer, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("--prune-layers: %q is not the number of a layer", layer)
		}
		layers = append(layers, int(n))
	}
	return layers, nil
}

// selectWeights returns the part of the matrix that --include-weights and
// --exclude-weights leave.
func (f quantizeFlags) selectWeights(c *call, m *imatrix.Matrix) *imatrix.Matrix {
	names := slices.Concat(f.include, f.exclude)
	if names == nil {
		return m
	}
	used := make(map[string]bool)
	selected := m.Filter(func(tensor string) bool {
		found := false
		for _, name := range names {
			if strings.Contains(tensor, name) {
				found, used[name] = true, true
			}
		}
		return found == (f.include != nil)
	})
	for _, name := range names {
		if !used[name] {
			printNotes(c, []string{fmt.Sprintf("the importance matrix has no tensor called %q", name)})
		}
	}
	if len(selected.Tensors()) == 0 {
		printNotes(c, []string{"nothing is left of the importance matrix, it is not used"})
	}
	return selected
}
