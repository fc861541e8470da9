package yamldoc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/yamldoc"
)

type document struct {
	Name  string
	List  []string
	Items []struct {
		A, B string
	}
}

func TestUnmarshal(t *testing.T) {
	var d document
	require.NoError(t, yamldoc.Unmarshal([]byte(`# a comment
---
name: &n word
list: &l [*n, other]
items:
  - &first {a: *n, b: c}
  - <<: *first
    b: d
  - b: e
    <<: *first
  - *first
`), &d))
	require.Equal(t, "word", d.Name)
	require.Equal(t, []string{"word", "other"}, d.List)
	require.Len(t, d.Items, 4)
	require.Equal(t, "word", d.Items[1].A)
	require.Equal(t, "d", d.Items[1].B)
	require.Equal(t, "word", d.Items[2].A)
	require.Equal(t, "e", d.Items[2].B)
	require.Equal(t, d.Items[0], d.Items[3])

	require.NoError(t, yamldoc.Unmarshal(nil, &d))
	require.NoError(t, yamldoc.Unmarshal([]byte("list: ["+strings.Repeat("x, ", 10_000)+"]"), &d), "it is wide, not deep")
	require.Len(t, d.List, 10_000)
	require.NoError(t, yamldoc.Unmarshal([]byte("list:\n"+strings.Repeat("- x\n", 10_000)), &d))
	require.Len(t, d.List, 10_000)
}

// What PyYAML reads is read.
func TestHabits(t *testing.T) {
	for text, want := range map[string]document{
		"\ufeffname: a\n":                        {Name: "a"},
		"\ufeff# comment\n---\nname: a\n...\n":   {Name: "a"},
		"%YAML 1.1\n---\nname: a\n":              {Name: "a"},
		"name: a\r\nlist:\r\n  - b\r\n":          {Name: "a", List: []string{"b"}},
		"name: a\nlist: [b]\nname: c\n":          {Name: "c", List: []string{"b"}},
		"list: [a]\nname: c\nlist:\n- d\n- e\n":  {Name: "c", List: []string{"d", "e"}},
		"name: null\nlist: ~\n":                  {},
		"{name: 'it''s', list: [\"\\u00e9\", ]}": {Name: "it's", List: []string{"é"}},
		"name: >-\n  one\n  two\n":               {Name: "one two"},
	} {
		var d document
		require.NoError(t, yamldoc.Unmarshal([]byte(text), &d, yaml.Strict(), yaml.DisallowUnknownField()), text)
		require.Equal(t, want, d, text)
	}
	text := []byte("\ufeffother: 1\n")
	err := yamldoc.Unmarshal(text, &document{}, yaml.DisallowUnknownField())
	require.Equal(t, "[1:1] unknown field \"other\"\n>  1 | other: 1\n       ^", yamldoc.Explain(text, err))
}

// laughs is a list of lists of lists and so on of ten: a billion words.
func laughs(open, separator, closing, item string) string {
	var b strings.Builder
	for i := range 10 {
		if i > 0 {
			item = fmt.Sprintf("*a%d", i-1)
		}
		fmt.Fprintf(&b, "a%d: &a%d %s", i, i, open)
		for j := range 10 {
			fmt.Fprintf(&b, strings.ReplaceAll(separator, "#", fmt.Sprint(j)), item)
		}
		b.WriteString(closing + "\n")
	}
	return b.String()
}

// None of these may take long or much memory.
func TestDocumentsThatExhaust(t *testing.T) {
	const many = 50_000
	for name, c := range map[string]struct{ text, want string }{
		"lists":          {laughs("[", "%s,", "]", "x"), "too many values"},
		"maps":           {laughs("{", "k#: %s, ", "}", "x"), "too many values"},
		"merge keys":     {laughs("{<<: [", "%s,", "]}", "{x: y}"), "too many values"},
		"in a field":     {laughs("[", "%s,", "]", "x") + "list: *a9\n", "too many values"},
		"brackets":       {"list: " + strings.Repeat("[", many), "[1:39] nested too deeply"},
		"closed":         {"list: " + strings.Repeat("[", many) + strings.Repeat("]", many), "nested too deeply"},
		"braces":         {strings.Repeat("{a: ", many), "nested too deeply"},
		"dashes":         {"list:\n" + strings.Repeat("- ", many), "[2:65] nested too deeply"},
		"keys":           {strings.Repeat("a: ", many), "nested too deeply"},
		"question marks": {strings.Repeat("? ", many), "nested too deeply"},
		"in brackets":    {"[" + strings.Repeat("? \n", many), "nested too deeply"},
		"anchors":        {"name: " + strings.Repeat("&a ", many), "nested too deeply"},
		"anchor lines":   {"name:\n" + strings.Repeat("&a\n", many), "nested too deeply"},
		"tags":           {"items: !!str &a\n - *a\n", "[1:8] the tag !!str"},
		"documents":      {strings.Repeat("---\nname: a\n", many), "[3:1] a second document"},
		"two":            {"name: a\n---\nname: b\n", "a second document"},
		"large":          {"name: " + strings.Repeat("x", 2<<20), "larger than 1048576 bytes"},
		"itself":         {"items: &a\n  - *a\n", "[2:"},
		"no anchor":      {"list: [*a]\n", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			err := yamldoc.Unmarshal([]byte(c.text), &document{}, yaml.Strict())
			require.Error(t, err)
			text := yamldoc.Explain([]byte(c.text), err)
			require.Contains(t, text, c.want)
			require.Less(t, len(text), 700)
		})
	}
}

func TestExplain(t *testing.T) {
	data := []byte("name: a\nlist: [x]\nother: 1\n")
	err := yamldoc.Unmarshal(data, &document{}, yaml.DisallowUnknownField())
	require.Equal(t, `[3:1] unknown field "other"
   1 | name: a
   2 | list: [x]
>  3 | other: 1
       ^`, yamldoc.Explain(data, err))

	data = []byte(`name: "` + strings.Repeat("x", 500) + `" y`)
	err = yamldoc.Unmarshal(data, &document{})
	lines := strings.Split(yamldoc.Explain(data, err), "\n")
	require.Equal(t, `x" y`, lines[1][len(lines[1])-4:], "the end of the line is shown, not its beginning")
	require.Less(t, len(lines[1]), 130)
	require.Equal(t, "y"[0], lines[1][strings.Index(lines[2], "^")])
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte("name: a\nlist: &l [b, *l]\nitems:\n  - <<: *l\n    a: |\n      text\n"))
	f.Add([]byte(laughs("[", "%s,", "]", "x")))
	f.Add([]byte("? !!str {a: [b, 'c', \"d\"]}\n: - - >\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := yamldoc.Unmarshal(data, &document{}); err != nil {
			require.NotEmpty(t, yamldoc.Explain(data, err))
		}
	})
}
