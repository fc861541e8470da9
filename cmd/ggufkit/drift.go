package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// driftTypes are measured where neither types nor candidates are named.
const driftTypes = "Q8_0,Q6_K,Q5_K_M,Q4_K_M,IQ4_XS,Q3_K_M,Q2_K"

type driftFlags struct {
	compareFlags
	keepFlags
	planFlags
	reference      string
	candidates     []string
	untilSeparated bool
	recipes        []recipe.File
	recipeFiles    []string
	logits         string // with what a model has predicted
	saveLogits     string
}

func driftCommand() *cli.Command {
	var f driftFlags
	return &cli.Command{
		Name:      "drift",
		Usage:     "how far each way to quantize a model takes it from the original",
		ArgsUsage: "MODEL",
		Description: "Runs the model and all candidates side by side on the texts, and compares what they predict.\n" +
			"Types are quantized on the way; nothing is written but the reports that are asked for.\n" +
			"A text may be a file of conversations, JSON with messages in each line (or ShareGPT's conversations): each\n" +
			"is a window, written with the model's chat template.\n" +
			"Candidates may be packed checkpoints: directories of GPTQ, AWQ and so on. So may the model be, or the\n" +
			"--reference, if the original is gone: the report then says what they are compared with.",
		Flags: []cli.Flag{
			f.textFlag("measure on the text"),
			&cli.StringFlag{Name: "types", Usage: "quantize to file types `A,B,C`; default without candidates: " + driftTypes, Destination: &f.types},
			repeatedFlag("candidate", "measure `MODEL` as it is; may be repeated", &f.candidates, one(itself)),
			repeatedFlag("recipe-file", "measure what a recipe of types in `FILE` makes of the model; may be repeated", &f.recipes, f.readRecipe),
			&cli.StringFlag{Name: "reference", Usage: "compare with `MODEL`, and not with the argument, which is measured, too, if it is given",
				Destination: &f.reference},
			&cli.StringFlag{Name: "logits", Usage: "compare with the predictions in `FILE`, of llama-perplexity --kl-divergence-base or --save-logits, and with no model", Destination: &f.logits},
			&cli.StringFlag{Name: "save-logits", Usage: "keep what the original predicts in `FILE`, for --logits and llama-perplexity --kl-divergence", Destination: &f.saveLogits},
			imatrixFlag(&f.imatrix), requantizeFlag(&f.requantize),
			f.htmlFlag(), f.markdownFlag(),
			&cli.BoolFlag{Name: "until-separated", Usage: "stop as soon as it is clear which candidate is closer to the original than which",
				Destination: &f.untilSeparated},
			f.windowFlag("`N` tokens in a window, the second half of which is scored"), f.scoreFlag(),
			chunksFlag(&f.chunks, "run at most `N` windows of each text"),
			computeFlag(&f.compute), memoryFlag(&f.memory), f.resultsFlag(), f.partFlag(), f.dryRunFlag(), f.ratesFlag(),
		},
		Action: action(func(c *call) error { return measureDrift(c, f) }),
	}
}

// readRecipe reads a recipe of types, which has to say of which type it is.
func (f *driftFlags) readRecipe(path string) ([]recipe.File, error) {
	file, err := readRecipe(path)
	if err == nil && file.Type == recipe.Copy {
		err = fmt.Errorf("%s does not say of which type it is, such as #type:q4_k_m=f32", path)
	}
	f.recipeFiles = append(f.recipeFiles, path)
	return []recipe.File{file}, err
}

// models returns what is compared with, and what types are quantized from.
func (f *driftFlags) models(c *call) (reference, source string, err error) {
	if f.reference != "" && len(c.args) == 0 {
		return f.reference, f.reference, nil
	}
	args, err := c.arguments("MODEL")
	if err != nil {
		return "", "", err
	}
	return cmp.Or(f.reference, args[0]), args[0], nil
}

func measureDrift(c *call, f driftFlags) (err error) {
	if f.dir != "" && (f.untilSeparated || f.saveLogits != "" || f.logits != "") {
		return c.usagef("--results keeps figures of each window, so that --until-separated, --save-logits and --logits cannot be with it")
	}
	if f.logits != "" {
		return measureAgainstLogits(c, f)
	}
	if f.saveLogits != "" && f.untilSeparated {
		return c.usagef("--save-logits keeps the whole text, so --until-separated cannot end before")
	}
	reference, source, err := f.models(c)
	if err != nil {
		return err
	}
	candidates := f.candidates
	if source != reference {
		candidates = append([]string{source}, candidates...)
	}
	list := f.types
	if list == "" && len(candidates) == 0 && f.recipes == nil {
		list = driftTypes
	}
	types, err := parseFileTypes(c, list)
	if err != nil {
		return err
	}
	f.headersOnly = f.dryRun
	in, err := f.open(c, reference, append(slices.Clip(candidates), f.recipeFiles...), f.saveLogits)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	var models []drift.Candidate
	for i, name := range candidateNames(candidates) {
		model, err := openModel(c, candidates[i])
		if err != nil {
			return err
		}
		defer model.Close()
		if f.dryRun {
			withoutData(model)
		}
		if candidates[i] == source {
			in.source = model
		}
		models = append(models, drift.Candidate{Name: name, Source: model})
	}
	views, err := in.views(c, types, f.recipes...)
	if err != nil {
		return about(in.source, err)
	}
	models = append(views, models...)
	measured := f.report(reference)
	run, err := newDriftRun(c, measured, in)
	if err != nil {
		return err
	}
	if f.dryRun {
		return f.plan(c, run, models, in)
	}
	run.options.UntilSeparated = f.untilSeparated
	logits, err := f.openLogits(c, run)
	if err != nil {
		return err
	}
	if logits != nil {
		defer func() { err = errors.Join(err, logits.Discard()) }()
	}
	if run.options.Results, err = f.place(c, in.hashing, f.compute, in.kept(models)...); err != nil {
		return err
	}
	if _, err := run.measure(c, models); err != nil {
		return partDone(c, err)
	}
	if measured.Provenance, err = in.hashing.Wait(); err != nil {
		return err
	}
	if logits != nil {
		if err := logits.Publish(); err != nil {
			return err
		}
	}
	if err := printResults(c, measured, measured.Print, f.html, f.markdown); err != nil {
		return err
	}
	return f.save(c, measured)
}

// plan says what there is to do.
func (f *driftFlags) plan(c *call, run *driftRun, models []drift.Candidate, in *driftInput) error {
	planned, err := drift.Plan(run.base, models, run.texts, f.part, run.options)
	if err != nil {
		return about(run.base, err)
	}
	var names []string
	for _, m := range models {
		names = append(names, m.Name)
	}
	return f.show(c, in.base, &f.textFlags, f.part, planned, in.importance != nil, names...)
}

// candidateNames returns a name for each of several models: that of its file or directory, with those of
// the directories above it as far as they are needed to tell them apart.
func candidateNames(paths []string) []string {
	names := make([]string, len(paths))
	for i, path := range paths {
		path = filepath.ToSlash(absolute(path))
		parts := strings.Split(strings.TrimSuffix(path, ".gguf"), "/")
		same := func(n int) bool {
			return slices.ContainsFunc(paths, func(other string) bool {
				other = filepath.ToSlash(absolute(other))
				return other != path && strings.HasSuffix("/"+strings.TrimSuffix(other, ".gguf"), "/"+strings.Join(parts[len(parts)-n:], "/"))
			})
		}
		n := 1
		for n < len(parts) && same(n) {
			n++
		}
		names[i] = strings.Join(parts[len(parts)-n:], "/")
	}
	return names
}
