package hf

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// generalMetadata returns the general.* pairs that say what a model is and where
// it comes from, as gguf-py's metadata.py derives them: from the model card,
// then config.json's _name_or_path, then the directory's name. name, if not
// empty, goes before all of them.
//
// A card or generation_config.json that cannot be read is left out, with a warning.
func generalMetadata(from Parts, name string, tensors []gguf.TensorInfo) (kvs []gguf.KV, warnings []string, err error) {
	total, active, experts := countParameters(tensors)
	kvs, warnings = samplingMetadata(from.Tokenizer)
	card, err := parseReadme(from.Card)
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("%s: front matter: %v; it is left out", from.Path(cardName), err))
	}

	g := card.texts()
	if name != "" {
		g["name"] = name
	}
	var file struct {
		NameOrPath *string `json:"_name_or_path"`
	}
	if err := pyjson.Unmarshal(from.Config, &file); err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, from.Path(configName), err)
	}
	if id := file.NameOrPath; id != nil && strings.Count(*id, "/") <= 1 { // otherwise a path on somebody's disk
		m := parseModelName(*id, total)
		g.set("name", title(m.full))
		g.addName(m)
	}
	dir, err := nameOf(from.Path("."))
	if err != nil {
		return nil, nil, err
	}
	g.addName(parseModelName(dir, total))
	g.add("size_label", sizeLabel(active, experts))

	for _, key := range []string{
		"name", "author", "version", "organization", "finetune", "basename", "description", "size_label",
		"license", "license.name", "license.link", "source.url", "source.doi", "source.uuid", "source.repo_url",
	} {
		if v := g[key]; v != "" {
			kvs = append(kvs, gguf.KV{Key: "general." + key, Value: v})
		}
	}
	kvs = append(kvs, card.origins("base_model", total, "base_model", "base_models", "base_model_sources")...)
	kvs = append(kvs, card.origins("dataset", total, "datasets", "dataset", "dataset_sources")...)
	if tags := append(card.list("tags"), card.list("pipeline_tag")...); len(tags) > 0 {
		kvs = append(kvs, gguf.KV{Key: "general.tags", Value: tags})
	}
	if languages := append(card.list("languages"), card.list("language")...); len(languages) > 0 {
		kvs = append(kvs, gguf.KV{Key: "general.languages", Value: languages})
	}
	return kvs, warnings, nil
}

// countParameters returns the number of parameters, that of the shared tensors
// and one expert, and the number of experts, 0 if there are none.
func countParameters(tensors []gguf.TensorInfo) (total, active, experts int64) {
	for _, t := range tensors {
		total += t.Elements()
		if len(t.Shape) == 3 && strings.Contains(t.Name, "_exps.") {
			experts = t.Shape[2]
			active += t.Elements() / experts
		} else {
			active += t.Elements()
		}
	}
	return total, active, experts
}

// general holds texts by their key without "general.".
type general map[string]string

// add sets a key that is not there yet to a value, if there is one.
func (g general) add(key, value string) {
	if value != "" {
		g.set(key, value)
	}
}

// set sets a key that is not there yet. An empty value keeps it from getting another.
func (g general) set(key, value string) {
	if _, ok := g[key]; !ok {
		g[key] = value
	}
}

func (g general) addName(m modelName) {
	g.add("name", title(m.full))
	g.add("organization", title(m.organization))
	g.add("basename", m.basename)
	g.add("finetune", m.finetune)
	g.add("version", m.version)
	g.add("size_label", m.sizeLabel)
}

// samplingKeys gives the names in generation_config.json of the general.sampling.* keys.
var samplingKeys = []struct {
	name, key string
	integer   bool
}{
	{"top_k", "top_k", true},
	{"top_p", "top_p", false},
	{"min_p", "min_p", false},
	{"xtc_probability", "xtc_probability", false},
	{"xtc_threshold", "xtc_threshold", false},
	{"temperature", "temp", false},
	{"penalty_last_n", "penalty_last_n", true},
	{"penalty_repeat", "penalty_repeat", false},
	{"mirostat", "mirostat", true},
	{"mirostat_tau", "mirostat_tau", false},
	{"mirostat_eta", "mirostat_eta", false},
}

// nameOf returns the name of a directory, or of what has an address.
func nameOf(dir string) (string, error) {
	if remote.IsAddress(dir) {
		return remote.Name(dir), nil
	}
	abs, err := filepath.Abs(dir)
	return filepath.Base(abs), err
}

// samplingMetadata returns the sampling parameters that generation_config.json
// recommends. What is wrong with the file is a warning: it is as good as absent, or one
// of its values is.
func samplingMetadata(folder files.Folder) (kvs []gguf.KV, warnings []string) {
	const file = "generation_config.json"
	var config map[string]any
	if err := sidecar.ReadJSON(folder, file, &config); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, []string{err.Error() + "; it is left out"}
	}
	unusable := func(name string) {
		warnings = append(warnings, fmt.Sprintf("%s: %s is %.80q, which is left out", folder.Path(file), name, fmt.Sprint(config[name])))
	}
	switch sequence := config["sequence"].(type) {
	case nil:
	case string:
		if sequence != "" {
			kvs = append(kvs, gguf.KV{Key: "general.sampling.sequence", Value: sequence})
		}
	default:
		unusable("sequence")
	}
	for _, k := range samplingKeys {
		name := k.name
		if _, ok := config[name]; !ok && name == "penalty_repeat" {
			name = "repetition_penalty"
		}
		f, ok := 0.0, true
		switch v := config[name].(type) {
		case nil:
			continue
		case int64:
			f = float64(v)
		case float64:
			f = v
		case bool: // a number for Python
			if v {
				f = 1
			}
		default:
			ok = false
		}
		switch {
		case ok && !k.integer && (math.Abs(f) <= math.MaxFloat32 || math.IsInf(f, 0) || math.IsNaN(f)):
			kvs = append(kvs, gguf.KV{Key: "general.sampling." + k.key, Value: float32(f)})
		case ok && f == float64(int32(f)):
			kvs = append(kvs, gguf.KV{Key: "general.sampling." + k.key, Value: int32(f)})
		default:
			unusable(name)
		}
	}
	return kvs, warnings
}

// The numbers of llama.cpp's enum llama_pooling_type.
const (
	poolMean = 1
	poolCLS  = 2
	poolLast = 3
)

// poolingMetadata returns how sentence-transformers makes the embedding of a text, if its
// modules.json or embedding_config.json lies in the folder.
func poolingMetadata(arch string, folder files.Folder) ([]gguf.KV, error) {
	read := func(name string, v any) (file string, err error) {
		file = folder.Path(name)
		if err = sidecar.ReadJSON(folder, name, v); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return file, err
	}
	typeIs := func(pooling uint32) []gguf.KV {
		return []gguf.KV{{Key: arch + ".pooling_type", Value: pooling}}
	}
	var modules []struct {
		Type string `json:"type"`
		Path string `json:"path"`
	}
	file, err := read("modules.json", &modules)
	if err != nil {
		return nil, err
	}
	for _, module := range modules {
		if !strings.HasSuffix(module.Type, "Pooling") {
			continue
		}
		if !filepath.IsLocal(module.Path) {
			return nil, fmt.Errorf("%w: %s: %.80q is not a directory below", gguf.ErrCorrupt, file, module.Path)
		}
		var pooling struct {
			Mean bool   `json:"pooling_mode_mean_tokens"`
			CLS  bool   `json:"pooling_mode_cls_token"`
			Last bool   `json:"pooling_mode_lasttoken"`
			Mode string `json:"pooling_mode"`
		}
		file, err := read(path.Join(filepath.ToSlash(module.Path), "config.json"), &pooling)
		switch {
		case err != nil:
			return nil, err
		case pooling.Mean:
			return typeIs(poolMean), nil
		case pooling.CLS:
			return typeIs(poolCLS), nil
		case pooling.Last:
			return typeIs(poolLast), nil
		case pooling.Mode == "mean":
			return typeIs(poolMean), nil
		case pooling.Mode == "cls":
			return typeIs(poolCLS), nil
		case pooling.Mode == "lasttoken":
			return typeIs(poolLast), nil
		}
		return nil, fmt.Errorf("%w: %s: pooling that is not of the mean, the first or the last token", gguf.ErrUnsupported, file)
	}
	var embedding struct {
		Pooling *string `json:"pooling"`
	}
	file, err = read("embedding_config.json", &embedding)
	switch {
	case err != nil:
		return nil, err
	case embedding.Pooling == nil:
		return nil, nil
	case *embedding.Pooling == "last_token":
		return typeIs(poolLast), nil
	}
	return nil, fmt.Errorf("%w: %s: pooling %.40q", gguf.ErrUnsupported, file, *embedding.Pooling)
}

// origins returns the pairs for the models or data sets that a model was made
// from, listed in the card under the first of keys that it has.
func (c card) origins(kind string, params int64, keys ...string) []gguf.KV {
	var entries []any
	found := false
	for _, key := range keys {
		v, ok := c[key]
		if !ok {
			continue
		}
		found = true
		switch v := v.(type) {
		case string:
			entries = []any{v}
		case []any:
			entries = v
		}
		break
	}
	if !found {
		return nil
	}
	kvs := []gguf.KV{{Key: "general." + kind + ".count", Value: uint32(len(entries))}}
	for i, entry := range entries {
		var fields card
		switch entry := entry.(type) {
		case string:
			fields = describeOrigin(entry, params)
		case map[string]any:
			fields = entry
		}
		for _, key := range originKeys {
			if v, _ := fields.text(key); v != "" {
				kvs = append(kvs, gguf.KV{Key: fmt.Sprintf("general.%s.%d.%s", kind, i, key), Value: v})
			}
		}
	}
	return kvs
}

// originKeys are what is said of an origin.
var originKeys = []string{"name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"}

var huggingFaceURL = regexp.MustCompile(`^https?://huggingface.co/([^/]+/[^/]+)$`)

// describeOrigin says what the name or address of a repository does.
func describeOrigin(id string, params int64) card {
	fields := card{}
	if scheme, _, ok := strings.Cut(id, "://"); ok && (scheme == "http" || scheme == "https" || scheme == "ssh") {
		fields["repo_url"] = id
		m := huggingFaceURL.FindStringSubmatch(id)
		if m == nil {
			return fields
		}
		id = m[1]
	}
	m := parseModelName(id, params)
	fields["name"], fields["organization"], fields["version"] = title(m.full), title(m.organization), m.version
	if _, ok := fields["repo_url"]; !ok && m.organization != "" {
		fields["repo_url"] = "https://huggingface.co/" + m.organization + "/" + m.full
	}
	return fields
}
