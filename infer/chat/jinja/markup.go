package jinja

import (
	"regexp"
	"strings"
)

// markup is text that is marked as safe HTML. What is joined to it with + or
// through its methods is escaped.
type markup string

func isMarkup(v value) bool {
	_, ok := v.(markup)
	return ok
}

// like returns text of the same type as v.
func like(v value, s string) value {
	if isMarkup(v) {
		return markup(s)
	}
	return s
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

// escape returns a value as HTML.
func (r *renderer) escape(v value) markup {
	if m, ok := v.(markup); ok {
		return m
	}
	return markup(r.escapeText(r.str(v)))
}

func (r *renderer) escapeText(s string) string {
	r.alloc(len(s))
	s = htmlEscaper.Replace(s)
	r.alloc(len(s))
	return s
}

// markupMethods are the methods of str; their results are markup, too, and
// their arguments are escaped.
func markupMethods() map[string]method {
	wrapped := make(map[string]method)
	for name, m := range strMethods {
		wrapped[name] = func(r *renderer, self value, a arguments) value {
			pos := make([]value, len(a.pos))
			for i, v := range a.pos {
				if pos[i] = v; name == "replace" || name == "join" || name == "format" {
					pos[i] = r.escaped(v)
				}
			}
			return r.marked(m(r, self, arguments{pos, a.named}))
		}
	}
	return wrapped
}

// escaped escapes text, and text in a list.
func (r *renderer) escaped(v value) value {
	switch v := v.(type) {
	case string:
		return markup(r.escapeText(v))
	case *list:
		items := r.joined(v.items, nil)
		for i := range items {
			items[i] = r.escaped(items[i])
		}
		return &list{items}
	case *tuple:
		return newTuple(r.escaped(&list{v.items}).(*list).items...)
	}
	return v
}

// marked marks the text in a method's result.
func (r *renderer) marked(v value) value {
	switch v := v.(type) {
	case string:
		return markup(v)
	case *list:
		for i := range v.items {
			v.items[i] = r.marked(v.items[i])
		}
	case *tuple:
		for i := range v.items {
			v.items[i] = r.marked(v.items[i])
		}
	}
	return v
}

var htmlTag = regexp.MustCompile(`(?s)<!--.*?-->|<[^>]*>`)

var htmlEntities = strings.NewReplacer("&amp;", "&", "&gt;", ">", "&lt;", "<", "&#39;", "'", "&#34;", `"`, "&quot;", `"`, "&nbsp;", "\u00a0")

// stripTags takes the tags out of HTML and the space together.
func (r *renderer) stripTags(s string) string {
	r.alloc(3 * len(s))
	r.step(len(s) / 4)
	return htmlEntities.Replace(strings.Join(splitSpace(htmlTag.ReplaceAllString(s, ""), -1), " "))
}
