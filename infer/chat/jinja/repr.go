package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str.
func (r *renderer) str(v value) string {
	if s, ok := text(v); ok {
		return s
	}
	if u, ok := v.(*undefined); ok {
		u.failIfStrict()
		return ""
	}
	return r.repr(v)
}

// repr is Python's repr.
func (r *renderer) repr(v value) string {
	var b strings.Builder
	r.writeRepr(&b, v)
	return b.String()
}

// shortRepr is repr for messages.
func (r *renderer) shortRepr(v value) string {
	switch v := v.(type) {
	case string:
		if len(v) > 60 {
			v = v[:60]
		}
		return pythonRepr(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return "of type " + typeName(v)
}

func (r *renderer) writeRepr(b *strings.Builder, v value) {
	r.step(1)
	r.enter()
	defer r.leave()
	put := func(s string) {
		r.alloc(len(s))
		b.WriteString(s)
	}
	several := func(begin, end string, items []value) {
		put(begin)
		for i, item := range items {
			if i > 0 {
				put(", ")
			}
			r.writeRepr(b, item)
		}
		put(end)
	}
	switch v := v.(type) {
	case nil:
		put("None")
	case bool:
		put(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		put(strconv.FormatInt(v, 10))
	case *big.Int:
		put(r.intRepr(v))
	case float64:
		put(floatRepr(v))
	case string:
		r.alloc(len(v))
		put(pythonRepr(v))
	case markup:
		put("Markup(" + pythonRepr(string(v)) + ")")
	case *list:
		several("[", "]", v.items)
	case *tuple:
		if len(v.items) == 1 {
			several("(", ",)", v.items)
		} else {
			several("(", ")", v.items)
		}
	case *dict:
		put("{")
		for i, e := range v.entries {
			if i > 0 {
				put(", ")
			}
			r.writeRepr(b, e.key)
			put(": ")
			r.writeRepr(b, e.value)
		}
		put("}")
	case *view:
		put("dict_" + v.kind)
		several("([", "])", r.drain(v.iterate()))
	case interval:
		if v.step == 1 {
			put(fmt.Sprintf("range(%d, %d)", v.start, v.stop))
		} else {
			put(fmt.Sprintf("range(%d, %d, %d)", v.start, v.stop, v.step))
		}
	case *namespace:
		put("<Namespace ")
		r.writeRepr(b, v.attrs)
		put(">")
	case *undefined:
		put("Undefined")
	case *macro:
		put("<Macro " + pythonRepr(v.name) + ">")
	case *loop:
		put(fmt.Sprintf("<LoopContext %d/%d>", v.index0+1, v.length()))
	default:
		put("<" + typeName(v) + ">")
	}
}

// pythonRepr writes a str as a literal.
func pythonRepr(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == rune(quote) || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case printable(c):
			b.WriteString(s[i : i+n])
		case c < 0x100:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
		i += n
	}
	b.WriteByte(quote)
	return b.String()
}

// printable is Python's isprintable of a character.
func printable(c rune) bool {
	return c == ' ' || !unicode.In(c, unicode.C, unicode.Z) && (unicode.IsPrint(c) || unicode.In(c, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S))
}

// ascii writes a literal with escapes for all that is not ASCII.
func ascii(repr string) string {
	var b strings.Builder
	for _, c := range repr {
		switch {
		case c < 0x80:
			b.WriteRune(c)
		case c < 0x100:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
	}
	return b.String()
}

// goRepr writes the hash of a value so that different ones differ.
func goRepr(hash any) string {
	switch h := hash.(type) {
	case nil:
		return "None"
	case string:
		return strconv.Quote(h)
	case hashed:
		return h.kind + strconv.Quote(h.text)
	case int64, float64, interval:
		return fmt.Sprintf("%T %v", h, h)
	}
	return fmt.Sprintf("%p", hash)
}
