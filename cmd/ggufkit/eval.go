package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/eval"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant/isa"
)

type evalFlags struct {
	keepFlags
	tasks, candidates       []string
	data, samples           string
	profile                 *eval.Profile
	shots                   int
	limit                   float64
	seed                    *uint64
	bos                     *bool
	maxLength, maxTokens    int
	template, multiturn     bool
	system                  string
	types, imatrix          string
	requantize              bool
	compute                 infer.Compute
	memory                  int64
	logSamples              bool
	resume                  string
	output, markdown, html  string
	modelIndex, modelSource string
}

func evalCommand() *cli.Command {
	f := evalFlags{profile: eval.DefaultProfile()}
	return &cli.Command{
		Name:      "eval",
		Usage:     "how well a model answers, as lm-evaluation-harness scores it",
		ArgsUsage: "MODEL",
		Description: "Asks what the harness asks, to the token, and scores it by its rules: those of the Open LLM Leaderboard\n" +
			"(openllm-v1), of the Nous suite (nous), or of today (lm-eval-0.4). Documents are read from --data, where\n" +
			"files have the names and fields of the hub's data sets: DIR/arc_easy/test.jsonl. --tasks list shows all.\n" +
			"With --types or --candidate, other forms of the model answer the same, and differences are paired.",
		Flags: []cli.Flag{
			repeatedFlag("tasks", "evaluate tasks and groups `A,B:N`, each after N examples; list shows them", &f.tasks, list, "task"),
			parsedFlag("profile", f.profile.Name, "follow the rules of `NAME`: openllm-v1, nous or lm-eval-0.4", &f.profile, eval.FindProfile),
			&cli.StringFlag{Name: "data", Usage: "read documents from `DIR`", EnvVars: []string{"GGUFKIT_EVAL_DATA"}, Destination: &f.data},
			&cli.IntFlag{Name: "num-fewshot", Usage: "show `N` examples before each document; -1 is what the profile has", Value: -1, Destination: &f.shots,
				Action: atLeast("num-fewshot", -1)},
			&cli.Float64Flag{Name: "limit", Usage: "evaluate `N` documents of each task, or such a part if it is below 1", Destination: &f.limit, Action: above0("limit")},
			parsedFlag("seed", "", "draw examples with seed `N`", &f.seed, evalSeed),
			&cli.StringFlag{Name: "samples", Usage: "evaluate the documents that `FILE` names: JSON {\"task\": [number, ...]}", Destination: &f.samples},
			parsedFlag("bos", "auto", "begin texts with a BOS token: auto, on or off", &f.bos, evalBOS),
			&cli.IntFlag{Name: "max-length", Usage: "let the model see `N` tokens; 0 is what it was made for", Destination: &f.maxLength, Action: atLeast("max-length", 0)},
			&cli.IntFlag{Name: "max-gen-tokens", Usage: "generate at most `N` tokens; 0 is what the profile has", Destination: &f.maxTokens,
				Action: atLeast("max-gen-tokens", 0)},
			&cli.BoolFlag{Name: "apply-chat-template", Usage: "ask in conversations, written with the model's template", Destination: &f.template},
			&cli.BoolFlag{Name: "fewshot-as-multiturn", Usage: "with --apply-chat-template: each example is a turn", Destination: &f.multiturn},
			&cli.StringFlag{Name: "system-instruction", Usage: "say `TEXT` first", Destination: &f.system},
			&cli.StringFlag{Name: "types", Usage: "also evaluate file types `A,B,C`", Destination: &f.types},
			repeatedFlag("candidate", "also evaluate `MODEL`; may be repeated", &f.candidates, one(itself)),
			imatrixFlag(&f.imatrix), requantizeFlag(&f.requantize),
			&cli.BoolFlag{Name: "log-samples", Usage: "show each document in JSON, with what was asked and answered", Destination: &f.logSamples},
			f.resultsFlag(), f.partFlag(),
			&cli.StringFlag{Name: "resume", Usage: "keep answers in `FILE` as they come, a line for each document, and take those that are there", Destination: &f.resume},
			&cli.StringFlag{Name: "output", Usage: "write the results as JSON to `FILE`", Destination: &f.output},
			&cli.StringFlag{Name: "markdown", Usage: "write tables for a model card to `FILE`", Destination: &f.markdown},
			&cli.StringFlag{Name: "html", Usage: "write a page with charts to `FILE`", Destination: &f.html},
			&cli.StringFlag{Name: "model-index", Usage: "write the leaderboard's scores as front matter of a card to `FILE`", Destination: &f.modelIndex},
			&cli.StringFlag{Name: "source-url", Usage: "say in --model-index that the scores are from `URL`", Destination: &f.modelSource},
			computeFlag(&f.compute), memoryFlag(&f.memory),
		},
		Action: action(func(c *call) error { return evaluate(c, f) }),
	}
}

func evalSeed(s string) (*uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	return &n, err
}

// evalBOS is a parser of whether there is a BOS token; nil is auto.
func evalBOS(s string) (*bool, error) {
	on := s == "on"
	switch s {
	case "auto":
		return nil, nil
	case "on", "off":
		return &on, nil
	}
	return nil, fmt.Errorf("--bos is %q, not auto, on or off", s)
}

func evaluate(c *call, f evalFlags) (err error) {
	if slices.Contains(f.tasks, "list") {
		return listTasks(c, f.profile)
	}
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	switch {
	case len(f.tasks) == 0:
		return c.usagef("--tasks is needed; --tasks list shows what there is")
	case f.resume != "" && f.dir != "":
		return c.usagef("--results and --resume both say where answers are kept: one is enough")
	case f.multiturn && !f.template:
		return c.usagef("--fewshot-as-multiturn needs --apply-chat-template")
	}
	selections, err := f.profile.Select(f.tasks, f.shots)
	if err != nil {
		return c.usagef("%v", err)
	}
	if f.data == "" && slices.ContainsFunc(selections, func(s eval.Selection) bool { return s.Task.NeedsData() }) {
		return c.usagef("--data is needed: the directory that documents are read from")
	}
	outputs := []string{f.output, f.markdown, f.html, f.modelIndex}
	if err := checkOutputs(c, outputs, slices.Concat([]string{args[0], f.imatrix, f.samples}, f.candidates)); err != nil {
		return err
	}
	run, err := f.open(c, args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	result, err := run.report(c, f, selections)
	if err != nil {
		return partDone(c, about(run.in.base, err))
	}
	if err := f.save(c, result); err != nil {
		return err
	}
	return printResults(c, result, result.Print, outputs...)
}

// listTasks shows the tasks of a profile.
func listTasks(c *call, profile *eval.Profile) error {
	type row struct {
		Task   string       `json:"task"`
		Groups []string     `json:"groups"`
		Shots  int          `json:"num_fewshot"`
		Data   eval.DataSet `json:"data"`
	}
	var rows []row
	for _, t := range profile.Tasks() {
		rows = append(rows, row{t.Name, t.Groups, t.Shots, t.Data})
	}
	return printResults(c, rows, func(w io.Writer) {
		t := display.NewTable(w, []string{"task", "groups", "examples", "folder of --data", "data set of the hub"}, "examples")
		for _, r := range rows {
			t.AppendRow(table.Row{r.Task, strings.Join(r.Groups, ", "), r.Shots, r.Data.Folder, strings.TrimSpace(r.Data.Hub + " " + r.Data.Configuration)})
		}
		t.Render()
	})
}

// evalRun is what is evaluated.
type evalRun struct {
	in         *driftInput
	candidates []drift.Candidate
	closers    []io.Closer
	engines    []*infer.Model
	kept       *results.Place // or nil
	lines      *eval.Lines    // or nil
}

func (f *evalFlags) open(c *call, path string) (run *evalRun, err error) {
	limitMemory(&f.memory)
	run = &evalRun{in: &driftInput{requantize: f.requantize, engine: infer.Options{Threads: c.threads, Compute: f.compute, Memory: f.memory}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, run.close())
		}
	}()
	if run.in.importance, err = openImportance(c, f.imatrix); err != nil {
		return run, err
	}
	if run.in.base, err = openModel(c, path); err != nil {
		return run, err
	}
	run.in.source = run.in.base
	run.in.hashing = newProvenance(c, run.in.base, run.in.importance)
	types, err := parseFileTypes(c, f.types)
	if err != nil {
		return run, err
	}
	if run.candidates, err = run.in.views(c, types); err != nil {
		return run, about(run.in.base, err)
	}
	for i, name := range candidateNames(f.candidates) {
		model, err := openModel(c, f.candidates[i])
		if err != nil {
			return run, err
		}
		run.closers = append(run.closers, model)
		run.candidates = append(run.candidates, drift.Candidate{Name: name, Source: model})
	}
	base, err := engineOf(run.in.base, run.in.engine)
	if err != nil {
		return run, err
	}
	run.engines = append(run.engines, base)
	for _, candidate := range run.candidates {
		engine, err := engineOf(candidate.Source, run.in.engine)
		if err != nil {
			return run, fmt.Errorf("%s: %w", candidate.Name, err)
		}
		run.engines = append(run.engines, engine)
	}
	return run, run.keep(c, f)
}

// keep finds the place where answers are kept.
func (r *evalRun) keep(c *call, f *evalFlags) (err error) {
	models := r.in.kept(r.candidates)
	if f.resume == "" {
		r.kept, err = f.place(c, r.in.hashing, f.compute, models...)
		return err
	}
	file, err := files.OpenNamed(f.resume, true, 0o666)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, file)
	if err := files.Lock(file); err != nil {
		return fmt.Errorf("%s: %w", f.resume, err)
	}
	place, err := resultsOf(c, r.in.hashing, f.compute, models...)
	if err != nil {
		return err
	}
	r.lines = &eval.Lines{File: file, Facts: place.Facts, Restart: c.force}
	return nil
}

func (r *evalRun) sources() []gguf.Source {
	sources := []gguf.Source{r.in.base}
	for _, candidate := range r.candidates {
		sources = append(sources, candidate.Source)
	}
	return sources
}

func (r *evalRun) close() (err error) {
	for _, closer := range r.closers {
		err = errors.Join(err, closer.Close())
	}
	return errors.Join(err, r.in.close())
}

// report evaluates all.
func (r *evalRun) report(c *call, f evalFlags, selections []eval.Selection) (*report.Eval, error) {
	meta := r.in.base.Metadata()
	opts := eval.Options{BOS: f.bos, MaxLength: f.maxLength, MaxTokens: f.maxTokens, LogSamples: f.logSamples, Results: r.kept, Lines: r.lines}
	opts.Prompts = eval.Prompts{Limit: f.limit, Seed: f.seed, Multiturn: f.multiturn, System: f.system}
	if opts.MaxLength == 0 {
		opts.MaxLength = infer.ContextLength(meta)
	}
	result := &report.Eval{
		Model: r.in.base.path, Profile: f.profile.Name, Harness: f.profile.Harness, Compute: f.compute.String(), Seed: f.profile.Seed,
		Samples: f.samples != "", System: f.system, Imatrix: f.imatrix, Version: programVersion(), ISA: isa.Current().String(),
	}
	if f.seed != nil {
		result.Seed = *f.seed
	}
	if f.limit > 0 {
		result.Limit = &f.limit
	}
	if f.samples != "" {
		text, err := readText(f.samples, maxText)
		if err == nil {
			err = json.Unmarshal([]byte(text.data), &opts.Samples)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.samples, err)
		}
	}
	if f.template {
		template, err := chat.New(meta)
		if err != nil {
			return nil, err
		}
		opts.Template, result.Chat = template, "single"
		if f.multiturn {
			result.Chat = "multiturn"
		}
	}
	vocab, err := vocabularyOf(r.in.base)
	if err != nil {
		return nil, err
	}
	progress := newProgress(c, "evaluating", func(perSecond float64) string { return fmt.Sprintf("%.1f documents/s", perSecond) })
	defer progress.stop()
	var running eval.Running
	progress.at = func(int64) string {
		return fmt.Sprintf("score %.1f ± %.1f", 100*running.Mean, 100*running.Stderr)
	}
	opts.Progress = func(done, total int, now eval.Running) {
		running = now
		progress.update(int64(done), int64(total))
	}
	data := &eval.Data{Dir: f.data}
	found, err := f.profile.Run(c.ctx, r.engines, vocab, selections, data, opts)
	if err != nil {
		return nil, err
	}
	if err := gguf.Unchanged(r.sources()...); err != nil {
		return nil, err
	}
	names := make([]string, len(r.candidates))
	for i, candidate := range r.candidates {
		names[i] = candidate.Name
	}
	if err := result.Add(found, r.in.base, names, r.sources()[1:]); err != nil {
		return nil, err
	}
	provenance, err := r.in.hashing.Wait()
	if err != nil {
		return nil, err
	}
	result.DataSHA256, result.ModelSHA256 = data.Files, cmp.Or(provenance.Model.FileSHA256, provenance.Model.DataSHA256, provenance.Model.PinSHA256)
	return result, nil
}

// save writes what is asked for.
func (f *evalFlags) save(c *call, r *report.Eval) error {
	for _, out := range []struct {
		path  string
		write func() (string, error)
	}{
		{f.output, func() (string, error) {
			data, err := json.MarshalIndent(r, "", "  ")
			return string(data) + "\n", err
		}},
		{f.markdown, func() (string, error) { return r.Markdown(), nil }},
		{f.html, r.Page},
		{f.modelIndex, func() (string, error) { return r.ModelIndex(f.modelSource) }},
	} {
		if out.path == "" {
			continue
		}
		content, err := out.write()
		if err != nil {
			return err
		}
		if err := saveReport(c, out.path, content); err != nil {
			return err
		}
	}
	return nil
}
