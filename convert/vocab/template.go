package vocab

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// namedTemplate is one of several chat templates of a model.
type namedTemplate struct{ name, text string }

// chatTemplate adds the pairs of the chat templates, none without a
// tokenizer_config.json. What that file has goes before chat_template.jinja,
// which goes before chat_template.json.
func (f *sources) chatTemplate(kvs *pairs) error {
	if len(f.config) == 0 {
		return nil
	}
	value, ok := f.config["chat_template"]
	if !ok {
		var err error
		if value, err = templateFiles(f.folder); err != nil {
			return err
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
			object, ok := item.(map[string]any)
			if !ok {
				return fmt.Errorf("%w: %s: chat_template has an entry that is not an object", gguf.ErrCorrupt, f.path(configFile))
			}
			name, _ := object["name"].(string)
			if text, ok := object["template"].(string); ok {
				templates = append(templates, namedTemplate{name, text})
			}
		}
	}
	writeTemplates(kvs, templates)
	return nil
}

// writeTemplates gives the template called default the plain key and every other
// one a key with its name. Empty templates are left out; of two with one name the later counts.
func writeTemplates(kvs *pairs, templates []namedTemplate) {
	const key = "tokenizer.chat_template"
	var named ordered[string]
	for _, t := range templates {
		if name := plainName(t.name); name != "" {
			named.set(name, t.text)
		}
	}
	names := []string{}
	for _, name := range named.keys {
		if name == "default" {
			continue
		}
		names = append(names, name)
		if text := named.values[name]; text != "" {
			*kvs = append(*kvs, gguf.KV{Key: key + "." + name, Value: text})
		}
	}
	if len(names) > 0 {
		kvs.set("tokenizer.chat_templates", names)
	}
	if text := named.values["default"]; text != "" {
		kvs.set(key, text)
	}
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
func templateFiles(folder files.Folder) (any, error) {
	text, err := readText(folder, "chat_template.jinja")
	if err == nil {
		return withAdditional(folder, "additional_chat_templates", text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var file struct {
		Template any `json:"chat_template"`
	}
	if err := sidecar.ReadJSON(folder, "chat_template.json", &file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return file.Template, nil
}

// withAdditional returns the standard template, with those in a folder below of
// *.jinja files if it exists.
func withAdditional(folder files.Folder, below, standard string) (any, error) {
	names, err := folder.List(below)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	templates := []namedTemplate{{"default", standard}}
	for _, file := range names {
		name, ok := strings.CutSuffix(file, ".jinja")
		if !ok {
			continue
		}
		text, err := readText(folder, below+"/"+file)
		if err != nil {
			return nil, err
		}
		templates = append(templates, namedTemplate{name, text})
	}
	return templates, nil
}

// readText reads a file as Python does: every line ends with \n.
func readText(folder files.Folder, file string) (string, error) {
	data, err := sidecar.Read(folder, file)
	if err == nil && !utf8.Valid(data) {
		err = fmt.Errorf("%w: %s is not UTF-8", gguf.ErrCorrupt, folder.Path(file))
	}
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), err
}
