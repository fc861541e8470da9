package jinja

import (
	"math/big"
	"slices"
	"strings"
)

// eval returns the value of an expression.
func (r *renderer) eval(e expr, s *scope) value {
	r.step(1)
	r.enter()
	defer r.leave()
	v := e.eval(r, s)
	if u, ok := v.(*undefined); ok && r.strict {
		return &undefined{u.why, true}
	}
	return v
}

func (e *constant) eval(*renderer, *scope) value { return e.v }

func (e *name) eval(r *renderer, s *scope) value { return r.lookup(s, e.name) }

func (r *renderer) evalAll(list []expr, s *scope) []value {
	r.allocTimes(len(list), valueSize)
	items := make([]value, len(list))
	for i, e := range list {
		items[i] = r.eval(e, s)
	}
	return items
}

func (e *listExpr) eval(r *renderer, s *scope) value { return &list{r.evalAll(e.items, s)} }

func (e *tupleExpr) eval(r *renderer, s *scope) value { return newTuple(r.evalAll(e.items, s)...) }

func (e *dictExpr) eval(r *renderer, s *scope) value {
	d := newDict()
	for i, key := range e.keys {
		k := r.eval(key, s)
		r.set(d, k, r.eval(e.values[i], s))
	}
	return d
}

func (e *attribute) eval(r *renderer, s *scope) value {
	return r.getAttribute(r.eval(e.of, s), e.name)
}

func (e *subscript) eval(r *renderer, s *scope) value {
	of := r.eval(e.of, s)
	return r.getItem(of, r.eval(e.index, s))
}

// bounds is the value of a slice expression.
type bounds struct{ start, stop, step value }

func (e *slice) eval(r *renderer, s *scope) value {
	one := func(e expr) value {
		if e == nil {
			return nil
		}
		return r.eval(e, s)
	}
	return &bounds{one(e.start), one(e.stop), one(e.step)}
}

func (e *call) eval(r *renderer, s *scope) value {
	f := r.eval(e.of, s)
	return r.call(f, r.arguments(e.args, s))
}

func (e *filterExpr) eval(r *renderer, s *scope) value {
	v := r.eval(e.of, s)
	return r.filter(e.name, v, r.arguments(e.args, s))
}

// filter calls a filter by its name.
func (r *renderer) filter(name string, v value, a arguments) value {
	f, ok := filters[name]
	if !ok {
		fail("no filter named '%s'", name)
	}
	r.step(1)
	r.enter()
	defer r.leave()
	return f(r, v, a)
}

func (e *testExpr) eval(r *renderer, s *scope) value {
	v := r.eval(e.of, s)
	return r.test(e.name, v, r.arguments(e.args, s))
}

// test calls a test by its name.
func (r *renderer) test(name string, v value, a arguments) bool {
	t, ok := tests[name]
	if !ok {
		fail("no test named '%s'", name)
	}
	r.step(1)
	return t(r, v, a)
}

func (e *unary) eval(r *renderer, s *scope) value {
	v := r.eval(e.of, s)
	switch e.op {
	case "not":
		return !truth(v)
	case "-":
		return r.negate(v)
	}
	if f, ok := v.(float64); ok {
		return f
	}
	if i := whole(v); i != nil {
		return integer(i)
	}
	return badOperand("+", v)
}

func (e *logical) eval(r *renderer, s *scope) value {
	left := r.eval(e.left, s)
	if truth(left) == (e.op == "or") {
		return left
	}
	return r.eval(e.right, s)
}

func (e *conditional) eval(r *renderer, s *scope) value {
	if truth(r.eval(e.test, s)) {
		return r.eval(e.then, s)
	}
	if e.otherwise == nil {
		return missing("the inline if-expression evaluated to false and no else section was defined")
	}
	return r.eval(e.otherwise, s)
}

func (e *concat) eval(r *renderer, s *scope) value {
	parts := make([]string, len(e.parts))
	values := r.evalAll(e.parts, s)
	for i, v := range values {
		if r.autoescape {
			parts[i] = string(r.escape(v))
		} else {
			parts[i] = r.str(v)
		}
	}
	return r.safe(r.joinStrings(parts, ""))
}

func (e *compare) eval(r *renderer, s *scope) value {
	left := r.eval(e.first, s)
	for i, op := range e.ops {
		right := r.eval(e.operands[i], s)
		if !r.compare(op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (e *binary) eval(r *renderer, s *scope) value {
	left := r.eval(e.left, s)
	return r.operate(e.op, left, r.eval(e.right, s))
}

// operate does a binary operator.
func (r *renderer) operate(op string, a, b value) value {
	if isNumber(a) && isNumber(b) {
		return r.arithmetic(op, a, b)
	}
	if s, ok := text(a); ok && op == "%" {
		return r.percent(a, s, b)
	}
	for _, v := range []value{a, b} {
		if u, ok := v.(*undefined); ok {
			u.fail()
		}
	}
	switch op {
	case "+":
		if v, ok := r.add(a, b); ok {
			return v
		}
	case "*":
		if _, ok := small(b); ok {
			if v, ok := r.repeat(a, count(b)); ok {
				return v
			}
		}
		if _, ok := small(a); ok {
			if v, ok := r.repeat(b, count(a)); ok {
				return v
			}
		}
	}
	fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	return nil
}

// add joins two texts, lists or tuples.
func (r *renderer) add(a, b value) (value, bool) {
	switch x := a.(type) {
	case *list:
		if y, ok := b.(*list); ok {
			return &list{r.joined(x.items, y.items)}, true
		}
	case *tuple:
		if y, ok := b.(*tuple); ok {
			return newTuple(r.joined(x.items, y.items)...), true
		}
	}
	x, xok := text(a)
	y, yok := text(b)
	if !xok || !yok {
		return nil, false
	}
	if isMarkup(a) || isMarkup(b) {
		x, y = string(r.escape(a)), string(r.escape(b))
		r.alloc(len(x) + len(y))
		return markup(x + y), true
	}
	r.alloc(len(x) + len(y))
	return x + y, true
}

func (r *renderer) joined(a, b []value) []value {
	r.allocTimes(len(a)+len(b), valueSize)
	return append(append(make([]value, 0, len(a)+len(b)), a...), b...)
}

// repeat is a text, list or tuple times a number.
func (r *renderer) repeat(v value, n int) (value, bool) {
	n = max(n, 0)
	items := func(one []value) []value {
		r.allocTimes(n, len(one)*valueSize)
		r.step(n)
		var all []value
		for range n {
			all = append(all, one...)
		}
		return all
	}
	switch v := v.(type) {
	case *list:
		return &list{items(v.items)}, true
	case *tuple:
		return newTuple(items(v.items)...), true
	}
	s, ok := text(v)
	if !ok {
		return nil, false
	}
	r.allocTimes(n, len(s))
	if s == "" {
		n = 0
	}
	return like(v, strings.Repeat(s, n)), true
}

// sliced returns the indexes that a slice of n elements has: count of them, from
// start in steps, before stop.
func (b *bounds) sliced(n int) (start, stop, step, count int) {
	limit := func(v value, absent, low, high int) int {
		if v == nil {
			return absent
		}
		i, ok := small(v)
		if !ok {
			fail("slice indices must be integers or None")
		}
		if i < 0 {
			i += int64(n)
		}
		return int(min(max(i, int64(low)), int64(high)))
	}
	step = 1
	if b.step != nil {
		s, ok := small(b.step)
		if !ok {
			fail("slice indices must be integers or None")
		}
		if s == 0 {
			fail("slice step cannot be zero")
		}
		step = int(min(max(s, -1<<40), 1<<40)) // n is smaller
	}
	if step > 0 {
		start = limit(b.start, 0, 0, n)
		if stop = limit(b.stop, n, 0, n); stop > start {
			count = (stop-start-1)/step + 1
		}
		return start, stop, step, count
	}
	start = limit(b.start, n-1, -1, n-1)
	if stop = limit(b.stop, -1, -1, n-1); stop < start {
		count = (start-stop-1)/-step + 1
	}
	return start, stop, step, count
}

// pick returns the elements of a slice.
func (r *renderer) pick(items []value, b *bounds) []value {
	start, _, step, n := b.sliced(len(items))
	r.allocTimes(n, valueSize)
	picked := make([]value, n)
	for i := range picked {
		picked[i] = items[start+i*step]
	}
	return picked
}

// pickText returns the characters of a slice.
func (r *renderer) pickText(s string, b *bounds) string {
	r.alloc(len(s))
	if isASCII(s) {
		start, _, step, n := b.sliced(len(s))
		if step == 1 {
			return s[start : start+n]
		}
		picked := make([]byte, n)
		for i := range picked {
			picked[i] = s[start+i*step]
		}
		return string(picked)
	}
	r.alloc(4 * len(s))
	runes := []rune(s)
	start, _, step, n := b.sliced(len(runes))
	picked := make([]rune, n)
	for i := range picked {
		picked[i] = runes[start+i*step]
	}
	return string(picked)
}

// getItem is v[index], as the environment of the reference does it.
func (r *renderer) getItem(v, index value) value {
	if b, ok := index.(*bounds); ok {
		switch v := v.(type) {
		case *list:
			return &list{r.pick(v.items, b)}
		case *tuple:
			return newTuple(r.pick(v.items, b)...)
		case interval:
			start, stop, step, n := b.sliced(v.n)
			return interval{v.start + int64(start)*v.step, v.start + int64(stop)*v.step, v.step * int64(step), n}
		case *undefined:
			v.fail()
		}
		if s, ok := text(v); ok {
			return like(v, r.pickText(s, b))
		}
		fail("'%s' object is not subscriptable", typeName(v))
	}
	if got, ok := r.item(v, index); ok {
		return got
	}
	if name, ok := text(index); ok {
		if got, ok := r.attributeOf(v, name); ok {
			return got
		}
	}
	return missing("'" + typeName(v) + " object' has no element " + r.shortRepr(index))
}

// item is v[index] in Python.
func (r *renderer) item(v, index value) (value, bool) {
	switch v := v.(type) {
	case *dict:
		return r.findAny(v, index)
	case *undefined:
		v.fail()
	}
	i, ok := small(index)
	if !ok {
		return nil, false
	}
	n, sized := length(v)
	if i < 0 {
		i += int64(n)
	}
	if !sized || i < 0 || i >= int64(n) {
		return nil, false
	}
	switch v := v.(type) {
	case *list:
		return v.items[i], true
	case *tuple:
		return v.items[i], true
	case interval:
		return v.at(int(i)), true
	}
	if s, ok := text(v); ok {
		if isASCII(s) {
			return like(v, s[i:i+1]), true
		}
		r.look(len(s))
		for range i {
			s = s[runeLen(s):]
		}
		return like(v, s[:runeLen(s)]), true
	}
	return nil, false
}

// findAny looks a key up that may be of a type that no dict has.
func (r *renderer) findAny(d *dict, key value) (value, bool) {
	switch key.(type) {
	case *list, *dict, *view:
		return nil, false
	}
	return r.find(d, key)
}

// getAttribute is v.name, as the environment of the reference does it.
func (r *renderer) getAttribute(v value, name string) value {
	if u, ok := v.(*undefined); ok {
		u.fail()
	}
	if got, ok := r.attributeOf(v, name); ok {
		return got
	}
	if got, ok := r.item(v, name); ok {
		return got
	}
	return missing("'" + typeName(v) + " object' has no attribute " + pythonRepr(name))
}

// attributeOf returns an attribute in Python's sense: a method, or a field of
// one of the few objects that have fields.
func (r *renderer) attributeOf(v value, name string) (value, bool) {
	switch v := v.(type) {
	case *namespace:
		return v.attrs.get(name)
	case *loop:
		return v.attribute(name)
	case *object:
		if get, ok := v.attrs[name]; ok {
			return get(), true
		}
		return nil, false
	case *macro:
		return v.attribute(name)
	case *tuple:
		if i := slices.Index(v.fields, name); i >= 0 {
			return v.items[i], true
		}
	case *undefined:
		v.fail()
	}
	m, ok := methods[typeName(v)][name]
	switch {
	case !ok:
		if unsafe(v, name) {
			return missing("access to attribute " + pythonRepr(name) + " of '" + typeName(v) + "' object is unsafe"), true
		}
		return numberField(v, name)
	default:
		return &function{name, func(r *renderer, a arguments) value { return m(r, v, a) }}, true
	}
}

// unsafe reports whether the sandbox hides an attribute that Python has.
func unsafe(v value, name string) bool {
	switch v.(type) {
	case *list:
		switch name {
		case "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort":
			return true
		}
	case *dict:
		switch name {
		case "clear", "pop", "popitem", "setdefault", "update":
			return true
		}
	}
	switch name {
	case "__class__", "__doc__", "__init__", "__eq__", "__hash__", "__repr__", "__str__", "__len__", "__getitem__", "__iter__", "__dict__":
		return true
	}
	return false
}

// numberField returns the fields of numbers.
func numberField(v value, name string) (value, bool) {
	if !isNumber(v) {
		return nil, false
	}
	i := whole(v)
	switch {
	case name == "real", name == "numerator" && i != nil:
		if i != nil {
			return integer(i), true
		}
		return v, true
	case name == "imag" && i == nil:
		return 0.0, true
	case name == "imag":
		return int64(0), true
	case name == "denominator" && i != nil:
		return int64(1), true
	}
	return nil, false
}

func (m *macro) attribute(name string) (value, bool) {
	switch name {
	case "name":
		return m.name, true
	case "arguments":
		t := &tuple{}
		for _, p := range m.params {
			t.items = append(t.items, p)
		}
		return t, true
	case "catch_kwargs":
		return m.usesKwargs, true
	case "catch_varargs":
		return m.usesVarargs, true
	case "caller":
		return m.usesCaller, true
	}
	return nil, false
}

func missing(why string) *undefined { return &undefined{why: why} }

func (u *undefined) fail() { fail("%s", u.why) }

func (u *undefined) failIfStrict() {
	if u.strict {
		u.fail()
	}
}

// compare does a comparison operator.
func (r *renderer) compare(op string, a, b value) bool {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	if x, ok := a.(float64); ok && x != x {
		if isNumber(b) {
			return false
		}
	}
	if y, ok := b.(float64); ok && y != y {
		if isNumber(a) {
			return false
		}
	}
	c := r.order(op, a, b)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// equal is Python's ==.
func (r *renderer) equal(a, b value) bool {
	r.step(1)
	r.enter()
	defer r.leave()
	if x, ok := text(a); ok {
		y, ok := text(b)
		r.look(min(len(x), len(y)))
		return ok && x == y
	}
	if isNumber(a) {
		if !isNumber(b) {
			return false
		}
		if f, ok := a.(float64); ok && f != f {
			return false
		}
		return r.order("==", a, b) == 0
	}
	switch x := a.(type) {
	case *list:
		y, ok := b.(*list)
		return ok && r.equalItems(x.items, y.items)
	case *tuple:
		y, ok := b.(*tuple)
		return ok && r.equalItems(x.items, y.items)
	case interval:
		y, ok := b.(interval)
		return ok && x.n == y.n && (x.n == 0 || x.start == y.start && (x.n == 1 || x.step == y.step))
	case *undefined:
		x.failIfStrict()
		_, ok := b.(*undefined)
		return ok
	case *dict:
		y, ok := b.(*dict)
		if !ok || len(x.entries) != len(y.entries) {
			return false
		}
		for _, e := range x.entries {
			if v, ok := r.find(y, e.key); !ok || !r.same(e.value, v) {
				return false
			}
		}
		return true
	case *view:
		y, ok := b.(*view)
		if !ok || x.kind == "values" || x.kind != y.kind || len(x.d.entries) != len(y.d.entries) {
			return a == b
		}
		for _, e := range x.d.entries {
			if v, ok := r.find(y.d, e.key); !ok || x.kind == "items" && !r.same(e.value, v) {
				return false
			}
		}
		return true
	}
	return a == b
}

// same is how containers compare their elements: identical ones are equal.
func (r *renderer) same(a, b value) bool {
	r.step(1)
	if f, ok := a.(float64); ok && f != f {
		return a == b
	}
	return identical(a, b) || r.equal(a, b)
}

// identical reports whether two values are one object.
func identical(a, b value) bool {
	switch x := a.(type) {
	case *big.Int:
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	case string, markup, float64, int64, bool, nil, interval:
		return a == b
	}
	return a == b // pointers
}

func (r *renderer) equalItems(a, b []value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !r.same(a[i], b[i]) {
			return false
		}
	}
	return true
}

// order compares two values that have an order, for op.
func (r *renderer) order(op string, a, b value) int {
	r.step(1)
	r.enter()
	defer r.leave()
	if x, ok := text(a); ok {
		if y, ok := text(b); ok {
			r.look(min(len(x), len(y)))
			return strings.Compare(x, y)
		}
	}
	if isNumber(a) && isNumber(b) {
		return r.orderNumbers(a, b)
	}
	items := func(a, b []value) int {
		for i := range min(len(a), len(b)) {
			if !r.same(a[i], b[i]) {
				return r.order(op, a[i], b[i])
			}
		}
		return len(a) - len(b)
	}
	switch x := a.(type) {
	case *list:
		if y, ok := b.(*list); ok {
			return items(x.items, y.items)
		}
	case *tuple:
		if y, ok := b.(*tuple); ok {
			return items(x.items, y.items)
		}
	}
	for _, v := range []value{a, b} {
		if u, ok := v.(*undefined); ok {
			u.fail()
		}
	}
	fail("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	return 0
}

func (r *renderer) orderNumbers(a, b value) int {
	x, xok := a.(int64)
	y, yok := b.(int64)
	if xok && yok {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	i, j := whole(a), whole(b)
	if i != nil && j != nil {
		return i.Cmp(j)
	}
	exact := func(v value, i *big.Int) *big.Float {
		if i != nil {
			return new(big.Float).SetPrec(uint(max(i.BitLen(), 64))).SetInt(i)
		}
		if f := v.(float64); f == f {
			return big.NewFloat(f)
		}
		return new(big.Float).SetInf(true) // callers look for NaN first
	}
	return exact(a, i).Cmp(exact(b, j))
}

// contains is Python's in.
func (r *renderer) contains(in, v value) bool {
	if s, ok := text(in); ok {
		part, ok := text(v)
		if !ok {
			fail("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		r.look(len(s))
		return strings.Contains(s, part)
	}
	switch in := in.(type) {
	case *dict:
		_, ok := r.find(in, v)
		return ok
	case *view:
		if in.kind == "keys" {
			_, ok := r.find(in.d, v)
			return ok
		}
	case interval:
		i := whole(v)
		if i == nil {
			f, ok := v.(float64)
			if !ok || f != float64(int64(f)) {
				return false
			}
			i = big.NewInt(int64(f))
		}
		if !i.IsInt64() || in.n == 0 {
			return false
		}
		d := i.Int64() - in.start
		return d%in.step == 0 && d/in.step >= 0 && d/in.step < int64(in.n)
	}
	next := r.iterate(in)
	for item, ok := next(); ok; item, ok = next() {
		if r.same(item, v) {
			return true
		}
	}
	return false
}
