package yamldoc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLoad has what safe_load of PyYAML 6 makes of each document.
func TestLoad(t *testing.T) {
	type (
		list   = []any
		object = map[string]any
	)
	yes := func(text string) Plain { return Plain{text, true} }
	no := func(text string) Plain { return Plain{text, false} }
	for text, want := range map[string]any{
		"a: 1\nb: x\na: 2": object{"a": yes("2"), "b": "x"},
		"a: yes\nb: No\nc: on\nd: y\ne: n\nf: TRUE\ng: tRUE":   object{"a": yes("yes"), "b": no("No"), "c": yes("on"), "d": "y", "e": "n", "f": yes("TRUE"), "g": "tRUE"},
		"a: 1e3\nb: 1.0e+3\nc: 1.0e3\nd: .5\ne: 5.\nf: 1_000":  object{"a": "1e3", "b": yes("1.0e+3"), "c": "1.0e3", "d": yes(".5"), "e": yes("5."), "f": yes("1_000")},
		"a: 0x1F\nb: 0o17\nc: 017\nd: 08\ne: 1:30\nf: 1.10":    object{"a": yes("0x1F"), "b": "0o17", "c": yes("017"), "d": "08", "e": yes("1:30"), "f": yes("1.10")},
		"a: 0\nb: 0.0\nc: 00\nd: 0x0\ne: -0.0\nf: .nan":        object{"a": no("0"), "b": no("0.0"), "c": no("00"), "d": no("0x0"), "e": no("-0.0"), "f": yes(".nan")},
		"a: ~\nb: null\nc:\nd: nULL\ne: ''":                    object{"a": nil, "b": nil, "c": nil, "d": "nULL", "e": ""},
		"a: 2024-01-02\nb: 2024-1-2\nc: 2024-01-02 03:04:05":   object{"a": yes("2024-01-02"), "b": "2024-1-2", "c": yes("2024-01-02 03:04:05")},
		"a: 'yes'\nb: \"1\"\nc: |\n  1\n  2\nd: >\n  x\n  y\n": object{"a": "yes", "b": "1", "c": "1\n2\n", "d": "x y\n"},
		"a: [1, yes, x, 'no', ~, [y]]\nb: {c: off, d: 0}":      object{"a": list{yes("1"), yes("yes"), "x", "no", nil, list{"y"}}, "b": object{"c": no("off"), "d": no("0")}},
		"a: &x {p: p, q: q}\n<<: *x\n":                         object{"a": object{"p": "p", "q": "q"}, "p": "p", "q": "q"},
		"a: &x {p: p, q: q}\nb:\n  q: r\n  <<: *x\nc: *x":      object{"a": object{"p": "p", "q": "q"}, "b": object{"p": "p", "q": "r"}, "c": object{"p": "p", "q": "q"}},
		"1: x\nyes: y\nz: w\n? a\n: b":                         object{"z": "w", "a": "b"},
		"a: multi\n  line\n  text # comment\nb: a:b":           object{"a": "multi line text", "b": "a:b"},
		"- a\n- b": list{"a", "b"},
		"":         nil,
		"# only\n": nil,
	} {
		got, err := Load([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"a: b: c", "a: [", "a: \"x", "a\nb: c", "a: @x", "a: `x`", "a: %x", "a: - b", "a: *x", "{a: b", "a: b\n c: d", "a: 'x' y",
		"---\na: b\n---\nc: d"} {
		_, err := Load([]byte(text))
		require.Error(t, err, text)
	}
}

func FuzzLoad(f *testing.F) {
	for _, text := range []string{"a: 1\na: yes\n", "a: &x {p: [1, ~]}\nb: {<<: *x, <<: [*x]}\nc: *x\n", "? {a: b}\n: |\n  x\n", "- &a [*a]\n",
		"license: other\nlanguage:\n- no\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Load(data)
		if err == nil {
			walk(t, v)
		}
	})
}

// walk holds that a value consists of what Load promises.
func walk(t *testing.T, v any) {
	switch v := v.(type) {
	case nil, string, Plain:
	case []any:
		for _, item := range v {
			walk(t, item)
		}
	case map[string]any:
		for _, item := range v {
			walk(t, item)
		}
	default:
		t.Fatalf("%T", v)
	}
}
