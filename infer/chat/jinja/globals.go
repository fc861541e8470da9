package jinja

import "math"

const maxRange = 100_000 // elements of a range, as in the sandbox of the reference

// globals are the functions that every template has.
var globals map[string]value

func init() {
	globals = make(map[string]value)
	for name, f := range map[string]func(r *renderer, a arguments) value{
		"cycler":    newCycler,
		"dict":      func(r *renderer, a arguments) value { return r.makeDict(a) },
		"joiner":    newJoiner,
		"lipsum":    func(*renderer, arguments) value { fail("%w: lipsum", errUnsupported); return nil },
		"namespace": func(r *renderer, a arguments) value { return &namespace{r.makeDict(a)} },
		"raise_exception": func(r *renderer, a arguments) value {
			fail("%s", r.str(a.bind("raise_exception", 1, "message").values[0]))
			return nil
		},
		"range": newRange,
		"strftime_now": func(r *renderer, a arguments) value {
			return r.strftime(a.bind("strftime_now", 1, "format").text(0, ""))
		},
	} {
		globals[name] = &function{name, f}
	}
}

func newRange(_ *renderer, a arguments) value {
	a.bind("range", 1, "start", "stop", "step")
	if a.named != nil && len(a.named.entries) > 0 {
		fail("range() takes no keyword arguments")
	}
	n := make([]int64, len(a.pos))
	for i, v := range a.pos {
		whole := whole(v)
		if whole == nil {
			fail("'%s' object cannot be interpreted as an integer", typeName(v))
		}
		if !whole.IsInt64() {
			fail("%w: a range of integers with more than 64 bits", ErrLimit)
		}
		n[i] = whole.Int64()
	}
	start, stop, step := int64(0), n[0], int64(1)
	if len(n) > 1 {
		start, stop = n[0], n[1]
	}
	if len(n) > 2 {
		step = n[2]
	}
	var steps uint64 // unsigned, as the difference may not fit
	switch {
	case step == 0:
		fail("range() arg 3 must not be zero")
	case step > 0 && stop > start:
		steps = (uint64(stop)-uint64(start)-1)/uint64(step) + 1
	case step < 0 && stop < start:
		steps = (uint64(start)-uint64(stop)-1)/-uint64(step) + 1
	}
	if steps > maxRange || steps > math.MaxInt32 {
		fail("%w: a range of more than %d elements", ErrLimit, maxRange)
	}
	return interval{start, stop, step, int(steps)}
}

func newCycler(_ *renderer, a arguments) value {
	if len(a.pos) == 0 {
		fail("at least one item has to be provided")
	}
	at := 0
	current := func() value { return a.pos[at] }
	return &object{name: "Cycler", attrs: map[string]func() value{
		"current": current,
		"items":   func() value { return newTuple(a.pos...) },
		"pos":     func() value { return int64(at) },
		"next": func() value {
			return &function{"next", func(_ *renderer, none arguments) value {
				none.none("next")
				v := current()
				at = (at + 1) % len(a.pos)
				return v
			}}
		},
		"reset": func() value {
			return &function{"reset", func(_ *renderer, none arguments) value {
				none.none("reset")
				at = 0
				return nil
			}}
		},
	}}
}

func newJoiner(_ *renderer, a arguments) value {
	sep := a.bind("joiner", 0, "sep").or(0, ", ")
	used := false
	return &object{
		name: "Joiner",
		attrs: map[string]func() value{
			"sep":  func() value { return sep },
			"used": func() value { return used },
		},
		call: func(_ *renderer, none arguments) value {
			none.none("joiner")
			if used {
				return sep
			}
			used = true
			return ""
		},
	}
}
