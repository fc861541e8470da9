package hf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestWarnings: what is wrong with files that are not needed is said and left out, and
// no value of them is lost that can be read.
func TestWarnings(t *testing.T) {
	const card, generation = "README.md", "generation_config.json"
	for name, tt := range map[string]struct {
		file, content string
		want          string // in the only warning, "" if there is none
	}{
		"card not YAML":       {card, "---\na: [\n---\n", "front matter"},
		"card with a colon":   {card, "---\nlicense: mit\ndescription: a: b\n---\n", "front matter"},
		"card with aliases":   {card, "---\na: &a [" + strings.Repeat("x,", 1000) + "]\nb: [" + strings.Repeat("*a,", 1000) + "]\n---\n", "too many values"},
		"card of brackets":    {card, "---\na: " + strings.Repeat("[", 100_000) + "\n---\n", "nested too deeply"},
		"card of dashes":      {card, "---\n" + strings.Repeat("- ", 100_000) + "\n---\n", "nested"},
		"card too large":      {card, "---\na: " + strings.Repeat("x", 2<<20) + "\n---\n", "larger than"},
		"card is a directory": {card + "/x", "", "not a regular file"},

		"no JSON":             {generation, "{", "offset 1"},
		"empty":               {generation, "", "offset 0"},
		"null":                {generation, "null", ""},
		"a list":              {generation, "[1]", "a list"},
		"byte order mark":     {generation, "\xef\xbb\xbf{}", "offset 0"},
		"a text for a number": {generation, `{"top_k": "many", "top_p": 0.5}`, `top_k is "many"`},
		"a fraction":          {generation, `{"top_k": 1.5, "top_p": 0.5}`, `top_k is "1.5"`},
		"too large":           {generation, `{"top_k": 1e10, "top_p": 0.5}`, "top_k"},
		"not a number":        {generation, `{"top_k": NaN, "top_p": 0.5}`, "top_k"},
		"a number for a text": {generation, `{"sequence": 1, "top_p": 0.5}`, "sequence"},
		"a flag":              {generation, `{"temperature": true, "top_p": 0.5}`, ""},
		"above float32":       {generation, `{"temperature": 1e39, "top_p": 0.5}`, "temperature"},
		"a whole float":       {generation, `{"top_k": 50.0, "top_p": 0.5}`, ""},
		"infinity elsewhere":  {generation, `{"min_length": -Infinity, "top_p": 0.5}`, ""},
		"other case":          {generation, `{"TOP_K": "many", "Top_p": 0.1, "top_p": 0.5}`, ""},
		"twice":               {generation, `{"top_p": "x", "top_p": 0.5}`, ""},
		"a directory":         {generation + "/x", "", "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeCase(t, t.TempDir(), "Beyonder-4x7B-v2")
			file, _, inside := strings.Cut(tt.file, "/")
			if inside {
				require.NoError(t, os.RemoveAll(filepath.Join(dir, file)))
			}
			writeFiles(t, dir, map[string]any{tt.file: tt.content})
			c, err := hf.Open(dir, hf.Options{})
			require.NoError(t, err)
			defer c.Close()
			if tt.want == "" {
				require.Empty(t, c.Warnings())
			} else {
				require.Len(t, c.Warnings(), 1)
				require.Contains(t, c.Warnings()[0], filepath.Join(dir, file))
				require.Contains(t, c.Warnings()[0], tt.want)
				require.Less(t, len(c.Warnings()[0]), 400)
			}
			if strings.Contains(tt.content, `"top_p": 0.5`) {
				p, err := gguf.Value[float32](c.Metadata(), "general.sampling.top_p")
				require.NoError(t, err)
				require.Equal(t, float32(0.5), p)
			}
		})
	}
}
