package report

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// ModelCard is the README.md of a repository of models: what the files are, where they come from, how they were made, and what was
// measured of them.
type ModelCard struct {
	Files []*CardFile `json:"files"` // one at least, of the same model
	// Repository is where they will be on the hub, OWNER/NAME, or "".
	Repository string `json:"repository,omitempty"`
	// BaseModels are the hub's names of what the files were made of. If there is none, the metadata say it.
	BaseModels []string    `json:"base_model,omitempty"`
	Drift      *CardDrift  `json:"-"` // or nil
	Evals      []*CardEval `json:"-"`
	Mixture    *moe.Recipe `json:"-"` // that the model was merged by, or nil
	TypeFile   string      `json:"-"` // the types of tensors, as quantize takes them, or ""
	Prompt     string      `json:"-"` // a conversation as the model reads it, or ""
	Fit        *Fit        `json:"-"` // what running takes beside the files, or nil
	Version    string      `json:"ggufkit"`

	modelfile bool // there is one beside the card
}

// NewModelCard returns the card of files of a model, without what was measured.
func NewModelCard(ctx context.Context, version string, files ...*CardFile) (*ModelCard, error) {
	c := &ModelCard{Files: slices.Clone(files), Version: version}
	slices.SortStableFunc(c.Files, func(a, b *CardFile) int { return cmp.Compare(b.FileBytes, a.FileBytes) })
	for _, f := range files[1:] {
		if f.parameters != files[0].parameters || f.text("general.architecture") != files[0].text("general.architecture") {
			return nil, fmt.Errorf("%s and %s are not the same model: %s parameters of %s, and %s of %s", files[0].Name, f.Name,
				display.Count(files[0].parameters), display.Name(files[0].text("general.architecture")),
				display.Count(f.parameters), display.Name(f.text("general.architecture")))
		}
	}
	c.Prompt = files[0].prompt(ctx)
	return c, ctx.Err()
}

// prompt is a question as the model reads it, "" if there is no template, or none that can be shown.
func (f *CardFile) prompt(ctx context.Context) string {
	template, err := chat.New(f.meta)
	if err != nil {
		return ""
	}
	user := chat.Message{Role: "user", Content: "{prompt}"}
	prompt, err := template.Render(ctx, []chat.Message{{Role: "system", Content: "{system_prompt}"}, user})
	if err != nil || !strings.Contains(prompt, "{system_prompt}") {
		prompt, err = template.Render(ctx, []chat.Message{user})
	}
	const longest = 4000
	if err != nil || len(prompt) > longest {
		return ""
	}
	return prompt
}

// AddDrift adds what was measured by drift or choose. The error is for that of another model.
func (c *ModelCard) AddDrift(d *CardDrift) error {
	if p := d.raw.Provenance; p != nil && p.Model.Parameters != c.Files[0].parameters {
		return c.another(p.Model.Parameters)
	}
	c.Drift = d
	return nil
}

// AddEval adds scores. The error is for those of another model.
func (c *ModelCard) AddEval(e *CardEval) error {
	if e.raw.Parameters != c.Files[0].parameters {
		return c.another(e.raw.Parameters)
	}
	c.Evals = append(c.Evals, e)
	return nil
}

func (c *ModelCard) another(parameters int64) error {
	return fmt.Errorf("it is of another model: %d parameters, %s has %d", parameters, c.Files[0].Name, c.Files[0].parameters)
}

// Notes says what a card lacks that people look for.
func (c *ModelCard) Notes() []string {
	var notes []string
	if c.Files[0].text("general.license") == "" {
		notes = append(notes, "the model does not say under which licence it is")
	}
	if len(c.origins()) == 0 {
		notes = append(notes, "the model does not say what it was made of: --base-model does")
	}
	for _, f := range c.Files {
		if c.Drift != nil && c.drifted(f) == nil && f.QuantizedBPW != nil {
			notes = append(notes, "there are no figures of drift for "+f.Name)
		}
	}
	return notes
}

// Markdown returns the card, front matter first.
func (c *ModelCard) Markdown() (string, error) {
	front, err := c.frontMatter()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "---\n%s---\n\n", front)
	c.introduce(&b)
	c.listFiles(&b)
	c.fits(&b)
	c.run(&b)
	c.drift(&b)
	c.scores(&b)
	c.making(&b)
	c.provenance(&b)
	return b.String(), nil
}

// isGGUF reports whether the files are GGUF files.
func (c *ModelCard) isGGUF() bool { return c.Files[0].Format == ggufFormat }

func (c *ModelCard) frontMatter() ([]byte, error) {
	first := c.Files[0]
	var front yaml.MapSlice
	add := func(key string, value any) { front = append(front, yaml.MapItem{Key: key, Value: value}) }
	texts := func(key string, list []string) {
		if len(list) > 0 {
			add(key, list)
		}
	}
	text := func(key, value string) {
		if value != "" {
			add(key, value)
		}
	}
	texts("base_model", c.origins())
	if c.isGGUF() && c.knowsSource() && slices.ContainsFunc(c.Files, func(f *CardFile) bool { return f.QuantizedBPW != nil }) {
		add("base_model_relation", "quantized")
	}
	texts("datasets", hubNames(first.origins("dataset"), "https://huggingface.co/datasets/"))
	texts("language", first.texts("general.languages"))
	if !c.isGGUF() {
		add("library_name", "transformers")
	}
	text("license", first.text("general.license"))
	text("license_name", first.text("general.license.name"))
	text("license_link", first.text("general.license.link"))
	add("pipeline_tag", first.pipeline())
	if owner, _, ok := strings.Cut(c.Repository, "/"); ok && c.isGGUF() {
		add("quantized_by", owner)
	}
	add("tags", c.tags())
	if entries := c.modelIndex(); len(entries) > 0 {
		add("model-index", entries)
	}
	return yaml.Marshal(front)
}

// pipelines are the tasks of the hub that converters put among the tags.
var pipelines = []string{
	"text-generation", "feature-extraction", "sentence-similarity", "fill-mask", "text-classification", "text-ranking", "translation", "summarization",
	"text2text-generation", "image-text-to-text", "audio-text-to-text", "video-text-to-text", "any-to-any",
}

// pipeline returns what the model is for, in the hub's words.
func (f *CardFile) pipeline() string {
	for _, tag := range f.texts("general.tags") {
		if slices.Contains(pipelines, tag) {
			return tag
		}
	}
	if f.encodes() {
		return "feature-extraction"
	}
	return "text-generation"
}

// encodes reports whether the model makes vectors of texts, and does not continue them.
func (f *CardFile) encodes() bool {
	_, err := f.meta.Uint(f.text("general.architecture") + ".pooling_type")
	causal, errCausal := gguf.Value[bool](f.meta, f.text("general.architecture")+".attention.causal")
	return err == nil || errCausal == nil && !causal
}

func (c *ModelCard) tags() []string {
	tags := slices.DeleteFunc(c.Files[0].texts("general.tags"), func(tag string) bool { return slices.Contains(pipelines, tag) })
	if c.Mixture != nil {
		tags = append(tags, "merge", "moe")
	}
	if c.isGGUF() {
		tags = append(tags, "gguf")
	}
	if slices.ContainsFunc(c.Files, func(f *CardFile) bool { return f.imatrix() != "" }) {
		tags = append(tags, "imatrix")
	}
	tags = append(tags, "ggufkit")
	var once []string
	for _, tag := range tags {
		if !slices.Contains(once, tag) {
			once = append(once, tag)
		}
	}
	return once
}

// source is where the model was before it was converted, as far as its metadata say.
func (f *CardFile) source() string {
	return cmp.Or(f.text("general.source.huggingface.repository"), f.text("general.source.repo_url"), f.text("general.source.url"))
}

// knowsSource reports whether it is known what the files themselves were made of, and not only what that was made of.
func (c *ModelCard) knowsSource() bool {
	return len(c.BaseModels) > 0 || len(hubNames([]cardOrigin{{address: c.Files[0].source()}}, hub)) > 0
}

// origins returns the hub's names of what the files were made of: as the user says, else as the metadata say, else what that was
// made of, or merged of.
func (c *ModelCard) origins() []string {
	if len(c.BaseModels) > 0 {
		return c.BaseModels
	}
	first := c.Files[0]
	if names := hubNames([]cardOrigin{{address: first.source()}}, hub); len(names) > 0 {
		return names
	}
	if names := hubNames(first.origins("base_model"), hub); len(names) > 0 || c.Mixture == nil {
		return names
	}
	var donors []cardOrigin
	for _, model := range c.Mixture.Models() {
		donors = append(donors, cardOrigin{address: model})
	}
	return hubNames(donors, hub)
}

const hub = "https://huggingface.co/"

var hubName = regexp.MustCompile(`^[\w.-]+/[\w.-]+$`)

// IsHubName reports whether a text is the name of a repository of the hub, OWNER/NAME.
func IsHubName(s string) bool { return hubName.MatchString(s) && !strings.HasPrefix(s, ".") }

// hubNames returns the names of those origins that are on the hub, each once.
func hubNames(origins []cardOrigin, at string) []string {
	var names []string
	for _, o := range origins {
		name := strings.TrimSuffix(strings.TrimPrefix(o.address, at), "/")
		if IsHubName(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// modelIndex has the leaderboard's scores of the files that were evaluated, on all documents.
func (c *ModelCard) modelIndex() []any {
	var entries []any
	for _, f := range c.Files {
		results := []any{}
		for _, e := range c.Evals {
			if form := c.form(e, f); form != nil && !e.raw.Partial() {
				results = append(results, form.boardResults("")...)
			}
		}
		if len(results) > 0 {
			entries = append(entries, yaml.MapSlice{{Key: "name", Value: display.Name(f.stem())}, {Key: "results", Value: results}})
		}
	}
	return entries
}

// drifted returns what was measured of a file, or nil.
func (c *ModelCard) drifted(f *CardFile) *Candidate {
	if c.Drift == nil {
		return nil
	}
	for i, candidate := range c.Drift.raw.Candidates {
		if f.is(candidate.Name, candidate.BPW, c.Drift.raw.Imatrix) {
			return &c.Drift.raw.Candidates[i]
		}
	}
	return nil
}

// form returns the scores of a file, or nil.
func (c *ModelCard) form(e *CardEval, f *CardFile) *evalForm {
	forms := e.raw.forms()
	if display.Stem(e.raw.Model) == f.stem() {
		return &forms[0]
	}
	for i, candidate := range e.raw.Candidates {
		if f.is(candidate.Name, candidate.BPW, e.raw.Imatrix) {
			return &forms[i+1]
		}
	}
	return nil
}

// is reports whether the file is a candidate: by name; or it is of the file type that was made on the way, has its bits per weight,
// and both were made with an importance matrix or both without one.
func (f *CardFile) is(name string, bpw float64, imatrix string) bool {
	same := func(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }
	return same(bpw, f.BPW) && (name == f.stem() || name == f.Type && (imatrix != "") == (f.imatrix() != ""))
}

func (c *ModelCard) introduce(b *strings.Builder) {
	first := c.Files[0]
	name := cmp.Or(first.text("general.name"), first.stem())
	what, these := "GGUF files", " GGUF"
	if !c.isGGUF() {
		what, these = cmp.Or(first.Format, "safetensors")+" files", ""
	}
	fmt.Fprintf(b, "# %s%s\n\n%s of %s", markdownText(name), these, strings.ToUpper(what[:1])+what[1:], markdownText(name))
	if c.knowsSource() {
		var links []string
		for _, origin := range c.origins() {
			links = append(links, fmt.Sprintf("[%s](%s%s)", markdownText(origin), hub, origin))
		}
		fmt.Fprintf(b, ", made of %s", listed(links, "and"))
	}
	fmt.Fprintf(b, ". Architecture %s, %s parameters", markdownText(first.text("general.architecture")), display.Count(first.parameters))
	if n, err := first.meta.Uint(first.text("general.architecture") + ".context_length"); err == nil {
		fmt.Fprintf(b, ", a context of %d tokens", n)
	}
	b.WriteString(".\n")
	if text := first.text("general.description"); text != "" {
		fmt.Fprintf(b, "\n%s\n", markdownText(text))
	}
	if licence := first.text("general.license"); licence != "" {
		called := markdownText(cmp.Or(first.text("general.license.name"), licence))
		fmt.Fprintf(b, "\nLicence: %s.\n", link(called, first.text("general.license.link")))
	}
}

func (c *ModelCard) listFiles(b *strings.Builder) {
	b.WriteString("\n## Files\n\n")
	if c.Drift != nil {
		for _, line := range c.Drift.meaning() {
			fmt.Fprintf(b, "%s\n", line)
		}
		b.WriteString("\n")
	}
	columns := []string{"File", "Type", "Size", "Bits per weight"}
	rule := "|---|---|---:|---:|"
	if c.Drift != nil {
		columns, rule = append(columns, "Mean KL divergence", "Same top token"), rule+"---:|---:|"
	}
	fmt.Fprintf(b, "|%s|\n%s\n", strings.Join(columns, "|"), rule)
	for _, f := range c.Files {
		name := fmt.Sprintf("[%s](./%s)", markdownText(f.Name), url.PathEscape(f.Parts[0].Name))
		if n := len(f.Parts); n > 1 {
			name += fmt.Sprintf(" and %d more", n-1)
		}
		fmt.Fprintf(b, "|%s|%s|%s|%.2f|", name, markdownText(f.What()), display.Bytes(f.FileBytes), f.BPW)
		if m := c.drifted(f); m != nil {
			fmt.Fprintf(b, "%s|%s|", withInterval("%.5f", m.KLD, m.KLDLow, m.KLDHigh), percentWithInterval(m.SameTop, m.SameTopLow, m.SameTopHigh))
		} else if c.Drift != nil {
			b.WriteString("||")
		}
		b.WriteString("\n")
	}
	if c.Files[0].Parts[0].SHA256 != "" {
		b.WriteString("\nSHA-256, as `sha256sum -c` takes them:\n")
		var sums []string
		for _, f := range c.Files {
			for _, part := range f.Parts {
				sums = append(sums, part.SHA256+"  "+part.Name)
			}
		}
		fence(b, "", strings.Join(sums, "\n"))
	}
}

// run says how the files are run by what reads them.
func (c *ModelCard) run(b *strings.Builder) {
	f := c.taken()
	if !c.isGGUF() || f.encodes() {
		return
	}
	b.WriteString("\n## How to run it\n")
	file := shellName(f.Parts[0].Name)
	var lines []string
	if c.Repository != "" {
		include := file
		if len(f.Parts) > 1 {
			include = "--include " + shellName(f.stem()+"-*.gguf")
		}
		lines = append(lines, fmt.Sprintf("hf download %s %s --local-dir .", c.Repository, include))
	}
	lines = append(lines, "llama-cli -m "+file)
	tag, onHub := f.Type, c.Repository != "" && !notInFileNames.MatchString(f.Type)
	if onHub {
		lines = append(lines, fmt.Sprintf("llama-server -hf %s:%s", c.Repository, tag), fmt.Sprintf("ollama run hf.co/%s:%s", c.Repository, tag))
	}
	name := strings.ToLower(fileName(f.stem()))
	switch {
	case c.modelfile:
		lines = append(lines, fmt.Sprintf("ollama create %s -f %s && ollama run %[1]s", name, ModelfileName))
	case !onHub:
		lines = append(lines, fmt.Sprintf("echo FROM ./%s > %s && ollama create %s -f %[2]s && ollama run %[3]s", file, ModelfileName, name))
	}
	if onHub {
		lines = append(lines, fmt.Sprintf("lms get %s%s@%s  # LM Studio", hub, c.Repository, strings.ToLower(tag)))
	} else {
		lines = append(lines, fmt.Sprintf("lms import %s  # LM Studio", file))
	}
	fence(b, "", strings.Join(lines, "\n"))
	if c.Prompt != "" {
		b.WriteString("\nWhat the model reads, which these programs write by its template:\n")
		fence(b, "", string(display.Visible([]byte(strings.TrimRight(c.Prompt, "\n")))))
	}
}

// taken is the file to show how to run: that which the measurements recommend, or else the one of the type that most people take, or
// the smallest.
func (c *ModelCard) taken() *CardFile {
	if c.Drift != nil {
		take := newView(c.Drift.raw, c.Drift.choice).take
		for _, f := range c.Files {
			if m := c.drifted(f); m != nil && m.Name == take {
				return f
			}
		}
	}
	if i := slices.IndexFunc(c.Files, func(f *CardFile) bool { return f.Type == recipe.Q4_K_M.String() }); i >= 0 && c.Drift == nil {
		return c.Files[i]
	}
	return slices.MinFunc(c.Files, func(a, b *CardFile) int { return cmp.Compare(a.FileBytes, b.FileBytes) })
}

func (c *ModelCard) drift(b *strings.Builder) {
	if c.Drift == nil {
		return
	}
	r := newView(c.Drift.shown, nil)
	fmt.Fprintf(b, "\n## How far they are from the %s\n\n", r.Base.noun())
	r.overview(b).RenderMarkdown()
	if len(r.Texts) > 1 {
		b.WriteString("\n")
		r.textTable(b).RenderMarkdown()
	}
	b.WriteString("\n")
	for _, line := range r.said.method() {
		fmt.Fprintf(b, "* %s\n", line)
	}
}

func (c *ModelCard) scores(b *strings.Builder) {
	for _, card := range c.Evals {
		e := card.shown
		fmt.Fprintf(b, "\n## Scores, %s\n\n", e.Profile)
		scoreMarkdown(b, e.Results, e.Averages)
		for _, candidate := range e.Candidates {
			fmt.Fprintf(b, "\n### %s\n\n", candidate.Name)
			b.WriteString("|Task|Metric|Difference, points|p|Other answers|Verdict|\n|---|---|---:|---:|---:|---|\n")
			for _, d := range e.shownOf(candidate.Name) {
				fmt.Fprintf(b, "|%s|%s|%s|%s|%s|%s|\n", d.Task, d.Metric, d.Points(), d.McNemarText(), d.Changed(), d.Verdict())
			}
			fmt.Fprintf(b, "\n<details><summary>All figures of %s</summary>\n\n", candidate.Name)
			scoreMarkdown(b, candidate.Results, candidate.Averages)
			b.WriteString("\n</details>\n")
		}
		b.WriteString("\n")
		for _, line := range e.Method() {
			fmt.Fprintf(b, "* %s\n", line)
		}
	}
}

// making says how the files were made, and of what.
func (c *ModelCard) making(b *strings.Builder) {
	b.WriteString("\n## How they were made\n\n")
	for _, f := range c.Files {
		fmt.Fprintf(b, "* %s: %s", markdownText(f.Name), f.types())
		if matrix := f.imatrix(); matrix != "" {
			fmt.Fprintf(b, "; importance matrix %s", markdownText(filepath.Base(filepath.ToSlash(matrix))))
			if data := f.text("quantize.imatrix.dataset"); data != "" {
				fmt.Fprintf(b, " of %s", markdownText(data))
			}
			if n, err := f.meta.Uint("quantize.imatrix.chunks_count"); err == nil {
				fmt.Fprintf(b, ", %d chunks", n)
			}
		} else if f.QuantizedBPW != nil && f.Format == ggufFormat {
			b.WriteString("; no importance matrix is recorded")
		}
		b.WriteString("\n")
	}
	if c.TypeFile != "" {
		b.WriteString("\n<details><summary>The types that were chosen for tensors</summary>\n\nIn a file, they are for `--tensor-type-file` of `ggufkit quantize` and `llama-quantize`.\n")
		fence(b, "", string(display.Visible([]byte(strings.TrimSpace(c.TypeFile)))))
		b.WriteString("\n</details>\n")
	}
	for _, kind := range []struct{ key, title string }{{"base_model", "Made of"}, {"dataset", "Data sets"}} {
		origins := c.Files[0].origins(kind.key)
		if len(origins) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s, as the metadata have it:\n\n", kind.title)
		for _, o := range origins {
			fmt.Fprintf(b, "* %s\n", link(markdownText(o.called()), o.address))
		}
	}
	if c.Mixture != nil {
		b.WriteString("\n### The mixture\n\n|Expert|Model|Prompts|\n|---|---|---|\n")
		for i, e := range c.Mixture.Experts {
			fmt.Fprintf(b, "|%d|%s|%s|\n", i, markdownText(e.SourceModel), markdownText(strings.Join(e.PositivePrompts, ", ")))
		}
		for _, e := range c.Mixture.SharedExperts {
			fmt.Fprintf(b, "|shared|%s|%s|\n", markdownText(e.SourceModel), markdownText(strings.Join(e.PositivePrompts, ", ")))
		}
		fmt.Fprintf(b, "\nAll but these networks is of %s. The recipe:\n", markdownText(c.Mixture.BaseModel))
		fence(b, "yaml", string(display.Visible([]byte(strings.TrimSpace(c.Mixture.Text())))))
	}
}

func (c *ModelCard) provenance(b *strings.Builder) {
	b.WriteString("\n## Provenance\n\n")
	lines := func(of string, list [][2]string) {
		for _, line := range list {
			fmt.Fprintf(b, "* %s, %s: `%s`\n", of, markdownText(line[0]), strings.ReplaceAll(display.Printable(line[1]), "`", "'"))
		}
	}
	if c.Drift != nil && c.Drift.raw.Provenance != nil {
		lines("drift", c.Drift.raw.Provenance.Lines())
	}
	for _, e := range c.Evals {
		lines("scores of "+e.shown.Profile, e.raw.Provenance())
	}
	fmt.Fprintf(b, "* This card was written by ggufkit %s from the files and from what was measured.\n", markdownText(c.Version))
}

// meaning says which candidate to take.
func (d *CardDrift) meaning() []string {
	if d.choice != nil {
		return d.choice.Summary
	}
	return d.shown.meaning()
}
