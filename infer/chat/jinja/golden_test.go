package jinja

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rendered is testdata/rendered.json: what transformers makes of templates.
type rendered struct {
	Variables     json.RawMessage
	Conversations map[string]json.RawMessage
	Templates     []struct {
		Template string
		Renders  map[string]struct {
			Text  string
			Error bool
		}
	}
}

// decode reads JSON into the types that Render takes: objects in their order.
func decode(t testing.TB, d *json.Decoder) any {
	token, err := d.Token()
	require.NoError(t, err)
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			list := []any{}
			for d.More() {
				list = append(list, decode(t, d))
			}
			_, err = d.Token()
			require.NoError(t, err)
			return list
		}
		dict := Dict{}
		for d.More() {
			key := decode(t, d).(string)
			dict = append(dict, Entry{key, decode(t, d)})
		}
		_, err = d.Token()
		require.NoError(t, err)
		return dict
	case json.Number:
		if i, err := token.Int64(); err == nil {
			return i
		}
		f, err := token.Float64()
		require.NoError(t, err)
		return f
	}
	return token
}

func decodeText(t testing.TB, text []byte) any {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	return decode(t, d)
}

func load(t testing.TB, name string) (r rendered) {
	file, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(file, &r))
	return r
}

func (r rendered) variables(t testing.TB, conversation string) map[string]any {
	variables := map[string]any{"messages": decodeText(t, r.Conversations[conversation])}
	for _, e := range decodeText(t, r.Variables).(Dict) {
		variables[e.Key] = e.Value
	}
	return variables
}

// TestRendersAsTransformers compares with the reference: the same text, or an
// error where the reference raises one.
func TestRendersAsTransformers(t *testing.T) {
	for _, name := range []string{"templates.json", "constructs.json"} {
		golden := load(t, name)
		require.NotEmpty(t, golden.Templates)
		for _, g := range golden.Templates {
			for conversation, want := range g.Renders {
				got, err := render(t, g.Template, golden.variables(t, conversation))
				require.NotErrorIs(t, err, errInternal, g.Template)
				switch {
				case want.Error && err == nil:
					t.Errorf("%s\n%s\n\tgave %q, should be an error", conversation, g.Template, got)
				case !want.Error && err != nil:
					t.Errorf("%s\n%s\n\t%v, should be\n%q", conversation, g.Template, err, want.Text)
				case got != want.Text:
					t.Errorf("%s\n%s\n\tis\n%q, should be\n%q", conversation, g.Template, got, want.Text)
				}
			}
		}
	}
}

func render(t testing.TB, source string, variables map[string]any) (string, error) {
	template, err := Parse(source)
	if err != nil {
		return "", err
	}
	return template.Render(t.Context(), variables)
}
