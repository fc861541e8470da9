package jinja

import (
	"math"
	"math/big"
	"strings"
)

// dict keeps its entries in the order in which they were put in.
type dict struct {
	entries []entry
	index   map[any]int
}

type entry struct{ key, value value }

func newDict() *dict { return &dict{index: make(map[any]int)} }

// set puts an entry in, or replaces its value.
func (r *renderer) set(d *dict, key, v value) {
	hash := r.hash(key)
	if i, ok := d.index[hash]; ok {
		d.entries[i].value = v
		return
	}
	r.alloc(entrySize)
	d.index[hash] = len(d.entries)
	d.entries = append(d.entries, entry{key, v})
}

// find returns the value of a key. It fails if the key can be in no dict.
func (r *renderer) find(d *dict, key value) (value, bool) {
	if i, ok := d.index[r.hash(key)]; ok {
		return d.entries[i].value, true
	}
	return nil, false
}

// get returns the value of a name.
func (d *dict) get(name string) (value, bool) {
	if i, ok := d.index[name]; ok {
		return d.entries[i].value, true
	}
	return nil, false
}

func (v *view) at(i int) value {
	e := v.d.entries[i]
	switch v.kind {
	case "keys":
		return e.key
	case "values":
		return e.value
	}
	return newTuple(e.key, e.value)
}

func (v *view) iterate() func() (value, bool) {
	i := 0
	return func() (value, bool) {
		if i >= len(v.d.entries) {
			return nil, false
		}
		i++
		return v.at(i - 1), true
	}
}

// hashed is the hash of a value that is not its own.
type hashed struct{ kind, text string }

// hash returns a Go value that equals another's exactly if Python holds the two
// for equal.
func (r *renderer) hash(v value) any {
	r.step(1)
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			i, _ := big.NewFloat(v).Int(nil)
			return r.hash(integer(i))
		}
	case *big.Int:
		r.look(v.BitLen())
		return hashed{"int", v.Text(62)}
	case string:
		r.look(len(v))
	case markup:
		r.look(len(v))
		return string(v)
	case *undefined:
		return hashed{"undefined", ""}
	case interval:
		v.stop = 0
		if v.n < 2 {
			v.step = 0
		}
		if v.n == 0 {
			v.start = 0
		}
		return v
	case *tuple:
		r.enter()
		defer r.leave()
		var b strings.Builder
		for _, item := range v.items {
			s := goRepr(r.hash(item))
			r.alloc(len(s) + 1)
			b.WriteString(s)
			b.WriteByte(',')
		}
		return hashed{"tuple", b.String()}
	case *list, *dict, *view:
		fail("unhashable type: '%s'", typeName(v))
	}
	return v
}
