// Package jinja renders chat templates: programs in the language of Jinja2,
// with Python's values, that came with a model.
//
//	t, err := jinja.Parse(source)
//	if err != nil {
//		return err
//	}
//	text, err := t.Render(ctx, map[string]any{"messages": messages})
//
// The language is that of jinja2 3.1 as transformers sets it up: the immutable
// sandbox, trim_blocks, lstrip_blocks, break and continue, the generation tag,
// tojson of the json module, raise_exception and strftime_now. What a template
// cannot do there it cannot do here: change lists and dicts, load other
// templates, reach what is behind a value. Left out are the filters pprint,
// random, urlize and xmlattr, lipsum, and Python's complex numbers and bytes.
//
// Templates are hostile: one rendering has a budget of steps, of memory and of
// depth, and ends with an error that wraps [ErrLimit] when it is used up.
package jinja

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	errUnsupported = errors.New("unsupported")
	errNoLiteral   = errors.New("not a literal")
	errInternal    = errors.New("fault of the template engine")
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	body   []stmt
	blocks map[string][]stmt
	strict bool // what is undefined cannot be used at all
}

// Parse reads a template. The error wraps a [*SyntaxError] or [ErrLimit].
func Parse(source string) (t *Template, err error) { return read(source, false) }

// ParseStrict reads a template of lm-evaluation-harness: tags take no line ends and no space with them, the line end at the end of the
// text stays, and what is undefined cannot be used (keep_trailing_newline and StrictUndefined). The errors are those of Parse.
func ParseStrict(source string) (t *Template, err error) { return read(source, true) }

func read(source string, strict bool) (t *Template, err error) {
	defer rescue(&err)
	if len(source) > maxSource {
		return nil, fmt.Errorf("%w: %d bytes of text, at most %d", ErrLimit, len(source), maxSource)
	}
	body, blocks := parse(source, strict)
	return &Template{body, blocks, strict}, nil
}

// Literal returns what a literal of Python stands for, as ast.literal_eval does: nil, bool, int64, float64, string, or a []any of them.
func Literal(source string) (v any, err error) {
	defer rescue(&err)
	t, err := read("{{ "+source+" }}", true)
	if err != nil {
		return nil, err
	}
	if len(t.body) == 1 {
		if out, ok := t.body[0].(*outputStmt); ok {
			return literal(out.of), nil
		}
	}
	return nil, errNoLiteral
}

func literal(e expr) any {
	list := func(items []expr) []any {
		values := make([]any, len(items))
		for i, item := range items {
			values[i] = literal(item)
		}
		return values
	}
	switch e := e.(type) {
	case *constant:
		switch e.v.(type) {
		case nil, bool, int64, float64, string:
			return e.v
		}
	case *listExpr:
		return list(e.items)
	case *tupleExpr:
		return list(e.items)
	case *unary:
		switch v := literal(e.of).(type) {
		case int64:
			if e.op == "-" {
				return -v
			}
		case float64:
			if e.op == "-" {
				return -v
			}
		}
	}
	panic(failure{errNoLiteral})
}

// Render returns the text of a template. Variables are nil, bool, int, float64,
// string, []any, [Dict], and lists of these types. The error is the context's,
// wraps [ErrLimit], or is the one that the template raised.
func (t *Template) Render(ctx context.Context, variables map[string]any) (string, error) {
	return t.render(ctx, variables, enough)
}

func (t *Template) render(ctx context.Context, variables map[string]any, limits limits) (_ string, err error) {
	defer rescue(&err)
	r := &renderer{budget: budget{limits: limits, ctx: ctx}, variables: make(map[string]value), blocks: t.blocks, out: new(strings.Builder), now: time.Now(), strict: t.strict}
	r.step(0)
	for name, v := range variables {
		r.variables[name] = r.value(v)
	}
	r.root = new(scope)
	r.root.set("self", r.self())
	r.run(t.body, r.root)
	if n := r.out.Len(); n > maxText {
		return "", fmt.Errorf("%w: a text of %d bytes, at most %d", ErrLimit, n, maxText)
	}
	return r.out.String(), nil
}

// rescue turns a failure into an error. Anything else that panics is a fault of
// this package, which a template must not end the program with.
func rescue(err *error) {
	switch p := recover().(type) {
	case nil:
	case failure:
		*err = p.error
	default:
		*err = fmt.Errorf("%w: %v", errInternal, p)
	}
}

// Dict is a dict whose entries have an order.
type Dict []Entry

// Entry is a key of a dict and its value.
type Entry struct {
	Key   string
	Value any
}

// value makes a value of what Render is given.
func (r *renderer) value(v any) value {
	switch v := v.(type) {
	case nil, bool, float64, int64:
		return v
	case int:
		return int64(v)
	case string:
		return v
	case []any:
		items := make([]value, len(v))
		for i, item := range v {
			items[i] = r.value(item)
		}
		return &list{items}
	case []Dict:
		items := make([]value, len(v))
		for i, item := range v {
			items[i] = r.value(item)
		}
		return &list{items}
	case Dict:
		d := newDict()
		for _, e := range v {
			r.set(d, e.Key, r.value(e.Value))
		}
		return d
	}
	panic(fmt.Sprintf("a variable is a %T", v))
}

// renderer is the state of one rendering.
type renderer struct {
	budget
	variables  map[string]value
	blocks     map[string][]stmt
	root       *scope
	out        *strings.Builder
	autoescape bool
	strict     bool
	now        time.Time
}

// write adds to the text.
func (r *renderer) write(s string) {
	r.alloc(len(s))
	r.out.WriteString(s)
}

// capture returns what f writes.
func (r *renderer) capture(f func()) string {
	outer := r.out
	r.out = new(strings.Builder)
	f()
	s := r.out.String()
	r.out = outer
	return s
}

// scope has the variables of a body; those of the bodies around it can be read,
// not set.
type scope struct {
	parent *scope
	few    []variable       // most bodies have no more than a few
	more   map[string]value // the others
}

type variable struct {
	name  string
	value value
}

const few = 8

func (s *scope) inner() *scope { return &scope{parent: s} }

func (s *scope) set(name string, v value) {
	for i := range s.few {
		if s.few[i].name == name {
			s.few[i].value = v
			return
		}
	}
	switch {
	case len(s.few) < few:
		s.few = append(s.few, variable{name, v})
		return
	case s.more == nil:
		s.more = make(map[string]value)
	}
	s.more[name] = v
}

func (s *scope) get(name string) (value, bool) {
	for i := range s.few {
		if s.few[i].name == name {
			return s.few[i].value, true
		}
	}
	v, ok := s.more[name]
	return v, ok
}

// lookup returns the value of a name.
func (r *renderer) lookup(s *scope, name string) value {
	for ; s != nil; s = s.parent {
		if v, ok := s.get(name); ok {
			return v
		}
	}
	if v, ok := r.variables[name]; ok {
		return v
	}
	if v, ok := globals[name]; ok {
		return v
	}
	return undefinedName(name)
}
