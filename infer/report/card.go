package report

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/display"
)

// Markdown returns the report as a model card, without front matter: what to take, all files, how to
// run them, and how it was measured.
func (r *Drift) Markdown() string { return newView(r, nil).markdown() }

// Markdown is that of Drift, with the choice.
func (c *Choice) Markdown() string { return newView(c.Drift, c).markdown() }

func (r *view) markdown() string {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, "\n## %s\n\n", title) }
	list := func(lines []string) {
		for _, line := range lines {
			fmt.Fprintf(&b, "* %s\n", line)
		}
	}
	fmt.Fprintf(&b, "# %s, quantized\n\n", r.title())
	if r.choice != nil {
		list(r.choice.Summary)
	} else {
		list(r.said.meaning())
	}
	section("Files")
	r.overview(&b).RenderMarkdown()
	b.WriteString("\n")
	if r.choice != nil {
		section("The choice")
		r.choice.table(&b).RenderMarkdown()
		b.WriteString("\n\n")
		list(r.choice.Terms)
	}
	if i := slices.IndexFunc(r.Candidates, r.isChosen); r.take != "" && (i < 0 || !r.Candidates[i].IsPacked()) {
		section("How to run it")
		fmt.Fprintf(&b, "```\n%s\n```\n", strings.Join(r.commands(), "\n"))
	}
	if len(r.Texts) > 1 {
		section("Drift by text")
		r.textTable(&b).RenderMarkdown()
		b.WriteString("\n")
	}
	section("How it was measured")
	list(r.said.method())
	if r.Provenance != nil {
		section("Provenance")
		for _, line := range r.Provenance.Lines() {
			fmt.Fprintf(&b, "* %s: `%s`\n", line[0], strings.ReplaceAll(display.Printable(line[1]), "`", "'"))
		}
	}
	return b.String()
}

// commands run the candidate to take, in llama.cpp and in Ollama.
func (r *view) commands() []string {
	name := fileName(r.title())
	file := name + "-" + fileName(r.take) + ".gguf"
	flags := ""
	if r.choice != nil {
		flags = " " + r.choice.Chosen.Contexts[len(r.choice.Chosen.Contexts)-1].Flags
	}
	return []string{
		fmt.Sprintf("llama-cli -m %s%s", file, flags),
		fmt.Sprintf("echo FROM ./%s > Modelfile && ollama create %s -f Modelfile && ollama run %[2]s", file, strings.ToLower(name)),
	}
}

var notInFileNames = regexp.MustCompile(`[^\w.-]+`)

// fileName returns a text with nothing in it that is not in the name of a model's file.
func fileName(text string) string {
	return cmp.Or(strings.Trim(notInFileNames.ReplaceAllString(filepath.Base(text), "-"), "-"), "model")
}
