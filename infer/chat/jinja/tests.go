package jinja

import (
	"math/big"
	"strings"
)

// test is what follows "is".
type test func(r *renderer, v value, a arguments) bool

var tests map[string]test

func init() {
	tests = map[string]test{
		"boolean":  is(func(v value) bool { return v == true || v == false }),
		"callable": is(callable),
		"defined":  is(func(v value) bool { _, ok := v.(*undefined); return !ok }),
		"divisibleby": func(r *renderer, v value, a arguments) bool {
			return r.equal(r.operate("%", v, a.bind("divisibleby", 1, "num").values[0]), int64(0))
		},
		"escaped": is(isMarkup),
		"even": func(r *renderer, v value, a arguments) bool {
			a.none("even")
			return r.equal(r.operate("%", v, int64(2)), int64(0))
		},
		"false":    is(func(v value) bool { return v == false }),
		"filter":   func(r *renderer, v value, a arguments) bool { return known(r, v, a, filters) },
		"float":    is(func(v value) bool { _, ok := v.(float64); return ok }),
		"in":       compares("in"),
		"integer":  is(func(v value) bool { _, isBool := v.(bool); return whole(v) != nil && !isBool }),
		"iterable": is(iterable),
		"lower": func(r *renderer, v value, a arguments) bool {
			a.none("lower")
			return strMethods["islower"](r, r.str(v), arguments{}).(bool)
		},
		"mapping": is(func(v value) bool { _, ok := v.(*dict); return ok }),
		"none":    is(func(v value) bool { return v == nil }),
		"number":  is(isNumber),
		"odd": func(r *renderer, v value, a arguments) bool {
			a.none("odd")
			return r.equal(r.operate("%", v, int64(2)), int64(1))
		},
		"sameas": func(_ *renderer, v value, a arguments) bool {
			return sameObject(v, a.bind("sameas", 1, "other").values[0])
		},
		"sequence":  is(sequence),
		"string":    is(func(v value) bool { _, ok := text(v); return ok }),
		"test":      func(r *renderer, v value, a arguments) bool { return known(r, v, a, tests) },
		"true":      is(func(v value) bool { return v == true }),
		"undefined": is(func(v value) bool { _, ok := v.(*undefined); return ok }),
		"upper": func(r *renderer, v value, a arguments) bool {
			a.none("upper")
			return strMethods["isupper"](r, r.str(v), arguments{}).(bool)
		},
	}
	for op, names := range map[string]string{"==": "eq equalto ==", "!=": "ne !=", ">": "gt greaterthan >", ">=": "ge >=", "<": "lt lessthan <",
		"<=": "le <="} {
		for name := range strings.FieldsSeq(names) {
			tests[name] = compares(op)
		}
	}
}

// is makes a test without arguments.
func is(f func(v value) bool) test {
	return func(_ *renderer, v value, a arguments) bool {
		a.none("test")
		return f(v)
	}
}

// known reports whether there is a filter or test of a name.
func known[T any](r *renderer, v value, a arguments, all map[string]T) bool {
	a.none("test")
	r.hash(v) // fails if it can be no name
	s, ok := text(v)
	_, there := all[s]
	return ok && there
}

func compares(op string) test {
	return func(r *renderer, v value, a arguments) bool {
		return r.compare(op, v, a.bind(op, 1, "other").values[0])
	}
}

func callable(v value) bool {
	switch v := v.(type) {
	case *function, *macro, *loop, *undefined:
		return true
	case *object:
		return v.call != nil
	}
	return false
}

func iterable(v value) bool {
	switch v.(type) {
	case string, markup, *list, *tuple, *dict, *view, interval, *iterator, *undefined, *loop:
		return true
	}
	return false
}

// sequence reports whether a value has a length and elements.
func sequence(v value) bool {
	switch v.(type) {
	case string, markup, *list, *tuple, *dict, interval, *undefined:
		return true
	}
	return false
}

// sameObject is Python's is: numbers of one value are taken for one object.
func sameObject(a, b value) bool {
	if x, ok := a.(*big.Int); ok {
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	}
	if _, ok := a.(interval); ok {
		return false
	}
	return a == b
}
