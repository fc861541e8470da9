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
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// quantizeFlags are the flags of quantize that may be repeated.
type quantizeFlags struct {
	overrides        []recipe.Override
	include, exclude []string
	metadata         []gguf.KV
}

// repeated is a flag whose every use adds something.
type repeated func(value string) error

// Set ignores an empty value, to which urfave/cli sets the other names of a flag.
func (r repeated) Set(value string) error {
	if value == "" {
		return nil
	}
	return r(value)
}

func (r repeated) String() string { return "" }

// repeatedFlag returns a flag that appends what parse makes of its values.
func repeatedFlag[T any](name, usage string, to *[]T, parse func(string) ([]T, error), aliases ...string) cli.Flag {
	add := func(value string) error {
		v, err := parse(value)
		*to = append(*to, v...)
		return err
	}
	return &cli.GenericFlag{Name: name, Aliases: aliases, Usage: usage, Value: repeated(add)}
}

// one makes a parser of one value into one of several.
func one[T any](parse func(string) (T, error)) func(string) ([]T, error) {
	return func(s string) ([]T, error) {
		v, err := parse(s)
		return []T{v}, err
	}
}

// itself is for values that are texts.
func itself(s string) (string, error) { return s, nil }

func quantizeCommand() *cli.Command {
	var f quantizeFlags
	text := one(itself)
	return &cli.Command{
		Name:      "quantize",
		Usage:     "write a model with its weights quantized, the same bytes as llama-quantize",
		ArgsUsage: "MODEL [OUT.gguf] TYPE [THREADS]",
		Description: "TYPE is a file type such as Q4_K_M, or COPY; 'ggufkit types' lists them. Without OUT.gguf it is called\n" +
			"ggml-model-TYPE.gguf and stands beside MODEL. The flags are those of llama-quantize, and their\n" +
			"order counts where it does there: the first --tensor-type or line of --tensor-type-file that\n" +
			"matches a tensor is used. A NAME is any part of a tensor's name.",
		Flags: []cli.Flag{
			imatrixFlag(),
			repeatedFlag("include-weights", "use the importance matrix only for tensors called `NAME`; may be repeated", &f.include, text),
			repeatedFlag("exclude-weights", "do not use the importance matrix for tensors called `NAME`; may be repeated", &f.exclude, text),
			requantizeFlag(),
			&cli.BoolFlag{Name: "leave-output-tensor", Usage: "leave output.weight as it is"},
			&cli.BoolFlag{Name: "pure", Usage: "give all tensors the same type"},
			&cli.StringFlag{Name: "output-tensor-type", Usage: "`TYPE` of output.weight"},
			&cli.StringFlag{Name: "token-embedding-type", Usage: "`TYPE` of the token embeddings"},
			repeatedFlag("tensor-type", "give tensors a type: `PATTERN=TYPE`, where PATTERN is a regular expression; may be repeated", &f.overrides, one(recipe.ParseOverride)),
			repeatedFlag("tensor-type-file", "read such patterns from `FILE`", &f.overrides, readOverrides),
			&cli.StringFlag{Name: "prune-layers", Usage: "take out layers `L0,L1,...`, counted from 0"},
			&cli.BoolFlag{Name: "keep-split", Usage: "write the same split files as the input's, and keep the order of tensors"},
			repeatedFlag("override-kv", "set metadata: `KEY=TYPE:VALUE`, where TYPE is int, float, bool or str; may be repeated", &f.metadata, one(quant.ParseOverrideKV)),
			&cli.StringFlag{Name: "compat", Value: recipe.Version, Usage: "write what this `VERSION` of llama-quantize writes"},
			&cli.BoolFlag{Name: "verify", Usage: "read the output back, check every block, and report the error of the worst tensor"},
			&cli.BoolFlag{Name: "resume", Usage: "continue what an interrupted or killed run has left"},
			dryRunFlag(),
		},
		Action: func(c *cli.Context) error { return quantize(c, f) },
	}
}

func requantizeFlag() cli.Flag {
	return &cli.BoolFlag{Name: "allow-requantize", Usage: "quantize tensors that are quantized already, at a loss"}
}

// newView returns a model quantized to a file type, as quant.NewView does. Whether
// it may be quantized already is for --allow-requantize to say.
func newView(c *cli.Context, src gguf.Source, fileType recipe.FileType, opts quant.ViewOptions) (*quant.View, error) {
	opts.AllowRequantize = c.Bool("allow-requantize")
	view, err := quant.NewView(src, fileType, opts)
	return view, requantizeHint(err)
}

// requantizeHint says how a model that is quantized may be quantized again.
func requantizeHint(err error) error {
	if errors.Is(err, quant.ErrRequantize) {
		err = fmt.Errorf("%w by --allow-requantize; what was lost before stays lost", err)
	}
	return err
}

// viewOptions are those of a command that writes a model.
func viewOptions(c *cli.Context) quant.ViewOptions {
	return quant.ViewOptions{AllowRequantize: c.Bool("allow-requantize"), DryRun: c.Bool("dry-run")}
}

func imatrixFlag() cli.Flag {
	return &cli.StringFlag{Name: "imatrix", Usage: "use the importance matrix in `FILE`, as llama-imatrix writes it"}
}

func readOverrides(path string) (overrides []recipe.Override, err error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if overrides, err = recipe.ReadOverrides(file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return overrides, nil
}

// quantizeArguments returns what the arguments name, in all the ways in which
// llama-quantize takes them.
func quantizeArguments(c *cli.Context) (in, out string, fileType recipe.FileType, err error) {
	args := c.Args().Slice()
	if len(args) < 2 || len(args) > 4 {
		return "", "", 0, wrongCount(c, 3, "MODEL", "OUT.gguf", "TYPE")
	}
	in, args = args[0], args[1:]
	if fileType, err = recipe.ParseFileType(args[0]); err == nil {
		out = filepath.Join(filepath.Dir(filepath.Clean(in)), fmt.Sprintf("ggml-model-%s.gguf", fileType))
	} else {
		out, args = args[0], args[1:]
		if len(args) == 0 {
			return "", "", 0, wrongCount(c, 3, "MODEL", "OUT.gguf", "TYPE")
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
			return in, out, fileType, c.Set("threads", args[0])
		}
		return "", "", 0, usagef(c, "%q is not a number of threads", args[0])
	}
	return "", "", 0, wrongCount(c, 3, "MODEL", "OUT.gguf", "TYPE")
}

func quantize(c *cli.Context, f quantizeFlags) (err error) {
	in, out, fileType, err := quantizeArguments(c)
	if err != nil {
		return err
	}
	opts, err := f.viewOptions(c)
	if err != nil {
		return err
	}
	if err := checkModelOutput(c, out, opts.Recipe.KeepOrder, []string{in, c.String("imatrix")}); err != nil {
		return err
	}
	importance, err := openImportance(c, f)
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
	if _, ok := model.Model.(*quant.StackedFile); ok && opts.Recipe.KeepOrder {
		return usagef(c, "--keep-split cannot keep the files of %s: it has a tensor for each expert, and those of a layer become one", in)
	}
	if opts.Recipe.KeepOrder && file == nil {
		return usagef(c, "--keep-split needs a GGUF file, %s is none", in)
	}
	output, err := newOutput(c, model, fileType, convert.OutputOptions{View: opts})
	if err != nil {
		return err
	}
	view := output.View
	write := gguf.WriteOptions{Resume: c.Bool("resume")}
	if opts.Recipe.KeepOrder {
		write.Shards = shardsLike(file, view)
		if prefix, ok := strings.CutSuffix(out, ".gguf"); ok && len(write.Shards) == 1 {
			out = gguf.SplitPath(prefix, 0, 1) // as llama-quantize does with a single file, too
		}
	}
	if write.Job, err = f.job(view, in); err != nil {
		return err
	}
	return writeModel(c, output, out, write)
}

// shardsLike returns how many tensors of the view each file of its source has.
// Files but the first that lost all of theirs are left out.
func shardsLike(file *gguf.File, view *quant.View) []int {
	shards := make([]int, len(file.Paths()))
	for i := range view.Tensors() {
		shards[file.Shard(view.Origin(i))]++
	}
	return append(shards[:1], slices.DeleteFunc(shards[1:], func(n int) bool { return n == 0 })...)
}

// job returns what the bytes of the output depend on besides its header: the program,
// which importances are used, and the files that are read.
func (f quantizeFlags) job(view *quant.View, model string) ([]gguf.Fact, error) {
	facts := []gguf.Fact{
		{What: "program", Is: "ggufkit " + programVersion()},
		{What: "importances", Is: fmt.Sprintf("include %q, exclude %q", f.include, f.exclude)},
	}
	if convert.IsRecipe(model) {
		data, err := os.ReadFile(model)
		if err != nil {
			return nil, err
		}
		facts = append(facts, gguf.Fact{What: "recipe", Is: fmt.Sprintf("SHA-256 %x", sha256.Sum256(data))})
	}
	for _, in := range view.Inputs() {
		path, err := filepath.EvalSymlinks(in.Name())
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, err
		}
		info := in.Input().Info
		facts = append(facts, gguf.Fact{What: path, Is: fmt.Sprintf("%d bytes, modified %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))})
	}
	return facts, nil
}

// viewOptions returns what the flags say, but for the importance matrix.
func (f quantizeFlags) viewOptions(c *cli.Context) (quant.ViewOptions, error) {
	opts := viewOptions(c)
	opts.Metadata = f.metadata
	opts.Recipe = recipe.Options{
		Pure:        c.Bool("pure"),
		LeaveOutput: c.Bool("leave-output-tensor"),
		Overrides:   f.overrides,
		KeepOrder:   c.Bool("keep-split"),
	}
	for name, to := range map[string]**gguf.Type{"output-tensor-type": &opts.Recipe.OutputType, "token-embedding-type": &opts.Recipe.TokenEmbeddingType} {
		if s := c.String(name); s != "" {
			t, err := gguf.ParseType(s)
			if err != nil {
				return opts, usagef(c, "--%s: %w", name, err)
			}
			*to = &t
		}
	}
	if s := c.String("prune-layers"); s != "" {
		for _, layer := range strings.Split(s, ",") {
			n, err := strconv.ParseUint(layer, 10, 31)
			if err != nil {
				return opts, usagef(c, "--prune-layers: %q is not the number of a layer", layer)
			}
			opts.PruneLayers = append(opts.PruneLayers, int(n))
		}
	}
	if v := c.String("compat"); v != recipe.Version {
		return opts, usagef(c, "--compat is %q, only %s is known", v, recipe.Version)
	}
	return opts, nil
}

// openImportance opens the file of --imatrix; it returns nil if there is none.
func openImportance(c *cli.Context, f quantizeFlags) (*imatrix.Matrix, error) {
	if f.include != nil && f.exclude != nil {
		return nil, usagef(c, "--include-weights and --exclude-weights cannot be used together")
	}
	path := c.String("imatrix")
	if path == "" {
		if f.include != nil || f.exclude != nil {
			return nil, usagef(c, "--include-weights and --exclude-weights need --imatrix")
		}
		return nil, nil
	}
	return openMatrix(c, path)
}

func openMatrix(c *cli.Context, path string) (*imatrix.Matrix, error) {
	if err := notStdin(c, "an importance matrix", path); err != nil {
		return nil, err
	}
	return imatrix.Open(path)
}

// selectWeights returns the part of the matrix that --include-weights and
// --exclude-weights leave.
func (f quantizeFlags) selectWeights(c *cli.Context, m *imatrix.Matrix) *imatrix.Matrix {
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

// printNotes says what the user should know but did not ask for.
func printNotes(c *cli.Context, notes []string) {
	if c.Bool("quiet") {
		return
	}
	for _, note := range notes {
		fmt.Fprintln(c.App.ErrWriter, "note:", display.Message(note))
	}
}
