package jinja

import (
	"slices"
	"strings"
)

// run executes statements one after another.
func (r *renderer) run(body []stmt, s *scope) ending {
	r.enter()
	defer r.leave()
	for _, st := range body {
		r.step(1)
		if how := st.exec(r, s); how != ended {
			return how
		}
	}
	return ended
}

func (st *textStmt) exec(r *renderer, _ *scope) ending {
	r.write(st.text)
	return ended
}

func (st *outputStmt) exec(r *renderer, s *scope) ending {
	r.print(r.eval(st.of, s))
	return ended
}

// print writes a value as text.
func (r *renderer) print(v value) {
	if r.autoescape {
		r.write(string(r.escape(v)))
		return
	}
	r.write(r.str(v))
}

func (st *ifStmt) exec(r *renderer, s *scope) ending {
	for i, test := range st.tests {
		if truth(r.eval(test, s)) {
			return r.run(st.bodies[i], s)
		}
	}
	return r.run(st.otherwise, s)
}

func (st *setStmt) exec(r *renderer, s *scope) ending {
	st.target.assign(r, s, r.eval(st.of, s))
	return ended
}

func (st *setBlockStmt) exec(r *renderer, s *scope) ending {
	how := ended
	inner := s.inner()
	text := r.safe(r.capture(func() { how = r.run(st.body, inner) }))
	if how == ended {
		inner.set(blockText, text)
		st.target.assign(r, s, r.eval(st.value, inner))
	}
	return how
}

// safe marks what statements wrote as escaped, if it was.
func (r *renderer) safe(s string) value {
	if r.autoescape {
		return markup(s)
	}
	return s
}

func (st *withStmt) exec(r *renderer, s *scope) ending {
	inner := s.inner()
	for i, t := range st.targets {
		t.assign(r, inner, r.eval(st.values[i], s))
	}
	return r.run(st.body, inner)
}

func (st *filterStmt) exec(r *renderer, s *scope) ending {
	inner := s.inner()
	how := ended
	text := r.safe(r.capture(func() { how = r.run(st.body, inner) }))
	if how == ended {
		inner.set(blockText, text)
		r.print(r.eval(st.value, inner))
	}
	return how
}

func (st *autoescapeStmt) exec(r *renderer, s *scope) ending {
	outer := r.autoescape
	r.autoescape = truth(r.eval(st.on, s))
	defer func() { r.autoescape = outer }()
	return r.run(st.body, s.inner())
}

func (st *generationStmt) exec(r *renderer, s *scope) ending {
	r.print(r.invoke(&macro{st.body, s}, arguments{}))
	return ended
}

func (st *blockStmt) exec(r *renderer, s *scope) ending {
	from := r.root
	if st.scoped {
		from = s
	}
	return r.run(r.blocks[st.name], from.inner())
}

// self is the special variable whose attributes are the template's blocks.
func (r *renderer) self() value {
	blocks := make(map[string]func() value)
	for name, body := range r.blocks {
		blocks[name] = func() value {
			return &function{name, func(r *renderer, a arguments) value {
				a.none(name)
				return r.safe(r.capture(func() { r.run(body, r.root.inner()) }))
			}}
		}
	}
	return &object{name: "TemplateReference", attrs: blocks}
}

func (st *loopControlStmt) exec(*renderer, *scope) ending { return st.as }

func (st *noLoaderStmt) exec(*renderer, *scope) ending {
	fail("%s: a chat template cannot load others", st.tag)
	return ended
}

func (t *nameTarget) assign(_ *renderer, s *scope, v value) { s.set(t.name, v) }

func (t *namespaceTarget) assign(r *renderer, s *scope, v value) {
	ns, ok := r.lookup(s, t.name).(*namespace)
	if !ok {
		fail("cannot assign attribute on non-namespace object")
	}
	r.set(ns.attrs, t.attr, v)
}

func (t *tupleTarget) assign(r *renderer, s *scope, v value) {
	next := r.iterate(v)
	for i, item := range t.items {
		v, ok := next()
		if !ok {
			fail("not enough values to unpack (expected %d, got %d)", len(t.items), i)
		}
		item.assign(r, s, v)
	}
	if _, more := next(); more {
		fail("too many values to unpack (expected %d)", len(t.items))
	}
}

// loop is the special variable of a for loop.
type loop struct {
	r         *renderer
	statement *forStmt
	scope     *scope // around the loop
	next      func() (value, bool)
	total     int // -1 if it is not known yet
	index0    int
	depth0    int
	ahead     []value // read before their turn
	current   value
	before    value
	changed   *tuple
}

func (st *forStmt) exec(r *renderer, s *scope) ending {
	if st.recursive {
		r.write(r.capture(func() { st.loop(r, s, r.eval(st.iter, s), 0) }))
		return ended
	}
	st.loop(r, s, r.eval(st.iter, s), 0)
	return ended
}

// loop goes through the elements of a value.
func (st *forStmt) loop(r *renderer, s *scope, over value, depth int) {
	l := &loop{r: r, statement: st, scope: s, depth0: depth, index0: -1, total: -1}
	l.next = r.iterate(over)
	if st.test == nil {
		if n, ok := length(over); ok {
			l.total = n
		}
	} else {
		all := l.next
		l.next = func() (value, bool) {
			for v, ok := all(); ok; v, ok = all() {
				r.step(1)
				inner := s.inner()
				st.target.assign(r, inner, v)
				if truth(r.eval(st.test, inner)) {
					return v, true
				}
			}
			return nil, false
		}
	}
	whole := false // one round at least, without break or continue
	for v, ok := l.advance(); ok; v, ok = l.advance() {
		r.step(1)
		inner := s.inner()
		st.target.assign(r, inner, v)
		inner.set("loop", l)
		how := r.run(st.body, inner)
		if how == broke {
			break
		}
		whole = whole || how == ended
	}
	if !whole {
		r.run(st.otherwise, s.inner())
	}
}

// advance makes the next element the current one.
func (l *loop) advance() (value, bool) {
	var v value
	var ok bool
	if len(l.ahead) > 0 {
		v, ok = l.ahead[0], true
		l.ahead = l.ahead[1:]
	} else {
		v, ok = l.next()
	}
	if ok {
		l.index0++
		l.before, l.current = l.current, v
	}
	return v, ok
}

// length returns the number of elements, for which it may have to read all.
func (l *loop) length() int {
	if l.total < 0 {
		for v, ok := l.next(); ok; v, ok = l.next() {
			l.ahead = l.r.push(l.ahead, v)
		}
		l.total = l.index0 + 1 + len(l.ahead)
	}
	return l.total
}

// peek returns the element after the current one.
func (l *loop) peek() (value, bool) {
	if len(l.ahead) == 0 {
		v, ok := l.next()
		if !ok {
			return nil, false
		}
		l.ahead = append(l.ahead, v)
	}
	return l.ahead[0], true
}

func (l *loop) attribute(name string) (value, bool) {
	switch name {
	case "index":
		return int64(l.index0 + 1), true
	case "index0":
		return int64(l.index0), true
	case "length":
		return int64(l.length()), true
	case "revindex":
		return int64(l.length() - l.index0), true
	case "revindex0":
		return int64(l.length() - l.index0 - 1), true
	case "depth":
		return int64(l.depth0 + 1), true
	case "depth0":
		return int64(l.depth0), true
	case "first":
		return l.index0 == 0, true
	case "last":
		_, more := l.peek()
		return !more, true
	case "previtem":
		if l.index0 == 0 {
			return missing("there is no previous item"), true
		}
		return l.before, true
	case "nextitem":
		v, ok := l.peek()
		if !ok {
			return missing("there is no next item"), true
		}
		return v, true
	case "cycle":
		return &function{name, func(_ *renderer, a arguments) value {
			if len(a.pos) == 0 {
				fail("no items for cycling given")
			}
			return a.pos[l.index0%len(a.pos)]
		}}, true
	case "changed":
		return &function{name, func(r *renderer, a arguments) value {
			now := newTuple(a.pos...)
			if l.changed != nil && r.equal(l.changed, now) {
				return false
			}
			l.changed = now
			return true
		}}, true
	}
	return nil, false
}

// again renders a recursive loop for other elements.
func (l *loop) again(a arguments) value {
	if !l.statement.recursive {
		fail("the loop must have the 'recursive' marker to be called recursively")
	}
	over := a.bind("loop", 1, "iterable").values[0]
	return l.r.capture(func() { l.statement.loop(l.r, l.scope, over, l.depth0+1) })
}

// macro is a function that a template defines.
type macro struct {
	*macroExpr
	scope *scope
}

func (st *macroStmt) exec(_ *renderer, s *scope) ending {
	s.set(st.macro.name, &macro{st.macro, s})
	return ended
}

func (st *callStmt) exec(r *renderer, s *scope) ending {
	f := r.eval(st.call.of, s)
	a := r.arguments(st.call.args, s)
	if a.named == nil {
		a.named = newDict()
	}
	r.set(a.named, "caller", &macro{st.caller, s})
	r.print(r.call(f, a))
	return ended
}

// invoke renders a macro.
func (r *renderer) invoke(m *macro, a arguments) value {
	r.allocTimes(len(m.params), entrySize)
	s := m.scope.inner()
	left := newDict()
	if a.named != nil {
		for _, e := range a.named.entries {
			r.set(left, e.key, e.value)
		}
	}
	take := func(name string) (value, bool) {
		v, ok := left.get(name)
		if ok {
			left = r.without(left, name)
		}
		return v, ok
	}
	var absent []int
	for i, param := range m.params {
		if i < len(a.pos) {
			s.set(param, a.pos[i])
		} else if v, ok := take(param); ok {
			s.set(param, v)
		} else {
			s.set(param, missing("parameter "+pythonRepr(param)+" was not provided"))
			absent = append(absent, i)
		}
	}
	for _, i := range absent {
		if d := i - (len(m.params) - len(m.defaults)); d >= 0 {
			s.set(m.params[i], r.eval(m.defaults[d], s))
		}
	}
	if m.usesCaller && !slices.Contains(m.params, "caller") {
		v, ok := take("caller")
		if !ok || v == nil {
			v = missing("No caller defined")
		}
		s.set("caller", v)
	}
	if m.usesKwargs {
		s.set("kwargs", left)
	} else if len(left.entries) > 0 {
		fail("macro '%s' takes no keyword argument '%s'", m.name, left.entries[0].key)
	}
	rest := a.pos[min(len(a.pos), len(m.params)):]
	if m.usesVarargs {
		s.set("varargs", newTuple(rest...))
	} else if len(rest) > 0 {
		fail("macro '%s' takes not more than %d argument(s)", m.name, len(m.params))
	}
	return r.safe(r.capture(func() { r.run(m.body, s) }))
}

// without returns a dict without one of its keys.
func (r *renderer) without(d *dict, name string) *dict {
	left := newDict()
	for _, e := range d.entries {
		if e.key != any(name) {
			r.set(left, e.key, e.value)
		}
	}
	return left
}

// joinStrings joins texts, counting what that takes.
func (r *renderer) joinStrings(parts []string, sep string) string {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	r.allocTimes(len(parts)-1, len(sep))
	r.alloc(n)
	return strings.Join(parts, sep)
}
