package jinja

import (
	"math/big"
)

// value is a Python value:
//
//	None        nil
//	bool, float bool, float64
//	int         int64, or *big.Int if it does not fit
//	str         string, or markup if it is marked as safe
//
// and the types of this file. Lists and dicts cannot be changed, as in the
// sandbox of the reference.
type value any

type (
	list struct{ items []value }
	// tuple has names for its elements if it is one of groupby's.
	tuple struct {
		items  []value
		fields []string
	}

	// interval is what range returns.
	interval struct {
		start, stop, step int64
		n                 int
	}

	// iterator hands out each element once.
	iterator struct{ next func() (value, bool) }

	// view is what the methods keys, values and items of a dict return.
	view struct {
		d    *dict
		kind string
	}

	// namespace has attributes that can be set.
	namespace struct{ attrs *dict }

	// undefined stands for what is not there. Most uses of it fail.
	undefined struct {
		why    string
		strict bool // all uses fail
	}

	// function is anything that can be called, except macros and loops.
	function struct {
		name string
		call func(r *renderer, a arguments) value
	}

	// object is one of the few other things with attributes.
	object struct {
		name  string
		attrs map[string]func() value
		call  func(r *renderer, a arguments) value // nil if it cannot be called
	}
)

func newTuple(items ...value) *tuple { return &tuple{items: items} }

func undefinedName(name string) *undefined { return missing(pythonRepr(name) + " is undefined") }

// typeName is the name of a value's type in Python.
func typeName(v value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *list:
		return "list"
	case *tuple:
		return "tuple"
	case *dict:
		return "dict"
	case interval:
		return "range"
	case *iterator:
		return "generator"
	case *view:
		return "dict_" + v.kind
	case *namespace:
		return "Namespace"
	case *undefined:
		return "Undefined"
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *object:
		return v.name
	}
	return "function"
}

// text returns the characters of a str.
func text(v value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// truth is what Python's bool returns.
func truth(v value) bool {
	switch v := v.(type) {
	case nil:
		return false
	case *undefined:
		v.failIfStrict()
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	}
	if n, ok := length(v); ok {
		return n > 0
	}
	return true
}

// length is what Python's len returns, for what has a length.
func length(v value) (int, bool) {
	switch v := v.(type) {
	case string:
		return runeCount(v), true
	case markup:
		return runeCount(string(v)), true
	case *list:
		return len(v.items), true
	case *tuple:
		return len(v.items), true
	case *dict:
		return len(v.entries), true
	case *view:
		return len(v.d.entries), true
	case interval:
		return v.n, true
	case *undefined:
		return 0, true
	case *loop:
		return v.length(), true
	}
	return 0, false
}

func (v interval) at(i int) value { return v.start + int64(i)*v.step }

// iterate returns a function for each element in turn, as Python's iter does.
// Every call is a step.
func (r *renderer) iterate(v value) func() (value, bool) {
	next := r.elements(v)
	return func() (value, bool) {
		r.step(1)
		return next()
	}
}

func (r *renderer) elements(v value) func() (value, bool) {
	switch v := v.(type) {
	case *iterator:
		return v.next
	case *list:
		return each(v.items)
	case *tuple:
		return each(v.items)
	case *undefined:
		return each(nil)
	case interval:
		i := 0
		return func() (value, bool) {
			if i++; i > v.n {
				return nil, false
			}
			return v.at(i - 1), true
		}
	case *dict:
		return (&view{v, "keys"}).iterate()
	case *view:
		return v.iterate()
	case *loop:
		return func() (value, bool) {
			item, ok := v.advance()
			return newTuple(item, v), ok
		}
	}
	if s, ok := text(v); ok {
		return func() (value, bool) {
			if s == "" {
				return nil, false
			}
			n := runeLen(s)
			c := s[:n]
			s = s[n:]
			return c, true
		}
	}
	fail("'%s' object is not iterable", typeName(v))
	return nil
}

func each(items []value) func() (value, bool) {
	i := 0
	return func() (value, bool) {
		if i >= len(items) {
			return nil, false
		}
		i++
		return items[i-1], true
	}
}

// collect returns all elements, as Python's list does. The result may be
// shared: it must not be changed.
func (r *renderer) collect(v value) []value {
	switch v := v.(type) {
	case *list:
		return v.items
	case *tuple:
		return v.items
	}
	return r.drain(r.iterate(v))
}

// drain returns what is left.
func (r *renderer) drain(next func() (value, bool)) []value {
	var items []value
	for item, ok := next(); ok; item, ok = next() {
		items = r.push(items, item)
	}
	return items
}

// push appends one element to a list under construction.
func (r *renderer) push(items []value, v value) []value {
	r.alloc(valueSize)
	return append(items, v)
}

// generator returns an iterator that begins its work, and fails, when it is asked
// for the first element.
func (r *renderer) generator(begin func() func() (value, bool)) *iterator {
	var next func() (value, bool)
	return r.lazily(func() (value, bool) {
		if next == nil {
			next = begin()
		}
		return next()
	})
}

// lazily returns an iterator whose elements are counted as steps.
func (r *renderer) lazily(next func() (value, bool)) *iterator {
	return &iterator{func() (value, bool) {
		r.step(1)
		r.enter()
		defer r.leave()
		return next()
	}}
}
