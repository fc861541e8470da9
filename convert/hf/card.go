package hf

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/ggufkit/ggufkit/convert/yamldoc"
)

// card is the front matter of a model card: the YAML between two lines --- at
// the start of README.md.
type card map[string]any

// lineEnds has what ends a line for Python's str.splitlines.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\x1c", "\n", "\x1d", "\n", "\x1e", "\n", "\u0085", "\n", "\u2028", "\n",
	"\u2029", "\n")

// parseReadme returns the card, which is empty without front matter. If no line ends the
// front matter, all of the file is.
func parseReadme(data []byte) (card, error) {
	first, text, _ := strings.Cut(lineEnds.Replace(string(data)), "\n")
	if first != "---" {
		return nil, nil
	}
	text, _, _ = strings.Cut("\n"+text+"\n", "\n---\n")
	if !utf8.ValidString(text) {
		return nil, errors.New("it is not UTF-8")
	}
	// Norwegian is no truth value, and some cards are indented with tabs, which YAML forbids.
	text = strings.NewReplacer("- no\n", "- \"no\"\n", "\t", "  ").Replace(text + "\n")
	value, err := yamldoc.Load([]byte(text))
	if err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false))
	}
	c, _ := value.(map[string]any)
	return c, nil
}

// cardKeys gives for each general.* key the names under which cards have it;
// the first that is there counts.
var cardKeys = []struct {
	key   string
	names []string
}{
	{"name", []string{"name", "model_name"}},
	{"author", []string{"author", "model_author", "model_creator"}},
	{"version", []string{"version", "model_version"}},
	{"organization", []string{"organization", "model_organization"}},
	{"description", []string{"description", "model_description"}},
	{"finetune", []string{"finetune", "model_finetune"}},
	{"basename", []string{"basename", "model_basename", "model_type"}},
	{"size_label", []string{"size_label", "model_size_label"}},
	{"source.url", []string{"url", "model_url"}},
	{"source.doi", []string{"doi", "model_doi"}},
	{"source.uuid", []string{"uuid", "model_uuid"}},
	{"source.repo_url", []string{"repo_url", "model_repo_url"}},
	{"license", []string{"license"}},
	{"license.name", []string{"license_name"}},
	{"license.link", []string{"license_link"}},
}

// texts returns what the card says for the keys of one text each.
func (c card) texts() general {
	g := general{}
	for _, k := range cardKeys {
		for _, name := range k.names {
			if text, ok := c.text(name); ok {
				g.set(k.key, text)
			}
		}
	}
	return g
}

// text returns the value of a key as text. It is empty for what is false in Python.
func (c card) text(key string) (text string, ok bool) {
	switch v := c[key].(type) {
	case string:
		return v, true
	case yamldoc.Plain:
		if v.True {
			text = v.Text
		}
		return text, true
	case []any:
		return strings.Join(c.list(key), ","), true
	}
	return "", false
}

// list returns the value of a key that is one text or several.
func (c card) list(key string) (texts []string) {
	switch v := c[key].(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			switch item := item.(type) {
			case string:
				texts = append(texts, item)
			case yamldoc.Plain:
				texts = append(texts, item.Text)
			}
		}
	}
	return texts
}
