package pyjson

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type (
	list   = []any
	object = map[string]any
)

// TestAsPython has what json.loads of Python 3.14 makes of each document.
func TestAsPython(t *testing.T) {
	inf := math.Inf(1)
	for text, want := range map[string]any{
		`{"a": 1, "A": 2}`:                       object{"a": int64(1), "A": int64(2)},
		`{"a": 1, "b": 2, "a": 3}`:               object{"a": int64(3), "b": int64(2)},
		`{"a": {"x": 1}, "a": {"y": [2]}}`:       object{"a": object{"y": list{int64(2)}}},
		`{"a":1,"a":2,"a":3}`:                    object{"a": int64(3)},
		`{"a":1,"\u0061":2}`:                     object{"a": int64(2)},
		`[{"a": [{"b":1 , "b" : 2}],"a":"}"}]`:   list{object{"a": "}"}},
		`{"b":1,"a":{"a":1,"a":2},"b":3}`:        object{"a": object{"a": int64(2)}, "b": int64(3)},
		`{"": 1, "": null}`:                      object{"": nil},
		`[NaN, Infinity, -Infinity]`:             list{"not a number", inf, -inf},
		`{"a":NaN}`:                              object{"a": "not a number"},
		`-Infinity `:                             -inf,
		`[0e0, 0E0, 0.0, -0e0, 0e00]`:            list{0.0, 0.0, 0.0, math.Copysign(0, -1), 0.0},
		`"NaN, Infinity"`:                        "NaN, Infinity",
		`{"Infinity":"0e0 \"NaN\""}`:             object{"Infinity": `0e0 "NaN"`},
		`[1e400, -1e400, 1e-400]`:                list{inf, -inf, 0.0},
		`[1, -0, 1.0, 1e3, 9223372036854775807]`: list{int64(1), int64(0), 1.0, 1000.0, int64(math.MaxInt64)},
		`18446744073709551616`:                   float64(1 << 64),          // an integer for Python
		`"\ud83d\ude00 \ud83d x\ude00\\ud800"`:   "😀 \ufffd x\ufffd\\ud800", // for Python the halves
		`"\ud83d\ud83d\ude00"`:                   "\ufffd😀",
		`"\u00e9é\/\b"`:                          "éé/\b",
		" \t\r\n[]\n ":                           list{},
		`null`:                                   nil,
	} {
		var v any
		require.NoError(t, Unmarshal([]byte(text), &v), text)
		require.Equal(t, want, nameNaN(v), text)
	}
	for _, text := range []string{
		"", " ", "{", `{"a"}`, `{"a":1,}`, `[1,]`, `[1 2]`, `{"a":1 "b":2}`, `{a:1}`, `'a'`, `[1] x`, `[1]]`, `01`, `1.`, `.5`, `+1`, `1NaN`, `NaN1`, `-NaN`, `nan`, `inf`, `+Infinity`,
		`InfinityNaN`, `[NaN`, `tru`, `None`, "\"a\nb\"", "\"\x01\"", `"\x"`, `"\u12"`, `"a`, "\"\xff\"", "\xef\xbb\xbf{}", "\xff\xfe{\x00}\x00", "// a\n{}", `{"a":1,"a"}`, `{"a":1,"a":}`,
		"[]\x00", strings.Repeat("[", 1_000_000), strings.Repeat(`{"a":1,"a":`, 1_000_000),
	} {
		var v any
		require.Error(t, Unmarshal([]byte(text), &v), text[:min(len(text), 40)])
	}
}

// nameNaN replaces what is unequal to itself.
func nameNaN(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) {
			return "not a number"
		}
	case list:
		for i := range v {
			v[i] = nameNaN(v[i])
		}
	case object:
		for name := range v {
			v[name] = nameNaN(v[name])
		}
	}
	return v
}

func TestVariables(t *testing.T) {
	type inner struct {
		Factor *float64 `json:"factor"`
	}
	type document struct {
		Int    int64            `json:"int"`
		Small  int32            `json:"small"`
		Float  float64          `json:"float"`
		Single float32          `json:"single"`
		Text   string           `json:"text"`
		Flag   bool             `json:"flag"`
		Maybe  *int64           `json:"maybe"`
		Inner  *inner           `json:"inner"`
		List   []int64          `json:"list"`
		Map    map[string]int32 `json:"map"`
	}
	before := func() document { return document{Int: 7, Small: 7, Float: 7, Single: 7, Text: "7", Flag: true} }
	for text, change := range map[string]func(d *document){
		`{}`:                               func(*document) {},
		`null`:                             func(d *document) { *d = document{} },
		`{"Int": 1, "INT": 2, "fLoat": 3}`: func(*document) {},
		`{"int": null, "small": null, "float": null, "single": null, "text": null, "flag": null}`: func(*document) {},
		`{"int": 512.0, "small": 1e3, "maybe": -2.0, "list": [1.0, 2], "map": {"a": 3.0}}`: func(d *document) {
			d.Int, d.Small, d.Maybe, d.List, d.Map = 512, 1000, new(int64(-2)), []int64{1, 2}, map[string]int32{"a": 3}
		},
		`{"float": 1, "single": Infinity}`:                                                      func(d *document) { d.Float, d.Single = 1, float32(math.Inf(1)) },
		`{"inner": {"factor": 1}, "inner": {}}`:                                                 func(d *document) { d.Inner = &inner{} },
		`{"inner": {"factor": 8, "Factor": 2, "factor": 4e0}}`:                                  func(d *document) { d.Inner = &inner{Factor: new(4.0)} },
		`{"inner": null, "maybe": null, "list": null, "map": null, "other": [{"int": "text"}]}`: func(*document) {},
	} {
		got, want := before(), before()
		change(&want)
		require.NoError(t, Unmarshal([]byte(text), &got), text)
		require.Equal(t, want, got, text)
	}
	for text, message := range map[string]string{
		`{"int": 1.5}`:                    "/int (offset 8): 1.5 is not a whole number of 64 bits",
		`{"int": 1e30}`:                   "/int (offset 8): 1e+30 is not a whole number of 64 bits",
		`{"int": NaN}`:                    "/int (offset 8): NaN is not a whole number of 64 bits",
		`{"int": "1"}`:                    "/int (offset 8): a text where a number is needed",
		`{"small": 4294967296}`:           "/small (offset 10): 4294967296 is too large",
		`{"float": true}`:                 "/float (offset 10): true where a number is needed",
		`{"text": 1}`:                     "/text (offset 9): a number is not what is needed here",
		`{"inner": {"factor": {}}}`:       "/inner/factor (offset 21): an object where a number is needed",
		`{"inner": {"factor": 1, "x": }}`: "offset 29: ",
		`[]`:                              "offset 0: a list is not what is needed here",
		"\xef\xbb\xbf{}":                  "offset 0: ",
	} {
		d := before()
		require.ErrorContains(t, Unmarshal([]byte(text), &d), message, text)
	}
}

// FuzzUnmarshal holds that what encoding/json takes means the same here, but for names
// that are there twice, and that nothing else is changed.
func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{
		`{"a": 1, "A": [2, {"b": null}]}`, `{"a":1,"a":{"b":1,"b":2}}`, `[NaN,-Infinity,0e0]`, `"\ud83d\ude00\ud800"`, `{"vocab":{"<s>":1},"merges":["a b",["a","b"]]}`, `{"NaN":NaN`, "\xef\xbb\xbf{}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := slices.Clone(data)
		var got any
		err := Unmarshal(data, &got)
		require.Equal(t, before, data)
		var want any
		if json.Unmarshal(data, &want) != nil || strings.ContainsRune(string(data), '\ufffd') {
			return
		}
		if err != nil {
			return // invalid UTF-8, which encoding/json replaces
		}
		require.Equal(t, floats(want), floats(got))
	})
}

// floats makes all numbers floats.
func floats(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case list:
		out := make(list, len(v))
		for i := range v {
			out[i] = floats(v[i])
		}
		return out
	case object:
		out := maps.Clone(v)
		for name := range v {
			out[name] = floats(v[name])
		}
		return out
	}
	return v
}
