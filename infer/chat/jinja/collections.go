package jinja

import "math/big"

var listMethods = map[string]method{
	"copy":  listCopy,
	"count": itemsCount,
	"index": itemsIndex,
}

var tupleMethods = map[string]method{"count": itemsCount, "index": itemsIndex}

var rangeMethods = tupleMethods

func listCopy(r *renderer, self value, a arguments) value {
	a.none("copy")
	return &list{r.joined(r.collect(self), nil)}
}

func itemsCount(r *renderer, self value, a arguments) value {
	v := a.bind("count", 1, "/value").values[0]
	n := int64(0)
	for _, item := range r.collect(self) {
		if r.same(item, v) {
			n++
		}
	}
	return n
}

func itemsIndex(r *renderer, self value, a arguments) value {
	b := a.bind("index", 1, "/value", "/start", "/stop")
	items := r.collect(self)
	start, _, _, n := (&bounds{b.or(1, nil), b.or(2, nil), nil}).sliced(len(items))
	for i := start; i < start+n; i++ {
		if r.same(items[i], b.values[0]) {
			return int64(i)
		}
	}
	fail("%s is not in list", r.shortRepr(b.values[0]))
	return nil
}

var dictMethods = map[string]method{
	"copy": func(r *renderer, self value, a arguments) value {
		a.none("copy")
		return r.makeDict(arguments{pos: []value{self}})
	},
	"fromkeys": func(r *renderer, _ value, a arguments) value {
		b := a.bind("fromkeys", 1, "/iterable", "/value")
		d := newDict()
		next := r.iterate(b.values[0])
		for key, ok := next(); ok; key, ok = next() {
			r.set(d, key, b.values[1])
		}
		return d
	},
	"get": func(r *renderer, self value, a arguments) value {
		b := a.bind("get", 1, "/key", "/default")
		if v, ok := r.find(self.(*dict), b.values[0]); ok {
			return v
		}
		return b.values[1]
	},
	"items":  dictView("items"),
	"keys":   dictView("keys"),
	"values": dictView("values"),
}

func dictView(kind string) method {
	return func(_ *renderer, self value, a arguments) value {
		a.none(kind)
		return &view{self.(*dict), kind}
	}
}

// makeDict is Python's dict.
func (r *renderer) makeDict(a arguments) *dict {
	d := newDict()
	if len(a.pos) > 1 {
		fail("dict expected at most 1 argument, got %d", len(a.pos))
	}
	if len(a.pos) == 1 {
		if from, ok := a.pos[0].(*dict); ok {
			for _, e := range from.entries {
				r.set(d, e.key, e.value)
			}
		} else {
			next := r.iterate(a.pos[0])
			for v, ok := next(); ok; v, ok = next() {
				pair := r.collect(v)
				if len(pair) != 2 {
					fail("dictionary update sequence element has length %d; 2 is required", len(pair))
				}
				r.set(d, pair[0], pair[1])
			}
		}
	}
	if a.named != nil {
		for _, e := range a.named.entries {
			r.set(d, e.key, e.value)
		}
	}
	return d
}

var intMethods = map[string]method{
	"bit_length": func(_ *renderer, self value, a arguments) value {
		a.none("bit_length")
		return int64(whole(self).BitLen())
	},
	"bit_count": func(_ *renderer, self value, a arguments) value {
		a.none("bit_count")
		n := int64(0)
		for _, word := range new(big.Int).Abs(whole(self)).Bits() {
			for ; word > 0; word &= word - 1 {
				n++
			}
		}
		return n
	},
	"conjugate": func(_ *renderer, self value, a arguments) value {
		a.none("conjugate")
		return integer(whole(self))
	},
	"is_integer": func(_ *renderer, _ value, a arguments) value {
		a.none("is_integer")
		return true
	},
}

var floatMethods = map[string]method{
	"is_integer": func(_ *renderer, self value, a arguments) value {
		a.none("is_integer")
		f := self.(float64)
		return f == f && f-f == 0 && f == float64(int64(f)) || f >= 1<<63 && f-f == 0 || f <= -1<<63 && f-f == 0
	},
	"conjugate": func(_ *renderer, self value, a arguments) value {
		a.none("conjugate")
		return self
	},
}
