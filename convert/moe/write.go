package moe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/remote"
)

// copied are the files of the base model that go with the mixture, if they are
// there.
var copied = []string{
	"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"chat_template.jinja", "chat_template.json", "vocab.json", "merges.txt", "generation_config.json",
}

// recipeName is the file by which the output of a merge is known.
const recipeName = "mergekit_moe_config.yml"

var outputKind = hf.Kind{Name: "merge", By: "a merge", Marker: recipeName, Side: func(name string) bool { return slices.Contains(copied, name) }}

// WriteOptions says how Merge.Write works.
type WriteOptions struct {
	// ShardBytes is the most bytes of tensors in a file, hf.DefaultShardBytes if 0.
	ShardBytes int64
	// Card is Markdown that follows in the model card.
	Card string
	// Overwrite replaces what an earlier merge wrote. Other files in the directory stay.
	Overwrite bool
	// Progress, if set, is called with the bytes written so far and in all.
	Progress func(done, total int64)
}

// CheckOutput returns the error that Merge.Write would if a mixture of the recipe
// cannot be written to dir, so that work for it need not begin. If something is to be
// replaced in dir, nothing of what reads names may lie there.
func (r *Recipe) CheckOutput(dir string, overwrite bool, reads ...string) error {
	place, err := r.place(dir, overwrite, reads...)
	if err != nil {
		return err
	}
	return place.Check()
}

// place looks at the directory of an output.
func (r *Recipe) place(dir string, overwrite bool, reads ...string) (hf.Place, error) {
	local := slices.DeleteFunc(r.Models(), remote.IsAddress)
	return hf.NewPlace(dir, outputKind, overwrite, slices.Concat(local, []string{r.path}, reads)...)
}

// Write writes the mixture as a Hugging Face directory: safetensors files with a
// tensor for each matrix of each expert, as transformers 4 and 5, vLLM and llama.cpp
// read them (Mixtral's with the names of 2023), config.json,
// the base model's tokenizer, a model card and the recipe. The directory appears
// whole or not at all. The error wraps fs.ErrExist if it is there already: with
// WriteOptions.Overwrite, only if it has files of these names that no merge wrote.
func (m *Merge) Write(ctx context.Context, dir string, opts WriteOptions) error {
	place, err := m.recipe.place(dir, opts.Overwrite)
	if err != nil {
		return err
	}
	parts := m.Parts
	parts.Card = append(slices.Clip(m.Card), opts.Card...)
	side := map[string][]byte{recipeName: m.recipe.text}
	for _, name := range copied {
		data, err := sidecar.Read(m.Tokenizer, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		side[name] = data
	}
	return place.Write(ctx, parts, side, hf.WriteOptions{ShardBytes: opts.ShardBytes, Progress: opts.Progress})
}

// card returns the model card: what was merged, and how.
func (r *Recipe) card(out *output) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "---\n%s---\n", r.frontMatter(out))
	fmt.Fprintf(&b, "# A mixture of %d experts\n\n", len(r.Experts))
	fmt.Fprintf(&b, "%s with %d experts, %d of them active for each token, merged by ggufkit from models of the same shape. All but the feed-forward "+
		"networks is that of %s.\n\n",
		out.name, len(r.Experts), r.perToken(), modelName(r.BaseModel))
	fmt.Fprint(&b, "| expert | model | prompts |\n|---|---|---|\n")
	escape := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	row := func(expert string, e Expert) {
		prompts := strings.Join(e.PositivePrompts, ", ")
		if len(e.NegativePrompts) > 0 {
			prompts += "; not: " + strings.Join(e.NegativePrompts, ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", expert, escape(modelName(e.SourceModel)), escape(prompts))
	}
	for i, e := range r.Experts {
		row(strconv.Itoa(i), e)
	}
	for _, e := range r.SharedExperts {
		row("shared", e)
	}
	origin := "come from the prompts"
	if !r.usesPrompts() {
		origin = "are random"
	}
	fmt.Fprintf(&b, "\nThe routers' rows %s: gate mode `%s`.\n\n## Recipe\n\n```yaml\n%s\n```\n", origin, r.GateMode, strings.TrimSpace(string(r.text)))
	return b.Bytes()
}
