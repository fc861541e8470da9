package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// driftTypes are measured where neither types nor candidates are named.
const driftTypes = "Q8_0,Q6_K,Q5_K_M,Q4_K_M,IQ4_XS,Q3_K_M,Q2_K"

func driftCommand() *cli.Command {
	var texts, candidates []string
	text := one(itself)
	return &cli.Command{
		Name:      "drift",
		Usage:     "how far each way to quantize a model takes it from the original",
		ArgsUsage: "MODEL",
		Description: "Runs the model and all candidates side by side on the texts, and compares what they predict.\n" +
			"Types are quantized on the way; nothing is written but the reports that are asked for.",
		Flags: []cli.Flag{
			textFlag("measure on the text", &texts),
			&cli.StringFlag{Name: "types", Usage: "quantize to file types `A,B,C`; default without candidates: " + driftTypes},
			repeatedFlag("candidate", "measure `MODEL` as it is; may be repeated", &candidates, text),
			imatrixFlag(), requantizeFlag(),
			&cli.StringFlag{Name: "html", Usage: "write a page with charts to `FILE`"},
			&cli.StringFlag{Name: "markdown", Usage: "write tables for a model card to `FILE`"},
			&cli.BoolFlag{Name: "until-separated", Usage: "stop as soon as it is clear which candidate is closer to the original than which"},
			ctxFlag(perplexity.DefaultCtx, "`N` tokens in a window, the second half of which is scored"),
			chunksFlag("run at most `N` windows of each text"),
			computeFlag(), memoryFlag(),
		},
		Action: func(c *cli.Context) error { return measureDrift(c, texts, candidates) },
	}
}

type driftReport struct {
	Model      string           `json:"model"`
	Base       driftBase        `json:"base"`
	Texts      []driftText      `json:"texts"`
	Ctx        int              `json:"ctx"`
	Compute    string           `json:"compute"`
	Imatrix    string           `json:"imatrix,omitempty"`
	Floor      driftFloor       `json:"floor"`
	Candidates []driftCandidate `json:"candidates"`
	Provenance *provenance      `json:"provenance"`

	choice *choiceReport // or nil
	take   string        // the name of the candidate to take, once bySize has found it, or ""
}

type driftBase struct {
	Type            string          `json:"type"`
	Bytes           int64           `json:"bytes"`
	BPW             float64         `json:"bpw"`
	PPL             float64         `json:"ppl"`
	PPLError        *float64        `json:"ppl_error"`
	PPLLow          *float64        `json:"ppl_low"`
	PPLHigh         *float64        `json:"ppl_high"`
	Seconds         float64         `json:"seconds"`
	TokensPerSecond float64         `json:"tokens_per_second"`
	ByText          []driftBaseText `json:"by_text"`
}

type driftBaseText struct {
	File     string   `json:"file"`
	PPL      float64  `json:"ppl"`
	PPLError *float64 `json:"ppl_error"`
	PPLLow   *float64 `json:"ppl_low"`
	PPLHigh  *float64 `json:"ppl_high"`
}

type driftText struct {
	File         string `json:"file"`
	SHA256       string `json:"sha256"`
	Chunks       int    `json:"chunks"`
	ScoredTokens int    `json:"scored_tokens"`
}

// driftFloor is drift.Report.Floor.
type driftFloor struct {
	KLD          float64  `json:"kld_mean"`
	KLDLow       *float64 `json:"kld_low"`
	KLDHigh      *float64 `json:"kld_high"`
	KLDMax       float64  `json:"kld_max"`
	SameTop      float64  `json:"same_top"`
	ScoredTokens int      `json:"scored_tokens"`
}

type driftCandidate struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Bytes int64   `json:"bytes"`
	BPW   float64 `json:"bpw"`
	driftMeasures
	// AboveFloor says whether it is further from the original than the floor, by more than chance.
	AboveFloor bool `json:"above_floor"`
	// Seconds includes quantizing what is quantized on the way, and was not for
	// another candidate.
	Seconds         float64           `json:"seconds"`
	TokensPerSecond float64           `json:"tokens_per_second"`
	ByText          []driftTextResult `json:"by_text"`
}

type driftTextResult struct {
	File string `json:"file"`
	driftMeasures
	// KLDWindows has the mean divergence of each window.
	KLDWindows []float64 `json:"kld_windows"`
}

// driftMeasures are those of drift.Measures. Errors are standard errors, low and high the ends of
// 95 % intervals; null where one window of a text says nothing of them.
type driftMeasures struct {
	PPL            float64  `json:"ppl"`
	PPLError       *float64 `json:"ppl_error"`
	PPLLow         *float64 `json:"ppl_low"`
	PPLHigh        *float64 `json:"ppl_high"`
	PPLRatio       float64  `json:"ppl_ratio"`
	PPLRatioError  *float64 `json:"ppl_ratio_error"`
	PPLRatioLow    *float64 `json:"ppl_ratio_low"`
	PPLRatioHigh   *float64 `json:"ppl_ratio_high"`
	Correlation    *float64 `json:"nll_correlation"` // null where there is none
	KLD            float64  `json:"kld_mean"`
	KLDError       *float64 `json:"kld_error"`
	KLDLow         *float64 `json:"kld_low"`
	KLDHigh        *float64 `json:"kld_high"`
	KLDP50         float64  `json:"kld_p50"`
	KLDP90         float64  `json:"kld_p90"`
	KLDP95         float64  `json:"kld_p95"`
	KLDP99         float64  `json:"kld_p99"`
	KLDP999        float64  `json:"kld_p999"`
	KLDMax         float64  `json:"kld_max"`
	SameTop        float64  `json:"same_top"`
	SameTopError   *float64 `json:"same_top_error"`
	SameTopLow     *float64 `json:"same_top_low"`
	SameTopHigh    *float64 `json:"same_top_high"`
	RMSDeltaP      float64  `json:"rms_delta_p"`
	RMSDeltaPError *float64 `json:"rms_delta_p_error"`
	RMSDeltaPLow   *float64 `json:"rms_delta_p_low"`
	RMSDeltaPHigh  *float64 `json:"rms_delta_p_high"`
	// Router is the mean of that of the layers, null without experts.
	Router *float64     `json:"router_agreement"`
	Layers []driftLayer `json:"layers"`
	// Embedding is the relative error of what goes into the first layer.
	Embedding float64 `json:"embedding_error"`
}

// known returns a figure for JSON, nil if it is NaN.
func known(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

// parts returns the parts of an estimate for JSON.
func parts(e interval.Estimate) (value float64, deviation, low, high *float64) {
	return e.Value, known(e.Error), known(e.Low), known(e.High)
}

// withInterval writes a figure, and its 95 % interval if there is one, in a format for each number.
func withInterval(format string, value float64, low, high *float64) string {
	text := fmt.Sprintf(format, value)
	if low == nil || high == nil {
		return text
	}
	return fmt.Sprintf("%s ("+format+"–"+format+")", text, *low, *high)
}

// percentWithInterval is withInterval for a part of a whole.
func percentWithInterval(value float64, low, high *float64) string {
	if low == nil || high == nil {
		return fmt.Sprintf("%.2f %%", 100*value)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f) %%", 100*value, 100**low, 100**high)
}

type driftLayer struct {
	Layer int `json:"layer"`
	// Hidden is the relative error of what comes out of the layer.
	Hidden float64 `json:"hidden_error"`
	// The parts of the tokens that the router sends to the same experts as the
	// original, and to the same one first. Null without a router.
	SameExperts     *float64 `json:"same_experts"`
	SameFirstExpert *float64 `json:"same_first_expert"`
}

func newDriftMeasures(m drift.Measures) driftMeasures {
	measures := driftMeasures{
		Correlation: known(m.Correlation),
		KLDP50:      m.P50, KLDP90: m.P90, KLDP95: m.P95, KLDP99: m.P99, KLDP999: m.P999, KLDMax: m.Max,
		Embedding: m.Hidden[0],
	}
	measures.PPL, measures.PPLError, measures.PPLLow, measures.PPLHigh = parts(m.PPL)
	measures.PPLRatio, measures.PPLRatioError, measures.PPLRatioLow, measures.PPLRatioHigh = parts(m.Ratio)
	measures.KLD, measures.KLDError, measures.KLDLow, measures.KLDHigh = parts(m.KLD)
	measures.SameTop, measures.SameTopError, measures.SameTopLow, measures.SameTopHigh = parts(m.SameTop)
	measures.RMSDeltaP, measures.RMSDeltaPError, measures.RMSDeltaPLow, measures.RMSDeltaPHigh = parts(m.RMSDeltaP)
	if m.Routing != nil {
		router := m.Router()
		measures.Router = &router
	}
	for i, hidden := range m.Hidden[1:] {
		layer := driftLayer{Layer: i, Hidden: hidden}
		if m.Routing != nil && !math.IsNaN(m.Routing[i].Experts) {
			layer.SameExperts, layer.SameFirstExpert = &m.Routing[i].Experts, &m.Routing[i].First
		}
		measures.Layers = append(measures.Layers, layer)
	}
	return measures
}

func measureDrift(c *cli.Context, files, candidates []string) (err error) {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	types, err := driftFileTypes(c, candidates)
	if err != nil {
		return err
	}
	in, err := openDrift(c, args[0], candidates, files, c.Int("ctx"), "html", "markdown")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	models, err := in.views(c, types)
	if err != nil {
		return about(in.base, err)
	}
	for _, path := range candidates {
		model, err := openModel(c, path)
		if err != nil {
			return err
		}
		defer model.Close()
		models = append(models, drift.Candidate{Name: strings.TrimSuffix(filepath.Base(path), ".gguf"), Source: model})
	}
	report := driftReport{Model: args[0], Ctx: c.Int("ctx"), Compute: in.compute.String(), Imatrix: c.String("imatrix")}
	run, err := newDriftRun(c, &report, in)
	if err != nil {
		return err
	}
	if _, err := run.measure(c, models); err != nil {
		return err
	}
	if report.Provenance, err = in.made.wait(); err != nil {
		return err
	}
	if err := printResults(c, report, report.print, c.String("html"), c.String("markdown")); err != nil {
		return err
	}
	return report.write(c)
}

// driftInput is what candidates are made of.
type driftInput struct {
	base       *model
	importance *imatrix.Matrix // or nil
	compute    infer.Compute
	texts      []textFile
	made       *provenanceInMaking
}

// openDrift checks the flags that drift and choose have in common, outputs among
// them, and opens what they read but for candidates: texts for windows of so many tokens.
// The caller must close it.
func openDrift(c *cli.Context, model string, candidates, files []string, window int, outputs ...string) (in *driftInput, err error) {
	if len(files) == 0 {
		return nil, usagef(c, "a text is needed: --file FILE")
	}
	in = &driftInput{}
	if in.compute, err = infer.ParseCompute(c.String("compute")); err != nil {
		return nil, asUsage(c, err)
	}
	var paths []string
	for _, flag := range outputs {
		paths = append(paths, c.String(flag))
	}
	if err := checkOutputs(c, paths, slices.Concat([]string{model, c.String("imatrix")}, candidates, files)); err != nil {
		return nil, err
	}
	if in.texts, err = readTexts(c, files, window); err != nil {
		return nil, err
	}
	if in.importance, err = openImportance(c, quantizeFlags{}); err != nil {
		return nil, err
	}
	if in.base, err = openModel(c, model); err != nil {
		return nil, errors.Join(err, in.close())
	}
	in.made = newProvenance(c, in.base, in.importance)
	return in, nil
}

func (in *driftInput) close() (err error) {
	if in.made != nil {
		in.made.stop()
	}
	if in.base != nil {
		err = in.base.Close()
	}
	if in.importance != nil {
		err = errors.Join(err, in.importance.Close())
	}
	return err
}

// write writes the files that are asked for.
func (r *driftReport) write(c *cli.Context) error {
	for _, file := range []struct {
		path string
		make func() (string, error)
	}{
		{c.String("html"), r.page},
		{c.String("markdown"), r.markdown},
	} {
		if file.path == "" {
			continue
		}
		content, err := file.make()
		if err != nil {
			return err
		}
		if err := saveReport(c, file.path, content); err != nil {
			return err
		}
	}
	return nil
}

// driftFileTypes returns what to quantize to.
func driftFileTypes(c *cli.Context, candidates []string) ([]recipe.FileType, error) {
	list := c.String("types")
	if list == "" && len(candidates) == 0 {
		list = driftTypes
	}
	return parseFileTypes(c, list)
}

// parseFileTypes reads the names in --types, or its default.
func parseFileTypes(c *cli.Context, list string) ([]recipe.FileType, error) {
	var types []recipe.FileType
	for _, name := range splitList(list) {
		fileType, err := parseFileType(c, strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		types = append(types, fileType)
	}
	return types, nil
}

// views returns the base quantized to each type.
func (in *driftInput) views(c *cli.Context, types []recipe.FileType) ([]drift.Candidate, error) {
	var views []drift.Candidate
	for _, fileType := range types {
		view, err := newView(c, in.base, fileType, quant.ViewOptions{Importance: in.importance})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fileType, err)
		}
		var notes []string
		for _, note := range view.Notes() {
			notes = append(notes, fmt.Sprintf("%s: %s", fileType, note))
		}
		printNotes(c, notes)
		views = append(views, drift.Candidate{Name: fileType.String(), Source: view})
	}
	return views, nil
}

// driftRun measures models on texts, for a report.
type driftRun struct {
	report  *driftReport
	base    gguf.Source
	texts   []drift.Text
	tokens  int // that a model is run on
	options drift.Options
}

// newDriftRun makes tokens of the texts.
func newDriftRun(c *cli.Context, report *driftReport, in *driftInput) (*driftRun, error) {
	texts, err := tokensOf(c, in.base, in.texts, report.Ctx)
	if err != nil {
		return nil, err
	}
	memory, err := engineMemory(c)
	if err != nil {
		return nil, err
	}
	noteContext(c, in.base, report.Ctx)
	for i, text := range in.texts {
		texts[i].Name = textName(text.file)
		report.Texts = append(report.Texts, driftText{File: text.file, SHA256: text.sha256})
	}
	return &driftRun{report: report, base: in.base, texts: texts, tokens: windowTokens(c, texts, report.Ctx), options: drift.Options{
		Options:        perplexity.Options{Ctx: report.Ctx, Chunks: c.Int("chunks")},
		UntilSeparated: c.Bool("until-separated"),
		Engine:         infer.Options{Threads: c.Int("threads"), Compute: in.compute, Memory: memory},
	}}, nil
}

// measure runs models on the texts and adds them to the report.
func (r *driftRun) measure(c *cli.Context, models []drift.Candidate) ([]drift.Result, error) {
	progress := newProgress(c, fmt.Sprintf("measuring %d models", 1+len(models)), tokenRate)
	defer progress.stop()
	options := r.options
	options.Engine.Progress = tokenProgress(progress, r.tokens)
	if _, err := engineOf(r.base, options.Engine); err != nil {
		return nil, err
	}
	for _, m := range models {
		if _, err := engineOf(m.Source, options.Engine); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	measured, err := drift.Measure(c.Context, r.base, models, r.texts, options)
	if err != nil {
		subject := r.base
		for _, m := range models {
			if _, file := m.Source.(*model); file && strings.HasPrefix(err.Error(), "drift: "+m.Name+": ") {
				subject = m.Source
			}
		}
		return nil, about(subject, err)
	}
	sources := []gguf.Source{r.base}
	for _, m := range models {
		sources = append(sources, m.Source)
	}
	if err := gguf.Unchanged(sources...); err != nil {
		return nil, err
	}
	return measured.Candidates, r.report.fill(r.base, models, measured)
}

// fill adds what was measured to the report.
func (r *driftReport) fill(base gguf.Source, models []drift.Candidate, measured *drift.Report) error {
	tokens := 0
	for i, n := range measured.Chunks {
		tokens += n * r.Ctx
		r.Texts[i].Chunks, r.Texts[i].ScoredTokens = n, measured.Base.Texts[i].Tokens
	}
	_, size, err := gguf.Layout(base)
	if err != nil {
		return err
	}
	seconds := measured.Base.Elapsed.Seconds()
	r.Base = driftBase{
		Type: fileTypeName(base), Bytes: size, BPW: bitsPerWeight(base),
		Seconds: seconds, TokensPerSecond: float64(tokens) / seconds,
	}
	r.Base.PPL, r.Base.PPLError, r.Base.PPLLow, r.Base.PPLHigh = parts(measured.Base.Overall.PPL)
	for i, text := range measured.Base.Texts {
		base := driftBaseText{File: r.Texts[i].File}
		base.PPL, base.PPLError, base.PPLLow, base.PPLHigh = parts(text.PPL)
		r.Base.ByText = append(r.Base.ByText, base)
	}
	floor := measured.Floor.Overall
	r.Floor = driftFloor{floor.KLD.Value, known(floor.KLD.Low), known(floor.KLD.High), floor.Max, floor.SameTop.Value, floor.Tokens}
	for i, model := range models {
		_, size, err := gguf.Layout(model.Source)
		if err != nil {
			return fmt.Errorf("%s: %w", model.Name, err)
		}
		result := measured.Candidates[i]
		seconds := result.Elapsed.Seconds()
		candidate := driftCandidate{
			Name: model.Name, Type: fileTypeName(model.Source), Bytes: size, BPW: bitsPerWeight(model.Source),
			driftMeasures: newDriftMeasures(result.Overall), AboveFloor: measured.AboveFloor(result),
			Seconds: seconds, TokensPerSecond: float64(tokens) / seconds,
		}
		for t, text := range result.Texts {
			candidate.ByText = append(candidate.ByText, driftTextResult{r.Texts[t].File, newDriftMeasures(text), result.KLD[t]})
		}
		r.Candidates = append(r.Candidates, candidate)
	}
	return nil
}

// print shows the report on a terminal.
func (r *driftReport) print(w io.Writer) {
	if r.choice != nil {
		r.choice.table(w).Render()
		fmt.Fprintln(w)
		for _, line := range slices.Concat(r.choice.Summary, r.choice.Terms) {
			printText(w, line)
		}
		fmt.Fprintln(w)
	}
	sorted := r.bySize()
	sorted.overview(w).Render()
	if len(r.Texts) > 1 {
		fmt.Fprintln(w)
		sorted.textTable(w).Render()
	}
	fmt.Fprintln(w)
	for _, line := range r.method() {
		printText(w, line)
	}
}

// overview has a row for the base and one for each candidate.
func (r *driftReport) overview(w io.Writer) table.Writer {
	columns := []string{"model", "size", "bits per weight", "perplexity", "ratio to the original", "mean KL divergence", "99 %", "same top token", "RMS Δp"}
	routed := len(r.Candidates) > 0 && r.Candidates[0].Router != nil
	if routed {
		columns = append(columns, "same experts")
	}
	t := newTable(w, columns, columns[1:]...).spare("same experts", "RMS Δp", "99 %", "same top token", "bits per weight", "ratio to the original", "perplexity")
	t.AppendRow(table.Row{"the original, " + r.Base.Type, bytesText(r.Base.Bytes), fmt.Sprintf("%.2f", r.Base.BPW), fmt.Sprintf("%.3f", r.Base.PPL)})
	for _, c := range r.Candidates {
		row := table.Row{
			c.Name, bytesText(c.Bytes), fmt.Sprintf("%.2f", c.BPW),
			fmt.Sprintf("%.3f", c.PPL),
			withInterval("%.4f", c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh),
			withInterval("%.5f", c.KLD, c.KLDLow, c.KLDHigh), fmt.Sprintf("%.4f", c.KLDP99),
			percentWithInterval(c.SameTop, c.SameTopLow, c.SameTopHigh),
			fmt.Sprintf("%.2f %%", 100*c.RMSDeltaP),
		}
		if routed {
			row = append(row, fmt.Sprintf("%.2f %%", 100**c.Router))
		}
		t.AppendRow(row)
	}
	return t
}

// textTable has the divergence of each candidate on each text.
func (r *driftReport) textTable(w io.Writer) table.Writer {
	columns := []string{"mean KL divergence"}
	for _, text := range r.Texts {
		columns = append(columns, textName(text.File))
	}
	t := newTable(w, columns, columns[1:]...)
	for _, c := range r.Candidates {
		row := table.Row{c.Name}
		for _, text := range c.ByText {
			row = append(row, withInterval("%.5f", text.KLD, text.KLDLow, text.KLDHigh))
		}
		t.AppendRow(row)
	}
	return t
}

// intervals says what the intervals are.
func (r *driftReport) intervals() string {
	for _, text := range r.Texts {
		if text.Chunks < 2 {
			return fmt.Sprintf("There are no intervals of all texts: %s has only one window, which does not say how much windows differ.", filepath.Base(text.File))
		}
	}
	return "In brackets: 95 % intervals for text like this, made of the windows, since the tokens of a window are not independent."
}

// floor says what the arithmetic alone makes of the original, and who is not above that.
func (r *driftReport) floor() string {
	if r.Compute == infer.Exact.String() {
		return fmt.Sprintf("Noise floor: the original run a second time has a KL divergence of %.2g over %d tokens.", r.Floor.KLD, r.Floor.ScoredTokens)
	}
	says := fmt.Sprintf("Noise floor: rounding to 8 bits in all products takes the original %s from itself computed exactly, over %d tokens.",
		withInterval("%.5f", r.Floor.KLD, r.Floor.KLDLow, r.Floor.KLDHigh), r.Floor.ScoredTokens)
	var within []string
	for _, c := range r.Candidates {
		if !c.AboveFloor {
			within = append(within, c.Name)
		}
	}
	if len(within) > 0 {
		says += fmt.Sprintf(" Not above that by more than chance: %s.", strings.Join(within, ", "))
	}
	return says
}

// method says how the figures were measured, a sentence each.
func (r *driftReport) method() []string {
	scored, chunks := 0, 0
	var names []string
	for _, text := range r.Texts {
		scored += text.ScoredTokens
		chunks += text.Chunks
		names = append(names, fmt.Sprintf("%s (SHA-256 %.12s)", filepath.Base(text.File), text.SHA256))
	}
	weights := "without importance matrix"
	if r.Imatrix != "" {
		weights = "with importance matrix " + filepath.Base(r.Imatrix)
	}
	return []string{
		fmt.Sprintf("%d scored tokens, the second halves of %d windows of %d, of %s.", scored, chunks, r.Ctx, strings.Join(names, ", ")),
		fmt.Sprintf("%s compute; types quantized %s.", r.Compute, weights),
		r.intervals(),
		r.floor(),
	}
}
