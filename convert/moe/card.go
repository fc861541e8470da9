package moe

import (
	"path/filepath"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/ggufkit/ggufkit/convert/remote"
)

// Models returns the directories, or addresses, of all models of the recipe, each once, that of the base
// first.
func (r *Recipe) Models() []string {
	dirs := []string{r.BaseModel}
	for _, e := range slices.Concat(r.Experts, r.SharedExperts) {
		if !slices.Contains(dirs, e.SourceModel) {
			dirs = append(dirs, e.SourceModel)
		}
	}
	return dirs
}

// Text returns the recipe as it was read.
func (r *Recipe) Text() string { return string(r.text) }

// frontMatter is what Hugging Face's hub reads of a model card.
type frontMatter struct {
	BaseModel   []string `yaml:"base_model"`
	LibraryName string   `yaml:"library_name"`
	PipelineTag string   `yaml:"pipeline_tag"`
	Tags        []string `yaml:"tags"`
}

func (r *Recipe) frontMatter(out *output) []byte {
	f := frontMatter{LibraryName: "transformers", PipelineTag: "text-generation", Tags: []string{"merge", "moe", out.modelType, "ggufkit"}}
	for _, dir := range r.Models() {
		f.BaseModel = append(f.BaseModel, modelName(dir))
	}
	text, err := yaml.Marshal(f)
	if err != nil {
		panic(err) // texts always have a form
	}
	return text
}

// snapshot matches directories in the cache of Hugging Face's tools.
var snapshot = regexp.MustCompile(`models--([^/]+)--([^/]+)/snapshots/[^/]+$`)

// modelName returns the hub's name of a model that is, or was downloaded from, there, and that of
// its directory otherwise.
func modelName(dir string) string {
	if name, ok := remote.HubID(dir); ok {
		return name
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if m := snapshot.FindStringSubmatch(filepath.ToSlash(dir)); m != nil {
		return m[1] + "/" + m[2]
	}
	return filepath.Base(dir)
}
