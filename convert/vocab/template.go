package vocab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
)

// namedTemplate is one of several chat templates of a model.
type namedTemplate struct{ name, text string }

// chatTemplate returns the pairs of the chat templates, none without a
// tokenizer_config.json. What that file has goes before chat_template.jinja,
// which goes before chat_template.json.
func chatTemplate(dir string, config tokenizerConfig) ([]gguf.KV, error) {
	if len(config.value) == 0 {
		return nil, nil
	}
	value, ok := config.value["chat_template"]
	if !ok {
		var err error
		if value, err = templateFiles(dir); err != nil {
			return nil, err
		}
	}
	var templates []namedTemplate
	switch v := value.(type) {
	case string:
		templates = []namedTemplate{{"default", v}}
	case []namedTemplate:
		templates = v
	case []any:
		for _, item := range v {
			object, _ := item.(map[string]any)
			name, _ := object["name"].(string)
			text, ok := object["template"].(string)
			if !ok {
				return nil, fmt.Errorf("%w: %s: chat_template has an entry without template", gguf.ErrCorrupt, config.path)
			}
			templates = append(templates, namedTemplate{name, text})
		}
	}
	return templatePairs(templates), nil
}

// templatePairs gives the template called default the plain key and every other
// one a key with its name. Empty templates are left out.
func templatePairs(templates []namedTemplate) []gguf.KV {
	const key = "tokenizer.chat_template"
	var kvs []gguf.KV
	var names []string
	var standard string
	for _, t := range templates {
		switch name := plainName(t.name); {
		case name == "default":
			standard = t.text
		case name != "" && !slices.Contains(names, name):
			names = append(names, name)
			if t.text != "" {
				kvs = append(kvs, gguf.KV{Key: key + "." + name, Value: t.text})
			}
		}
	}
	if names != nil {
		kvs = append(kvs, gguf.KV{Key: "tokenizer.chat_templates", Value: names})
	}
	if standard != "" {
		kvs = append(kvs, gguf.KV{Key: key, Value: standard})
	}
	return kvs
}

// plainName replaces all but ASCII letters and digits.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// templateFiles reads the templates that newer checkpoints keep in files of
// their own.
func templateFiles(dir string) (any, error) {
	data, err := sidecar.Read(filepath.Join(dir, "chat_template.jinja"))
	if err == nil {
		return withAdditional(filepath.Join(dir, "additional_chat_templates"), string(data))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var file struct {
		Template any `json:"chat_template"`
	}
	if err := sidecar.ReadJSON(filepath.Join(dir, "chat_template.json"), &file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return file.Template, nil
}

// withAdditional returns the standard template, with those in a directory of
// *.jinja files if it exists.
func withAdditional(dir, standard string) (any, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	templates := []namedTemplate{{"default", standard}}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".jinja")
		if !ok {
			continue
		}
		data, err := sidecar.Read(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		templates = append(templates, namedTemplate{name, string(data)})
	}
	return templates, nil
}
