package convert

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/ggufkit/ggufkit/convert/internal/yamldoc"
)

// card is the front matter of a model card: the YAML between two lines --- at
// the start of README.md.
type card map[string]any

// parseReadme returns the card, which is empty without front matter.
func parseReadme(data []byte) (card, error) {
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	if lines[0] != "---" {
		return nil, nil
	}
	lines = lines[1:]
	for i, line := range lines {
		if line == "---" {
			lines = lines[:i]
			break
		}
	}
	return parseCard(lines)
}

func parseCard(lines []string) (card, error) {
	// Some cards are indented with tabs, which YAML forbids.
	text := strings.ReplaceAll(strings.Join(lines, "\n"), "\t", "  ")
	var value any
	if err := yamldoc.Unmarshal([]byte(text), &value); err != nil {
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
			g.add(k.key, c.text(name))
		}
	}
	return g
}

// text returns the value of a key as text, empty if there is none.
func (c card) text(key string) string {
	switch v := c[key].(type) {
	case nil, map[string]any:
		return ""
	case []any:
		return strings.Join(c.list(key), ",")
	default:
		return fmt.Sprint(v)
	}
}

// list returns the value of a key that is one text or several.
func (c card) list(key string) []string {
	values, ok := c[key].([]any)
	if !ok && c[key] != nil {
		values = []any{c[key]}
	}
	var texts []string
	for _, v := range values {
		switch v.(type) {
		case nil, map[string]any, []any:
		default:
			texts = append(texts, fmt.Sprint(v))
		}
	}
	return texts
}
