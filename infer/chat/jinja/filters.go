package jinja

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// filter is a filter: it makes a value of another.
type filter func(r *renderer, v value, a arguments) value

var filters map[string]filter

func init() {
	filters = map[string]filter{
		"abs":            filterAbs,
		"attr":           filterAttr,
		"batch":          filterBatch,
		"capitalize":     onString("capitalize", capitalize),
		"center":         filterCenter,
		"count":          filterLength,
		"d":              filterDefault,
		"default":        filterDefault,
		"dictsort":       filterDictSort,
		"e":              filterEscape,
		"escape":         filterEscape,
		"filesizeformat": filterFileSize,
		"first":          filterFirst,
		"float":          filterFloat,
		"forceescape":    filterForceEscape,
		"format":         filterFormat,
		"groupby":        filterGroupBy,
		"indent":         filterIndent,
		"int":            filterInt,
		"items":          filterItems,
		"join":           filterJoin,
		"last":           filterLast,
		"length":         filterLength,
		"list":           filterList,
		"lower":          onString("lower", lower),
		"map":            filterMap,
		"max":            extreme("max", 1),
		"min":            extreme("min", -1),
		"reject":         selects("reject", false, false),
		"rejectattr":     selects("rejectattr", true, false),
		"replace":        filterReplace,
		"reverse":        filterReverse,
		"round":          filterRound,
		"safe":           filterSafe,
		"select":         selects("select", false, true),
		"selectattr":     selects("selectattr", true, true),
		"slice":          filterSlice,
		"sort":           filterSort,
		"string":         filterString,
		"striptags":      filterStripTags,
		"sum":            filterSum,
		"title":          onString("title", filterTitle),
		"tojson":         toJSON,
		"trim":           filterTrim,
		"truncate":       filterTruncate,
		"unique":         filterUnique,
		"upper":          onString("upper", upper),
		"urlencode":      filterURLEncode,
		"wordcount":      filterWordCount,
		"wordwrap":       filterWordWrap,
	}
}

// soft returns a value's text, of the type that its methods return.
func (r *renderer) soft(v value) value {
	if isMarkup(v) {
		return v
	}
	return r.str(v)
}

// onString makes a filter of a function of text without arguments.
func onString(name string, f func(string) string) filter {
	return func(r *renderer, v value, a arguments) value {
		a.none(name)
		v = r.soft(v)
		s, _ := text(v)
		r.alloc(2 * len(s))
		return like(v, f(s))
	}
}

// filterTitle begins every word with a capital letter, and only those.
func filterTitle(s string) string {
	var b strings.Builder
	start := true
	for i, c := range s {
		one := s[i : i+len(string(c))]
		if c == '-' || isSpace(c) || strings.ContainsRune("({[<", c) {
			b.WriteString(one)
			start = true
			continue
		}
		if start {
			b.WriteString(upper(one))
		} else {
			b.WriteString(lower(one))
		}
		start = false
	}
	return b.String()
}

func filterAbs(r *renderer, v value, a arguments) value {
	a.none("abs")
	if f, ok := v.(float64); ok {
		return math.Abs(f)
	}
	if i := whole(v); i != nil {
		r.alloc(i.BitLen() / 8)
		return integer(new(big.Int).Abs(i))
	}
	return badOperand("abs", v)
}

func filterAttr(r *renderer, v value, a arguments) value {
	name := a.bind("attr", 1, "name").text(0, "")
	if u, ok := v.(*undefined); ok {
		u.fail()
	}
	if got, ok := r.attributeOf(v, name); ok {
		return got
	}
	return missing("'" + typeName(v) + " object' has no attribute " + pythonRepr(name))
}

func filterBatch(r *renderer, v value, a arguments) value {
	b := a.bind("batch", 1, "linecount", "fill_with")
	size, fill := b.count(0, 0), b.or(1, nil)
	var next func() (value, bool)
	var ahead []value
	done := false
	return r.lazily(func() (value, bool) {
		if next == nil {
			next = r.iterate(v)
		}
		batch := ahead
		ahead = nil
		for !done {
			item, ok := next()
			if !ok {
				done = true
				break
			}
			if len(batch) == size {
				ahead = r.push(nil, item)
				return &list{batch}, true
			}
			batch = r.push(batch, item)
		}
		if len(batch) == 0 {
			return nil, false
		}
		if n := size - len(batch); fill != nil && n > 0 {
			filled, _ := r.repeat(&list{[]value{fill}}, n)
			batch = r.joined(batch, filled.(*list).items)
		}
		return &list{batch}, true
	})
}

func filterCenter(r *renderer, v value, a arguments) value {
	b := a.bind("center", 0, "width")
	return strMethods["center"](r, r.str(v), arguments{pos: []value{int64(b.count(0, 80))}})
}

func filterLength(r *renderer, v value, a arguments) value {
	a.none("length")
	if s, ok := text(v); ok {
		r.look(len(s))
	}
	n, ok := length(v)
	if !ok {
		fail("object of type '%s' has no len()", typeName(v))
	}
	return int64(n)
}

func filterDefault(_ *renderer, v value, a arguments) value {
	b := a.bind("default", 0, "default_value", "boolean")
	if _, ok := v.(*undefined); ok || b.truth(1) && !truth(v) {
		return b.or(0, "")
	}
	return v
}

// ignoreCase is a text in small letters, or the value itself.
func (r *renderer) ignoreCase(v value) value {
	if s, ok := text(v); ok {
		r.alloc(len(s))
		return lower(s)
	}
	return v
}

// sorted sorts values by keys, keeping the order of equal ones.
func (r *renderer) sorted(items []value, key func(value) value, descending bool) []value {
	type keyed struct{ key, item value }
	r.allocTimes(len(items), 3*valueSize)
	all := make([]keyed, len(items))
	for i, item := range items {
		all[i] = keyed{key(item), item}
	}
	slices.SortStableFunc(all, func(x, y keyed) int {
		if descending {
			x, y = y, x
		}
		switch {
		case r.compare("<", x.key, y.key):
			return -1
		case r.compare("<", y.key, x.key):
			return 1
		}
		return 0
	})
	out := make([]value, len(items))
	for i, k := range all {
		out[i] = k.item
	}
	return out
}

func filterDictSort(r *renderer, v value, a arguments) value {
	b := a.bind("dictsort", 0, "case_sensitive", "by", "reverse")
	at := slices.Index([]string{"key", "value"}, b.text(1, "key"))
	if at < 0 {
		fail(`you can only sort by either "key" or "value"`)
	}
	d, ok := v.(*dict)
	if !ok {
		if u, ok := v.(*undefined); ok {
			u.fail()
		}
		fail("'%s' object has no attribute 'items'", typeName(v))
	}
	return &list{r.sorted(r.drain((&view{d, "items"}).iterate()), func(item value) value {
		key := item.(*tuple).items[at]
		if b.truth(0) {
			return key
		}
		return r.ignoreCase(key)
	}, b.truth(2))}
}

func filterEscape(r *renderer, v value, a arguments) value {
	a.none("escape")
	return r.escape(v)
}

func filterForceEscape(r *renderer, v value, a arguments) value {
	a.none("forceescape")
	return markup(r.escapeText(r.str(v)))
}

func filterSafe(r *renderer, v value, a arguments) value {
	a.none("safe")
	return markup(r.str(v))
}

func filterFileSize(r *renderer, v value, a arguments) value {
	binary := a.bind("filesizeformat", 0, "binary").truth(0)
	size, ok := r.toFloat(v)
	if !ok {
		fail("filesizeformat: not a number")
	}
	base, units := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if binary {
		base, units = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case size == 1:
		return "1 Byte"
	case size < base:
		return truncated(size).String() + " Bytes"
	}
	unit := base
	for i, name := range units {
		unit *= base
		if size < unit || i == len(units)-1 {
			return strconv.FormatFloat(base*size/unit, 'f', 1, 64) + " " + name
		}
	}
	return nil
}

func filterFirst(r *renderer, v value, a arguments) value {
	a.none("first")
	if item, ok := r.iterate(v)(); ok {
		return item
	}
	return missing("no first item, sequence was empty")
}

// reversed is Python's reversed: not all that can be iterated can be reversed.
func (r *renderer) reversed(v value) (*iterator, bool) {
	n, ok := length(v)
	if !ok {
		return nil, false
	}
	switch v := v.(type) {
	case *undefined:
		return &iterator{each(nil)}, true
	case *dict:
		return r.reversed(&view{v, "keys"})
	case *loop:
		return nil, false
	case *view:
		return r.lazily(func() (value, bool) {
			if n--; n < 0 {
				return nil, false
			}
			return v.at(n), true
		}), true
	case interval:
		return r.lazily(func() (value, bool) {
			if n--; n < 0 {
				return nil, false
			}
			return v.at(n), true
		}), true
	}
	items := r.collect(v)
	return r.lazily(func() (value, bool) {
		if n--; n < 0 {
			return nil, false
		}
		return items[n], true
	}), true
}

func filterLast(r *renderer, v value, a arguments) value {
	a.none("last")
	back, ok := r.reversed(v)
	if !ok {
		fail("'%s' object is not reversible", typeName(v))
	}
	if item, ok := back.next(); ok {
		return item
	}
	return missing("no last item, sequence was empty")
}

func filterReverse(r *renderer, v value, a arguments) value {
	a.none("reverse")
	if s, ok := text(v); ok {
		return like(v, r.pickText(s, &bounds{nil, nil, int64(-1)}))
	}
	if back, ok := r.reversed(v); ok {
		return back
	}
	items := slices.Clone(r.collect(v))
	slices.Reverse(items)
	return &list{items}
}

// toFloat is Python's float of a value, false if it is no number.
func (r *renderer) toFloat(v value) (float64, bool) {
	if s, ok := text(v); ok {
		r.look(len(s))
		return parseFloat(s)
	}
	if u, ok := v.(*undefined); ok {
		u.fail()
	}
	return real64(v)
}

func filterFloat(r *renderer, v value, a arguments) value {
	b := a.bind("float", 0, "default")
	if f, ok := r.toFloat(v); ok {
		return f
	}
	return b.or(0, 0.0)
}

func filterInt(r *renderer, v value, a arguments) value {
	b := a.bind("int", 0, "default", "base")
	if s, ok := text(v); ok {
		r.look(len(s))
		r.step(min(len(s), 4*maxDigits) / 8)
		if i, ok := parseInt(s, b.count(1, 10)); ok {
			return i
		}
	} else if i := whole(v); i != nil {
		return integer(i)
	} else if f, ok := v.(float64); ok && f == f {
		return integer(truncated(f))
	}
	if f, ok := r.toFloat(v); ok && f-f == 0 {
		return integer(truncated(f))
	}
	return b.or(0, int64(0))
}

func filterFormat(r *renderer, v value, a arguments) value {
	v = r.soft(v)
	s, _ := text(v)
	if a.named != nil && len(a.named.entries) > 0 {
		if len(a.pos) > 0 {
			fail("format: can't handle positional and keyword arguments at the same time")
		}
		return r.percent(v, s, a.named)
	}
	return r.percent(v, s, newTuple(a.pos...))
}

// getter returns the function that finds an attribute like "a.b.0".
func (r *renderer) getter(attribute value, absent value) func(value) value {
	var parts []value
	switch a := attribute.(type) {
	case nil:
	case string, markup:
		s, _ := text(a)
		for part := range strings.SplitSeq(s, ".") {
			r.alloc(valueSize)
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && part[0] != '+' {
				parts = append(parts, int64(i))
			} else {
				parts = append(parts, part)
			}
		}
	default:
		parts = []value{a}
	}
	return func(v value) value {
		for _, part := range parts {
			r.step(1)
			v = r.getItem(v, part)
			if _, missing := v.(*undefined); missing && absent != nil {
				v = absent
			}
		}
		return v
	}
}

func filterGroupBy(r *renderer, v value, a arguments) value {
	b := a.bind("groupby", 1, "attribute", "default", "case_sensitive")
	get := r.getter(b.values[0], b.or(1, nil))
	key := get
	if !b.truth(2) {
		key = func(v value) value { return r.ignoreCase(get(v)) }
	}
	out := &list{}
	var last value
	var group *list
	for _, item := range r.sorted(r.collect(v), key, false) {
		if k := key(item); group == nil || !r.equal(k, last) {
			last = k
			group = &list{}
			r.alloc(2 * valueSize)
			out.items = r.push(out.items, &tuple{[]value{get(item), group}, []string{"grouper", "list"}})
		}
		group.items = r.push(group.items, item)
	}
	return out
}

// filterIndent puts space before all lines but the first.
func filterIndent(r *renderer, v value, a arguments) value {
	b := a.bind("indent", 0, "width", "first", "blank")
	indent, ok := text(b.or(0, int64(4)))
	if !ok {
		n := b.count(0, 4)
		r.allocTimes(n, 1)
		indent = strings.Repeat(" ", max(n, 0))
	}
	s, ok := text(v)
	if !ok {
		r.operate("+", v, "\n") // fails
	}
	r.alloc(len(s))
	lines := splitLines(s+"\n", false)
	r.allocTimes(len(lines), len(indent))
	for i, line := range lines {
		if i > 0 && (line != "" || b.truth(2)) {
			lines[i] = indent + line
		}
	}
	out := r.joinStrings(lines, "\n")
	if b.truth(1) {
		r.alloc(len(indent) + len(out))
		out = indent + out
	}
	return like(v, out)
}

func filterItems(r *renderer, v value, a arguments) value {
	a.none("items")
	return r.generator(func() func() (value, bool) {
		switch v := v.(type) {
		case *undefined:
			return each(nil)
		case *dict:
			return (&view{v, "items"}).iterate()
		}
		fail("can only get item pairs from a mapping")
		return nil
	})
}

func filterJoin(r *renderer, v value, a arguments) value {
	b := a.bind("join", 0, "d", "attribute")
	get := r.getter(b.or(1, nil), nil)
	var parts []string
	escaped := isMarkup(b.or(0, ""))
	sep := r.str(b.or(0, ""))
	var items []value
	next := r.iterate(v)
	for item, ok := next(); ok; item, ok = next() {
		item = get(item)
		items = r.push(items, item)
		escaped = escaped || isMarkup(item)
	}
	escaped = escaped && r.autoescape
	if escaped {
		sep = string(r.escape(b.or(0, "")))
	}
	for _, item := range items {
		if escaped {
			parts = append(parts, string(r.escape(item)))
		} else {
			parts = append(parts, r.str(item))
		}
	}
	s := r.joinStrings(parts, sep)
	if escaped {
		return markup(s)
	}
	return s
}

func filterList(r *renderer, v value, a arguments) value {
	a.none("list")
	return &list{r.joined(r.collect(v), nil)}
}

func filterMap(r *renderer, v value, a arguments) value {
	return r.generator(func() func() (value, bool) {
		if !truth(v) {
			return each(nil)
		}
		f := r.mapped(a)
		next := r.iterate(v)
		return func() (value, bool) {
			item, ok := next()
			if !ok {
				return nil, false
			}
			return f(item), true
		}
	})
}

// mapped returns what map does with every element: it finds an attribute or
// applies a filter.
func (r *renderer) mapped(a arguments) func(value) value {
	if len(a.pos) == 0 && a.named != nil {
		b := a.bind("map", 0, "attribute", "default")
		if b.given[0] {
			return r.getter(b.values[0], b.or(1, nil))
		}
	}
	if len(a.pos) == 0 {
		fail("map requires a filter argument")
	}
	name, _ := text(a.pos[0])
	rest := arguments{a.pos[1:], a.named}
	return func(item value) value { return r.filter(name, item, rest) }
}

// selects makes select and its kin.
func selects(name string, byAttribute, keep bool) filter {
	return func(r *renderer, v value, a arguments) value {
		return r.generator(func() func() (value, bool) {
			if !truth(v) {
				return each(nil)
			}
			holds := r.selector(name, byAttribute, a)
			next := r.iterate(v)
			return func() (value, bool) {
				for item, ok := next(); ok; item, ok = next() {
					if holds(item) == keep {
						return item, true
					}
				}
				return nil, false
			}
		})
	}
}

// selector returns the test of select and its kin, of an attribute or of the
// element itself.
func (r *renderer) selector(name string, byAttribute bool, a arguments) func(value) bool {
	get, pos := r.getter(nil, nil), a.pos
	if byAttribute {
		if len(pos) == 0 {
			fail("%s: missing parameter for attribute name", name)
		}
		get, pos = r.getter(pos[0], nil), pos[1:]
	}
	if len(pos) == 0 {
		return func(v value) bool { return truth(get(v)) }
	}
	test, _ := text(pos[0])
	rest := arguments{pos[1:], a.named}
	return func(v value) bool { return r.test(test, get(v), rest) }
}

// extreme makes max and min.
func extreme(name string, sign int) filter {
	return func(r *renderer, v value, a arguments) value {
		b := a.bind(name, 0, "case_sensitive", "attribute")
		get := r.getter(b.or(1, nil), nil)
		key := func(v value) value {
			if v = get(v); b.truth(0) {
				return v
			}
			return r.ignoreCase(v)
		}
		next := r.iterate(v)
		best, ok := next()
		if !ok {
			return missing("no aggregated item, sequence was empty")
		}
		bestKey := key(best)
		op := map[int]string{1: ">", -1: "<"}[sign]
		for item, ok := next(); ok; item, ok = next() {
			if k := key(item); r.compare(op, k, bestKey) {
				best, bestKey = item, k
			}
		}
		return best
	}
}

func filterReplace(r *renderer, v value, a arguments) value {
	b := a.bind("replace", 2, "old", "new", "count")
	n := -1
	if b.or(2, nil) != nil {
		n = b.count(2, -1)
	}
	if r.autoescape && (isMarkup(v) || isMarkup(b.values[0]) || isMarkup(b.values[1])) {
		return markup(r.replace(string(r.escape(v)), string(r.escape(b.values[0])), string(r.escape(b.values[1])), n))
	}
	return r.replace(r.str(v), r.str(b.values[0]), r.str(b.values[1]), n)
}

func filterRound(r *renderer, v value, a arguments) value {
	b := a.bind("round", 0, "precision", "method")
	method := b.text(1, "common")
	if !slices.Contains([]string{"common", "ceil", "floor"}, method) {
		fail("method must be common, ceil or floor")
	}
	i := whole(v)
	if method != "common" {
		scale := r.arithmetic("**", int64(10), int64(b.count(0, 0)))
		scaled, ok := real64(r.operate("*", v, scale))
		if !ok {
			fail("must be real number, not %s", typeName(v))
		}
		if method == "ceil" {
			scaled = math.Ceil(scaled)
		} else {
			scaled = math.Floor(scaled)
		}
		return r.arithmetic("/", integer(truncated(scaled)), scale)
	}
	precision := b.count(0, 0)
	if i != nil {
		if precision >= 0 {
			return integer(i)
		}
		if precision < -maxDigits {
			return int64(0)
		}
		return roundInt(i, -precision)
	}
	f, ok := v.(float64)
	switch {
	case !ok:
		fail("type %s doesn't define __round__ method", typeName(v))
	case f != f || math.IsInf(f, 0) || precision > 400:
		return f
	case precision < -400:
		return math.Copysign(0, f)
	case precision < 0:
		rounded, _ := real64(roundInt(truncated(f), -precision))
		return math.Copysign(rounded, f)
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
	return rounded
}

// roundInt rounds to a multiple of a power of ten, halves to the even one.
func roundInt(i *big.Int, digits int) value {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	quotient, rest := new(big.Int).DivMod(i, unit, new(big.Int))
	twice := new(big.Int).Lsh(rest, 1)
	if c := twice.Cmp(unit); c > 0 || c == 0 && quotient.Bit(0) == 1 {
		quotient.Add(quotient, big.NewInt(1))
	}
	return integer(quotient.Mul(quotient, unit))
}

func filterSlice(r *renderer, v value, a arguments) value {
	b := a.bind("slice", 1, "slices", "fill_with")
	return r.generator(func() func() (value, bool) {
		items := r.collect(v)
		n, fill := b.count(0, 0), b.or(1, nil)
		if n == 0 {
			fail("integer division or modulo by zero")
		}
		size, extra, number, offset := len(items)/n, len(items)%n, 0, 0
		return func() (value, bool) {
			if number >= n {
				return nil, false
			}
			start := offset + number*size
			if number < extra {
				offset++
			}
			part := r.joined(items[start:offset+(number+1)*size], nil)
			if fill != nil && number >= extra {
				part = r.push(part, fill)
			}
			number++
			return &list{part}, true
		}
	})
}

func filterSort(r *renderer, v value, a arguments) value {
	b := a.bind("sort", 0, "reverse", "case_sensitive", "attribute")
	var getters []func(value) value
	if s, ok := text(b.or(2, nil)); ok {
		for attribute := range strings.SplitSeq(s, ",") {
			r.alloc(valueSize)
			getters = append(getters, r.getter(attribute, nil))
		}
	} else {
		getters = append(getters, r.getter(b.or(2, nil), nil))
	}
	return &list{r.sorted(r.collect(v), func(item value) value {
		keys := make([]value, len(getters))
		r.allocTimes(len(getters), valueSize)
		for i, get := range getters {
			if keys[i] = get(item); !b.truth(1) {
				keys[i] = r.ignoreCase(keys[i])
			}
		}
		return &list{keys}
	}, b.truth(0))}
}

func filterString(r *renderer, v value, a arguments) value {
	a.none("string")
	return r.soft(v)
}

func filterStripTags(r *renderer, v value, a arguments) value {
	a.none("striptags")
	return r.stripTags(r.str(v))
}

func filterSum(r *renderer, v value, a arguments) value {
	b := a.bind("sum", 0, "attribute", "start")
	get := r.getter(b.or(0, nil), nil)
	total := b.or(1, int64(0))
	if _, ok := text(total); ok {
		fail("sum() can't sum strings [use ''.join(seq) instead]")
	}
	next := r.iterate(v)
	for item, ok := next(); ok; item, ok = next() {
		total = r.operate("+", total, get(item))
	}
	return total
}

func filterTrim(r *renderer, v value, a arguments) value {
	chars := a.bind("trim", 0, "chars").or(0, nil)
	v = r.soft(v)
	return like(v, strMethods["strip"](r, v, arguments{pos: []value{chars}}).(string))
}

func filterTruncate(r *renderer, v value, a arguments) value {
	b := a.bind("truncate", 0, "length", "killwords", "end", "leeway")
	end, leeway := b.text(2, "..."), 5
	if b.or(3, nil) != nil {
		leeway = b.count(3, 5)
	}
	size := b.count(0, 255)
	if size < runeCount(end) || leeway < 0 {
		fail("truncate: the length is less than that of the end")
	}
	s, ok := text(v)
	if !ok {
		if n, ok := length(v); ok && (n <= size || n-size <= leeway) {
			return v
		}
		fail("truncate: '%s' is no text", typeName(v))
	}
	if n := runeCount(s); n <= size || n-size <= leeway {
		return v
	}
	s = r.pickText(s, &bounds{nil, int64(size - runeCount(end)), nil})
	if i := strings.LastIndexByte(s, ' '); i >= 0 && !b.truth(1) {
		s = s[:i]
	}
	r.alloc(len(s) + len(end))
	return like(v, s+end)
}

func filterUnique(r *renderer, v value, a arguments) value {
	b := a.bind("unique", 0, "case_sensitive", "attribute")
	return r.generator(func() func() (value, bool) {
		get := r.getter(b.or(1, nil), nil)
		seen := newDict()
		next := r.iterate(v)
		return func() (value, bool) {
			for item, ok := next(); ok; item, ok = next() {
				key := get(item)
				if !b.truth(0) {
					key = r.ignoreCase(key)
				}
				if _, ok := r.find(seen, key); !ok {
					r.set(seen, key, nil)
					return item, true
				}
			}
			return nil, false
		}
	})
}

// quoteURL is Jinja's url_quote.
func (r *renderer) quoteURL(v value, query bool) string {
	s := r.str(v)
	var b strings.Builder
	r.alloc(3 * len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case isDigit(c), 'a' <= c|0x20 && c|0x20 <= 'z', strings.IndexByte("_.-~", c) >= 0, c == '/' && !query:
			b.WriteByte(c)
		case c == ' ' && query:
			b.WriteByte('+')
		default:
			b.WriteString("%" + strings.ToUpper(strconv.FormatInt(int64(c)+0x100, 16)[1:]))
		}
	}
	return b.String()
}

func filterURLEncode(r *renderer, v value, a arguments) value {
	a.none("urlencode")
	if _, ok := text(v); ok || !iterable(v) {
		return r.quoteURL(v, false)
	}
	if d, ok := v.(*dict); ok {
		v = &view{d, "items"}
	}
	var parts []string
	next := r.iterate(v)
	for item, ok := next(); ok; item, ok = next() {
		pair := r.collect(item)
		if len(pair) != 2 {
			fail("urlencode: not a pair")
		}
		parts = append(parts, r.quoteURL(pair[0], true)+"="+r.quoteURL(pair[1], true))
	}
	return r.joinStrings(parts, "&")
}
