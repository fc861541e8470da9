package jinja

import "slices"

// arguments are what a function is called with.
type arguments struct {
	pos   []value
	named *dict // or nil
}

func (r *renderer) arguments(e argumentExprs, s *scope) arguments {
	a := arguments{pos: r.evalAll(e.pos, s)}
	if len(e.names) > 0 || e.spread2 != nil {
		a.named = newDict()
	}
	for i, name := range e.names {
		r.set(a.named, name, r.eval(e.named[i], s))
	}
	if e.spread != nil {
		a.pos = r.joined(a.pos, r.drain(r.iterate(r.eval(e.spread, s))))
	}
	if e.spread2 != nil {
		more, ok := r.eval(e.spread2, s).(*dict)
		if !ok {
			fail("argument after ** must be a mapping")
		}
		for _, entry := range more.entries {
			name, ok := text(entry.key)
			if !ok {
				fail("keywords must be strings")
			}
			if _, twice := a.named.get(name); twice {
				fail("got multiple values for keyword argument '%s'", name)
			}
			r.set(a.named, name, entry.value)
		}
	}
	return a
}

// call calls a value.
func (r *renderer) call(f value, a arguments) value {
	r.step(1)
	r.enter()
	defer r.leave()
	switch f := f.(type) {
	case *function:
		return f.call(r, a)
	case *macro:
		return r.invoke(f, a)
	case *loop:
		return f.again(a)
	case *object:
		if f.call != nil {
			return f.call(r, a)
		}
	case *undefined:
		f.fail()
	}
	fail("'%s' object is not callable", typeName(f))
	return nil
}

// bound are arguments in the order of a function's parameters.
type bound struct {
	function string
	values   []value
	given    []bool
}

// bind matches arguments with parameters, the first of which are required. One
// whose name begins with / cannot be given by name.
func (a arguments) bind(function string, required int, params ...string) bound {
	b := bound{function, make([]value, len(params)), make([]bool, len(params))}
	if len(a.pos) > len(params) {
		fail("%s() takes at most %d arguments (%d given)", function, len(params), len(a.pos))
	}
	for i, v := range a.pos {
		b.values[i], b.given[i] = v, true
	}
	if a.named != nil {
		for _, e := range a.named.entries {
			i := slices.Index(params, e.key.(string))
			if i < 0 {
				fail("%s() got an unexpected keyword argument '%s'", function, e.key)
			}
			if b.given[i] {
				fail("%s() got multiple values for argument '%s'", function, e.key)
			}
			b.values[i], b.given[i] = e.value, true
		}
	}
	for i := range required {
		if !b.given[i] {
			fail("%s() missing required argument '%s'", function, params[i])
		}
	}
	return b
}

// none binds no arguments.
func (a arguments) none(function string) { a.bind(function, 0) }

// or returns an argument, or what stands for one that is not given.
func (b bound) or(i int, absent value) value {
	if b.given[i] {
		return b.values[i]
	}
	return absent
}

// text returns an argument that has to be a str.
func (b bound) text(i int, absent string) string {
	if !b.given[i] {
		return absent
	}
	s, ok := text(b.values[i])
	if !ok {
		fail("%s() argument must be str, not %s", b.function, typeName(b.values[i]))
	}
	return s
}

// count returns an argument that has to be an int.
func (b bound) count(i, absent int) int {
	if !b.given[i] {
		return absent
	}
	return count(b.values[i])
}

// truth returns an argument as a bool.
func (b bound) truth(i int) bool { return b.given[i] && truth(b.values[i]) }
