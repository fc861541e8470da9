package jinja

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// encoder is Python's json.dumps.
type encoder struct {
	r               *renderer
	b               strings.Builder
	indent          string
	indented        bool
	ascii, sorted   bool
	itemSep, keySep string
}

// toJSON is the filter that transformers sets up.
func toJSON(r *renderer, v value, a arguments) value {
	b := arguments{append([]value{v}, a.pos...), a.named}.bind("tojson", 1, "x", "ensure_ascii", "indent", "separators", "sort_keys")
	e := &encoder{r: r, ascii: b.truth(1), sorted: b.truth(4), itemSep: ", ", keySep: ": "}
	if indent := b.or(2, nil); indent != nil {
		e.indented, e.itemSep = true, ","
		if s, ok := text(indent); ok {
			e.indent = s
		} else {
			n := count(indent)
			r.allocTimes(n, 1)
			e.indent = strings.Repeat(" ", max(n, 0))
		}
	}
	if s := b.or(3, nil); s != nil {
		pair := r.collect(s)
		if len(pair) != 2 {
			fail("tojson: separators has %d elements, not 2", len(pair))
		}
		var ok, ok2 bool
		e.itemSep, ok = text(pair[0])
		if e.keySep, ok2 = text(pair[1]); !ok || !ok2 {
			fail("tojson: separators have to be texts")
		}
	}
	e.write(v, 0)
	return e.b.String()
}

func (e *encoder) put(s string) {
	e.r.alloc(len(s))
	e.b.WriteString(s)
}

// line begins a new line at a depth, if there is an indent.
func (e *encoder) line(depth int) {
	if e.indented {
		e.put("\n")
		e.r.allocTimes(depth, len(e.indent))
		e.b.WriteString(strings.Repeat(e.indent, depth))
	}
}

func (e *encoder) write(v value, depth int) {
	e.r.step(1)
	e.r.enter()
	defer e.r.leave()
	if s, ok := text(v); ok {
		e.quote(s)
		return
	}
	switch v := v.(type) {
	case *list:
		e.list(v.items, depth)
	case *tuple:
		e.list(v.items, depth)
	case *dict:
		e.dict(v, depth)
	default:
		s, ok := e.scalar(v)
		if !ok {
			fail("Object of type %s is not JSON serializable", typeName(v))
		}
		e.put(s)
	}
}

func (e *encoder) scalar(v value) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "null", true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case *big.Int:
		return e.r.intRepr(v), true
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN", true
		case math.IsInf(v, 1):
			return "Infinity", true
		case math.IsInf(v, -1):
			return "-Infinity", true
		}
		return floatRepr(v), true
	}
	return "", false
}

func (e *encoder) list(items []value, depth int) {
	e.put("[")
	for i, item := range items {
		if i > 0 {
			e.put(e.itemSep)
		}
		e.line(depth + 1)
		e.write(item, depth+1)
	}
	if len(items) > 0 {
		e.line(depth)
	}
	e.put("]")
}

func (e *encoder) dict(d *dict, depth int) {
	entries := d.entries
	if e.sorted {
		e.r.allocTimes(len(entries), entrySize)
		entries = slices.Clone(entries)
		slices.SortStableFunc(entries, func(a, b entry) int { return e.r.order("<", a.key, b.key) })
	}
	e.put("{")
	for i, entry := range entries {
		if i > 0 {
			e.put(e.itemSep)
		}
		e.line(depth + 1)
		key, ok := text(entry.key)
		if !ok {
			if key, ok = e.scalar(entry.key); !ok {
				fail("keys must be str, int, float, bool or None, not %s", typeName(entry.key))
			}
		}
		e.quote(key)
		e.put(e.keySep)
		e.write(entry.value, depth+1)
	}
	if len(entries) > 0 {
		e.line(depth)
	}
	e.put("}")
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}

func (e *encoder) quote(s string) {
	e.r.alloc(len(s) + 2)
	e.b.WriteByte('"')
	for _, c := range s {
		escaped, ok := jsonEscapes[c]
		switch {
		case ok:
		case c < 0x20, e.ascii && 0x7e < c && c < 0x10000:
			escaped = fmt.Sprintf(`\u%04x`, c)
		case e.ascii && c >= 0x10000:
			c -= 0x10000
			escaped = fmt.Sprintf(`\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			e.b.WriteRune(c)
			continue
		}
		e.r.alloc(len(escaped))
		e.b.WriteString(escaped)
	}
	e.b.WriteByte('"')
}
